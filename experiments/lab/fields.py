"""What the fields of a config may be: each declares its range or its choices, one function checks.

    @dataclasses.dataclass(frozen=True)
    class Config(Checked):
        runs: Annotated[int, minimum(1)] = 100
        rates: tuple[Annotated[float, above(0)], ...] = (0.1, 0.3)

A tuple has at least one element, and a float is finite. The command line shows what a field may be
in its help, and refuses anything else before anything runs.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Annotated, Any


@dataclasses.dataclass(frozen=True)
class Range:
    """What a value may be.

    Attributes:
        text: The rule in words, after "must be".
        holds: Whether a value of the right type keeps it.
    """

    text: str
    holds: Callable[[Any], bool]


def minimum(low: float) -> Range:
    """Numbers that are not below a bound."""
    return Range(f"at least {low}", lambda value: value >= low)


def above(low: float) -> Range:
    """Numbers above a bound."""
    return Range(f"above {low}", lambda value: value > low)


def between(low: float, high: float) -> Range:
    """Numbers from one bound to another, both included."""
    return Range(f"between {low} and {high}", lambda value: low <= value <= high)


def number() -> Range:
    """Any finite number."""
    return Range("a finite number", math.isfinite)


def one_of(choices: Iterable[str]) -> Range:
    """Some names and no others."""
    known = tuple(choices)
    return Range(f"one of {', '.join(known)}", lambda value: value in known)


def a_folder() -> Range:
    """The name of a folder, which is looked for when it is needed."""
    return Range("the name of a folder", lambda value: bool(value) and "\0" not in value)


Seed = Annotated[int, between(0, 2**32 - 1)]
"""A seed: `jax.random.key` takes 32 bits of it without x64."""


class Checked:
    """Base of a config: its fields are checked when it is made."""

    def __post_init__(self) -> None:
        """Check the fields."""
        check(self)


def check(config: Any) -> None:
    """Hold every field of a config against its annotation.

    Args:
        config: An instance of a dataclass.

    Raises:
        TypeError: If a value is of another type; the message names the field.
        ValueError: If it is out of range.

    Example:
        >>> @dataclasses.dataclass
        ... class Config:
        ...     runs: Annotated[int, minimum(1)] = 100
        >>> check(Config(runs=-3))
        Traceback (most recent call last):
        ValueError: runs must be at least 1, got -3
    """
    hints = typing.get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        _check(field.name, getattr(config, field.name), hints[field.name])


def check_ascending(**fields: tuple[float, ...]) -> None:
    """Raise ValueError unless every field holds two values or more, each above the one before."""
    for name, values in fields.items():
        if len(values) < 2 or list(values) != sorted(set(values)):
            raise ValueError(f"{name} must be two or more, ascending, got {values}")


def ranges(hint: Any) -> list[Range]:
    """Return every range that an annotation has, those of elements included."""
    own = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Range)]
    return own + [inner for part in typing.get_args(hint) for inner in ranges(part)]


def is_bounded(hint: Any) -> bool:
    """Return whether an annotation says of every value in it what it may be."""
    if any(isinstance(extra, Range) for extra in getattr(hint, "__metadata__", ())):
        return True
    if typing.get_origin(hint) is typing.Literal or hint in (bool, type(None), ...):
        return True
    parts = typing.get_args(hint)
    return bool(parts) and all(map(is_bounded, parts))


def _check(name: str, value: Any, hint: Any) -> None:
    """Hold one value against its annotation."""
    own = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Range)]
    kind = typing.get_args(hint)[0] if own else hint
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is not None:
            (inner,) = (part for part in parts if part is not type(None))
            _check(name, value, inner)
        return
    if origin is tuple:
        _check_tuple(name, value, parts)
    else:
        _check_type(name, value, kind)
    for rule in own:
        if not rule.holds(value):
            raise ValueError(f"{name} must be {rule.text}, got {value!r}")


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Raise unless a value is of a plain type; a float must be finite, too."""
    expected, words = {
        float: (Real, "a number"),
        int: (Integral, "an integer"),
        str: (str, "a string"),
        bool: (bool, "a flag"),
    }[kind]
    if not isinstance(value, expected) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(f"{name} must be {words}, got {value!r}")
    if kind is float and not math.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, got {value!r}")


def _check_tuple(name: str, value: Any, parts: tuple[Any, ...]) -> None:
    """Raise unless a value is a tuple of as many elements as annotated, each as annotated."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} must be a tuple, got {value!r}")
    if parts[-1:] == (...,):
        if not value:
            raise ValueError(f"{name} must have at least one element, got {value!r}")
        parts = parts[:1] * len(value)
    if len(value) != len(parts):
        raise ValueError(f"{name} must have {len(parts)} elements, got {value!r}")
    for inner, part in zip(value, parts, strict=True):
        _check(name, inner, part)
