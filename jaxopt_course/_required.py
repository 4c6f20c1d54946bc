"""Checks of what must be given; None, in `_checks` an argument left out, is none here."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxopt_course import _checks


def check_number(**arguments: Any) -> None:
    """Raise unless every argument given by name is one real number, or an array or tracer of one.

    Raises:
        TypeError: for what is no real number.
        ValueError: for an array with axes, or an integer that does not fit into 32 bits.
    """
    for name, value in arguments.items():
        if value is None:
            raise TypeError(f"{name} must be a real number, got None")
    _checks.check_number(**arguments)


def check_positive(**arguments: Any) -> None:
    """Raise unless every number given by name is > 0 (NaN is not)."""
    check_number(**arguments)
    _checks.check_positive(**arguments)


def check_non_negative(**arguments: Any) -> None:
    """Raise unless every number given by name is >= 0 (NaN is not)."""
    check_number(**arguments)
    _checks.check_non_negative(**arguments)


def check_fraction(**arguments: Any) -> None:
    """Raise unless every number given by name lies in [0, 1)."""
    check_number(**arguments)
    _checks.check_fraction(**arguments)


def check_finite(**arguments: Any) -> None:
    """Raise unless every number given by name is finite."""
    check_number(**arguments)
    for name, value in arguments.items():
        if _checks.is_concrete_number(value) and not abs(float(value)) < float("inf"):
            raise ValueError(f"{name} must be finite, got {value}")


def check_integer(**arguments: Any) -> None:
    """Raise TypeError unless every argument given by name is an integer."""
    for name, value in arguments.items():
        if value is None:
            raise TypeError(f"{name} must be an integer, got None")
    _checks.check_integer(**arguments)


def check_path(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a path."""
    if value is None:
        raise TypeError(f"{name} must be a path, got None")
    _checks.check_path(name, value)


def check_callable(**arguments: Any) -> None:
    """Raise TypeError unless every argument given by name can be called."""
    for name, value in arguments.items():
        if value is None:
            raise TypeError(f"{name} must be a function, got None")
    _checks.check_callable(**arguments)


def check_array(name: str, values: Any) -> np.ndarray:
    """Return `values` as an array in double precision.

    Raises:
        TypeError: unless they are real numbers that form an array.
    """
    try:
        dtype = np.asarray(values).dtype
        # NumPy would make numbers of None, of True and of text.
        if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
            raise TypeError(f"their dtype is {dtype}")
        with np.errstate(all="ignore"):
            return np.array(values, float)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be an array of real numbers, got {values!r}") from error


def check_sizes(name: str, values: Any) -> tuple[int, ...]:
    """Return `values` as a tuple of integers.

    Raises:
        TypeError: unless it is a sequence of integers.
    """
    try:
        sizes = tuple(values)
        for size in sizes:
            check_integer(**{name: size})
    except TypeError as error:
        raise TypeError(f"{name} must be a sequence of integers, got {values!r}") from error
    return tuple(map(int, sizes))
