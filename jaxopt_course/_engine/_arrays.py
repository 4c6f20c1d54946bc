"""Trees of arrays as one NumPy archive a file: every structure and every dtype, and no pickles."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import is_key
from jaxopt_course._engine import _files as files
from jaxopt_course._engine._files import Stamp


def write(path: Path, tree: Any) -> Stamp:
    """Write the leaves of a tree to a file, and return the stamp by which `read` knows it."""
    arrays: dict[str, Any] = flatten(tree)
    return files.write(path, lambda file: np.savez(file, **arrays))


def read(path: Path, stamp: Stamp) -> dict[str, np.ndarray]:
    """The leaves in a file, as `flatten` returned them of the tree that was written.

    Raises:
        Damaged: If the file is not the one of the stamp.
    """
    files.check(path, stamp)
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """The leaves by a text of path and dtype, in order, on the host; keys as their data."""
    arrays = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        name = f"{jax.tree_util.keystr(path)}|{array.dtype.name}"
        if array.dtype.hasobject:
            raise TypeError(f"{name} must be an array of numbers, got {brief(leaf)}")
        # Archives know the types of NumPy itself alone: bfloat16 goes as its bits.
        bits = array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")
        arrays[name] = bits
    return arrays


def unflatten(arrays: dict[str, np.ndarray], like: Any) -> Any:
    """The tree of the structure of `like` whose leaves `flatten` returned."""
    leaves, treedef = jax.tree.flatten(like)
    read = [_restored(name, array) for name, array in arrays.items()]
    for i, (leaf, array) in enumerate(zip(leaves, read, strict=True)):
        leaves[i] = array
        if is_key(leaf):
            leaves[i] = jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    return jax.tree.unflatten(treedef, leaves)


def by_name(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The dictionary whose leaves `flatten` returned, without the structure of its values.

    A value that is no array itself is again a dictionary, of its leaves by the rest of their paths.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        path, leaf = name.rpartition("|")[0], _restored(name, array)
        top, rest = re.fullmatch(r"\['(\w+)'\](.*)", path).groups()  # pyrefly: ignore
        if rest:
            tree.setdefault(top, {})[rest] = leaf
        else:
            tree[top] = leaf
    return tree


def _restored(name: str, array: np.ndarray) -> np.ndarray:
    return array.view(jnp.dtype(name.rpartition("|")[2]))
