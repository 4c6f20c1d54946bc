"""What only layers and networks are given, checked so that flax is not the one to stumble."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from flax import nnx

from jaxopt_course._brief import brief
from jaxopt_course._checks import is_key, to_sizes


def check_rngs(rngs: Any) -> None:
    """Raise TypeError unless `rngs` holds random streams."""
    if not isinstance(rngs, nnx.Rngs):
        cure = ": nnx.Rngs(key) makes it of a key" if is_key(rngs) else ""
        raise TypeError(f"rngs must be a flax.nnx.Rngs, got {brief(rngs)}{cure}")


def check_module(model: Any) -> None:
    """Raise TypeError unless `model` is an nnx module."""
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {type(model).__name__}")


def built_from(name: str, build: Callable[[Any], Any], key: Any) -> Any:
    """What a function makes of a key; where it stumbles over the key, the error says of which kind.

    Args:
        name: What the caller calls the function.
        build: From a key to a network.
        key: A typed key.

    Raises:
        TypeError: For a class of networks, which takes `nnx.Rngs` or sizes, or a function that
            hands its key on in place of `nnx.Rngs`. All other errors are the function's own.
    """
    try:
        return build(key)
    except (TypeError, AttributeError) as error:
        wanted = f"{name} must be a function from a key to a network"
        made = build
        while isinstance(made, functools.partial):
            made = made.func
        if isinstance(made, type) and issubclass(made, nnx.Module):
            # flax's metaclass hides the signature of the class itself.
            takes = [*inspect.signature(made.__init__).parameters][1:]
            raise TypeError(
                f"{wanted}, got the class {made.__name__} of ({', '.join(takes)}): give lambda "
                f"key: {made.__name__}(..., rngs=nnx.Rngs(key))"
            ) from error
        if re.search(r"has no attribute '?(params|default|dropout|carry|fork)'?", str(error)):
            raise TypeError(
                f"{wanted}, which makes nnx.Rngs of its key, as in lambda key: Net(..., "
                f"rngs=nnx.Rngs(key)); here the key itself was used as one: {error}"
            ) from error
        raise


def check_axes(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is an axis of an array or a sequence of axes."""
    for name, axes in arguments.items():
        if axes is None and optional:
            continue
        single = isinstance(axes, int) and not isinstance(axes, bool)
        to_sizes(name, (axes,) if single else axes)
