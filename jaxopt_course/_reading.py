"""Results that read: what `print` and a notebook show of a result, all written in one way.

    @readable
    @flax.struct.dataclass
    class Census:
        ...
        def _reading(self) -> Reading | None: ...

A heading that says what was found, then one line a quantity. A result that is traced, that consists
of shapes (`jax.eval_shape`) or deleted arrays, or that has more axes than its class describes
because it was mapped over, has no such words yet: then the lines are its fields, with dtype, shape
and a few values.
`repr` stays what it was.
"""

import collections
import dataclasses
import html
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jaxopt_course._brief import brief, numbers
from jaxopt_course._checks import is_traced

_Class = TypeVar("_Class", bound=type)

LISTED = 10
"""Parts of a result that are listed one by one; of more, the first."""


class Reading(NamedTuple):
    """A result in words.

    Attributes:
        heading: What it is, in one line.
        rows: Labels, and what stands beside them.
    """

    heading: str
    rows: list[tuple[str, str]]


def readable(cls: _Class) -> _Class:
    """Let `print` and notebooks show a result by its method `_reading`, or by its fields."""
    for name, method in (("__str__", _text), ("_repr_html_", _table)):
        setattr(cls, name, method)
    return cls


def reading(result: Any) -> Reading:
    """Return a result in words, or field by field where there are none."""
    words = getattr(result, "_reading", None)
    empty = any(map(_has_no_numbers, jax.tree.leaves(result)))
    if words is not None and not empty and not is_traced(result):
        found = words()
        if found is not None:
            return found
    return Reading(type(result).__name__, [(name, part(one)) for name, one in _fields(result)])


def _has_no_numbers(leaf: Any) -> bool:
    """Whether there is a shape alone: of `jax.eval_shape`, or of an array that was donated."""
    if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer):
        return leaf.is_deleted()
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _text(self: Any) -> str:
    """The result in a few lines."""
    heading, rows = reading(self)
    width = max((len(label) for label, _ in rows), default=0)
    return "\n".join([heading, *(f"  {label:<{width}}  {text}" for label, text in rows)])


def _table(self: Any) -> str:
    """What a notebook shows: the lines of `print` as a table."""
    heading, rows = reading(self)
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(label)}</th>"
        f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
        for label, text in rows
    )
    return (
        "<table><caption style='text-align:left;white-space:nowrap'>"
        f"<b>{html.escape(heading)}</b></caption>{cells}</table>"
    )


def _fields(result: Any) -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(result):
        names: Iterable[str] = [field.name for field in dataclasses.fields(result)]
    else:
        names = result._fields
    return [(name, getattr(result, name)) for name in names]


def part(value: Any) -> str:
    """Return a part of a result in a few words: arrays by dtype, shape and range.

    Example:
        >>> part(np.arange(10.0)), part(3), part(None)
        ('float64[10], 0 to 9, median 4.5', '3', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    leaves = jax.tree.leaves(value)
    if hasattr(value, "_fields") and len(leaves) == len(value._fields):
        return "; ".join(f"{name} {part(one)}" for name, one in _fields(value))
    if len(leaves) == 1 and leaves[0] is value and hasattr(value, "dtype"):
        return _array(value)
    described = [leaf for leaf in leaves if hasattr(leaf, "dtype")]
    if not described or len(described) < len(leaves):
        return brief(value)
    if len(described) == 1:
        return numbers(described[0])
    total = sum(int(np.prod(leaf.shape)) for leaf in described)
    return f"{len(described)} arrays, {total:,} numbers"


def _array(value: Any) -> str:
    known = isinstance(value, np.ndarray | np.generic | jax.Array)
    if not known or isinstance(value, jax.core.Tracer) or _has_no_numbers(value):
        return f"{numbers(value)}, traced" if isinstance(value, jax.core.Tracer) else brief(value)
    if value.dtype == bool:
        yes = int(np.sum(np.asarray(value)))
        return f"{numbers(value)}, {yes} true" if value.shape else str(bool(value))
    if not jax.dtypes.issubdtype(value.dtype, np.number):
        return numbers(value) if value.shape else brief(value)
    if value.ndim == 0:
        return number(value)
    return f"{numbers(value)}, {spread(value)}" if value.size else f"{numbers(value)}, empty"


def number(value: Any) -> str:
    """Return a number with four digits, a whole one as it is.

    Example:
        >>> number(0.123456), number(np.int32(12345))
        ('0.1235', '12345')
    """
    value = np.asarray(value)
    if jax.dtypes.issubdtype(value.dtype, np.floating):
        return f"{float(value):.4g}"
    return f"{complex(value):.4g}" if np.iscomplexobj(value) else str(value)


def spread(values: Any) -> str:
    """Return the range and the median of numbers; one number if all are the same.

    Example:
        >>> spread([3.0, 1.0, np.nan, 2.0])
        '1 to 3, median 2; 1 of 4 not finite'
    """
    values = np.asarray(values)
    exact = np.issubdtype(values.dtype, np.integer)
    if np.issubdtype(values.dtype, np.complexfloating):
        values = np.abs(values)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "none finite" if values.size else "empty"
    finite = finite.astype(np.float64)
    low, middle, high = (
        f"{one:.0f}" if exact and one == round(one) else f"{one:.4g}"
        for one in (np.min(finite), np.median(finite), np.max(finite))
    )
    text = low if low == high else f"{low} to {high}"
    if finite.size > 2 and low != high:
        text += f", median {middle}"
    bad = values.size - finite.size
    return f"{text}; {bad} of {values.size} not finite" if bad else text


def listed(values: Any) -> str:
    """Return numbers one by one, of many the first and the last.

    Example:
        >>> listed(range(20))
        '0, 1, 2, 3, 4, ..., 15, 16, 17, 18, 19'
    """
    shown = [number(one) for one in np.asarray(values)]
    if len(shown) > LISTED:
        half = LISTED // 2
        shown = [*shown[:half], "...", *shown[-half:]]
    return ", ".join(shown)


_PLURALS = {
    "minimum": "minima",
    "maximum": "maxima",
    "strict saddle": "strict saddles",
    "non strict saddle": "non strict saddles",
}


def kinds_of(names: Iterable[str]) -> str:
    """Return how often each name occurs, as "4 minima, 1 maximum", the most frequent first.

    Args:
        names: Of members of an enumeration, such as "MINIMUM".
    """
    counts = collections.Counter(name.lower().replace("_", " ") for name in names)
    return ", ".join(
        how_many(n, name, _PLURALS.get(name, name)) for name, n in counts.most_common()
    )


def how_many(count: int, one: str, more: str | None = None) -> str:
    """Return a number with its noun, in the plural where it is not one.

    Example:
        >>> how_many(1, "run"), how_many(3, "minimum", "minima")
        ('1 run', '3 minima')
    """
    return f"{count} {one if count == 1 else more or one + 's'}"


def in_words(member: Any) -> str:
    """Return the name of an enumeration's member in small letters: "strict saddle"."""
    return member.name.lower().replace("_", " ")


def tally(values: Any, of: Any) -> str:
    """Return how often each member of an enumeration occurs, the most frequent first.

    Args:
        values: Integers.
        of: The enumeration, an `IntEnum`.
    """
    return kinds_of(of(value).name for value in sorted(np.ravel(values).tolist()))
