"""Checks of numbers that must be given; None, in `_checks` an argument left out, is none here."""

from typing import Any

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
