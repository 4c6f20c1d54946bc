"""What only layers and networks are given, checked so that flax is not the one to stumble."""

from typing import Any

from flax import nnx

from jaxopt_course._checks import to_sizes


def check_rngs(rngs: Any) -> None:
    """Raise TypeError unless `rngs` holds random streams."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"rngs must be a flax.nnx.Rngs, got {rngs!r}")


def check_module(model: Any) -> None:
    """Raise TypeError unless `model` is an nnx module."""
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {type(model).__name__}")


def check_axes(*, optional: bool = False, **arguments: Any) -> None:
    """Raise TypeError unless every argument is an axis of an array or a sequence of axes."""
    for name, axes in arguments.items():
        if axes is None and optional:
            continue
        single = isinstance(axes, int) and not isinstance(axes, bool)
        to_sizes(name, (axes,) if single else axes)
