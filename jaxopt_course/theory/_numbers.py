"""Where a formula is computed: in NumPy's double precision, or inside a JAX trace."""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import check_flag, check_real, is_concrete_number

Numeric = float | jax.Array
P = ParamSpec("P")
R = TypeVar("R")


def in_doubles(formula: Callable[P, R]) -> Callable[P, R]:
    """Compute with IEEE doubles where the arguments are Python numbers.

    Python's own floats raise OverflowError for `1e200**2` and ZeroDivisionError for `1 / 1e-200**2`
    and never say of which argument; here as in NumPy and JAX the results are inf, or NaN.
    """
    parameters = inspect.signature(formula).parameters

    def to_double(name, value):
        default = parameters[name].default if name in parameters else None
        if isinstance(default, bool):
            check_flag(**{name: value})
            return value
        if value is None and default is None:
            return value
        check_real(**{name: value})
        if is_concrete_number(value):
            return np.float64(value)
        # Integers, too, are to give floating-point results.
        return value if jnp.issubdtype(value.dtype, jnp.floating) else value * 1.0

    @functools.wraps(formula)
    def computed(*args: P.args, **kwargs: P.kwargs) -> R:
        positional = list(map(to_double, parameters, args))
        named = {name: to_double(name, value) for name, value in kwargs.items()}
        _check_broadcast(dict(zip(parameters, positional, strict=False)) | named)
        with np.errstate(all="ignore"):
            # One argument too many is left to Python's own message.
            result: Any = formula(*positional, *args[len(positional) :], **named)  # pyrefly: ignore
        return _to_python(result)

    return computed


def _check_broadcast(arguments: dict[str, Any]) -> None:
    """Raise ValueError unless the shapes of all arguments broadcast."""
    shapes = {name: np.shape(value) for name, value in arguments.items() if np.ndim(value)}
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError as error:
        listed = ", ".join(f"{name}: {shape}" for name, shape in shapes.items())
        raise ValueError(f"the shapes of the arguments must broadcast, got {listed}") from error


def _to_python(result: Any) -> Any:
    """Turn NumPy's scalars into Python's, in a tuple one by one."""
    if isinstance(result, tuple):
        return type(result)(*map(_to_python, result))
    return float(result) if isinstance(result, np.floating) else result


def namespace(*arguments: Any) -> ModuleType:
    """Return `jax.numpy` if an argument is a JAX value, else `numpy`.

    Python numbers so give double precision even where JAX computes in float32, which rates close
    to one need; traced values give traced results.
    """
    return jnp if any(isinstance(argument, jax.Array) for argument in arguments) else np
