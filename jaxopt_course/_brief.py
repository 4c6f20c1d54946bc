"""Any value in a few words: for messages about arguments, and for results that are printed.

    brief(jnp.ones((500, 2)))         'float32 array of shape (500, 2): 1, 1, 1, ...'
    brief({"w": jnp.ones((3, 4))})    'dict of 1 array, 12 numbers'
    brief("fast")                     "'fast'"

An array in full, or a network with all its weights, hides the sentence that it stands in.
"""

import dataclasses
import reprlib
from typing import Any

import jax
import numpy as np

_FEW = 6
"""Numbers of an array that are all shown."""
_SOME = 3
"""Numbers that are shown of a longer one."""
_CHARACTERS = 80
"""Of the text of anything else."""


def brief(value: Any) -> str:
    """Return a value in a few words, on one line.

    Of an array the dtype, the shape and a few values; of a tree with longer arrays how many there
    are; of other objects the beginning of their `repr`. Nothing is computed of a traced array.

    Example:
        >>> brief(np.arange(100)), brief(2.5), brief([1.0] * 50)
        ('int64 array of shape (100,): 0, 1, 2, ...', '2.5', '[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, ...]')
    """
    if isinstance(value, np.generic):
        return str(value)
    if _is_array(value):
        return _array(value)
    if isinstance(value, list | tuple | dict) and any(map(_is_array, jax.tree.leaves(value))):
        return _tree(value)
    return _Short().repr(value)


def numbers(values: Any) -> str:
    """Return an array's dtype and shape as `float32[500, 2]`.

    Example:
        >>> numbers(np.ones((500, 2)))
        'float64[500, 2]'
    """
    return f"{values.dtype}[{', '.join(map(str, values.shape))}]"


def shapes(tree: Any) -> str:
    """Return the shapes of a tree's leaves by their paths, of many leaves the first.

    Example:
        >>> shapes({"a": np.ones(3), "b": np.ones((2, 2))})
        "(3,) at ['a'], (2, 2) at ['b']"
    """
    leaves = jax.tree.leaves_with_path(tree)
    told = [
        f"{np.shape(leaf)}" + (f" at {jax.tree_util.keystr(path)}" if path else "")
        for path, leaf in leaves[:_SOME]
    ]
    more = f" and {len(leaves) - _SOME} more" if len(leaves) > _SOME else ""
    return ", ".join(told) + more or "none"


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and isinstance(getattr(value, "shape", None), tuple)


def _array(value: Any) -> str:
    shape = "" if value.shape == () else f" of shape {value.shape}"
    if isinstance(value, jax.core.Tracer):
        return f"traced {value.dtype} array{shape}"
    try:
        keys = jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)
    except TypeError:  # A dtype of another library.
        keys = True
    if isinstance(value, jax.ShapeDtypeStruct) or keys:
        return f"{value.dtype} array{shape}"
    size = int(np.prod(value.shape))
    try:
        shown = np.asarray(value if size <= _FEW else value[(0,) * (value.ndim - 1)][:_SOME])
    except Exception:  # Deleted or on other hosts: it has no numbers to show.
        return f"{value.dtype} array{shape}"
    if size <= _FEW:
        rows = np.array2string(shown, separator=", ", precision=6).split("\n")
        return f"{value.dtype} array{shape}: {' '.join(row.strip() for row in rows)}"
    first = ", ".join(_number(one) for one in shown.reshape(-1)[:_SOME])
    return f"{value.dtype} array{shape}: {first}, ..."


def _number(value: Any) -> str:
    return f"{value:.6g}" if np.issubdtype(np.asarray(value).dtype, np.inexact) else str(value)


def _tree(value: Any) -> str:
    leaves = jax.tree.leaves(value)
    if len(leaves) <= _SOME and sum(int(np.size(leaf)) for leaf in leaves) <= _FEW:
        return _Short().repr(value)
    held = [leaf for leaf in leaves if _is_array(leaf)]
    total = sum(int(np.prod(leaf.shape)) for leaf in held)
    arrays = "1 array" if len(held) == 1 else f"{len(held)} arrays"
    return f"{type(value).__name__} of {arrays}, {total:,} numbers"


class _Short(reprlib.Repr):
    """`repr` that shows the beginning of what is long."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = _FEW
        self.maxstring = self.maxlong = self.maxother = _CHARACTERS

    def repr1(self, x: Any, level: int) -> str:
        """Return an array, or an object of many parts, in a few words."""
        if _is_array(x) and not isinstance(x, np.generic):
            return _array(x)
        named = type(x).__module__ != "builtins" and not isinstance(x, type)
        if named and (dataclasses.is_dataclass(x) or hasattr(x, "_fields")):
            return f"{type(x).__name__}(...)"
        return super().repr1(x, level)

    def repr_instance(self, x: Any, level: int) -> str:  # noqa: ARG002
        """Return an object by its `repr` if that is one line and short, else by its class."""
        try:
            text = repr(x)
        except Exception:  # What cannot be shown is named.
            return f"{type(x).__name__} object"
        if len(text) <= _CHARACTERS and "\n" not in text:
            return text
        if callable(x) and getattr(x, "__name__", None):
            return f"the {'class' if isinstance(x, type) else 'function'} {x.__name__}"
        return f"{type(x).__name__} object"
