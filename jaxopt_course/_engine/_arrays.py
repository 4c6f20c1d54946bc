"""Trees of arrays in a checkpoint, as one NumPy archive an item.

Orbax writes NumPy arrays in the first process of several only. Here every process has checkpoints
of its own, so the arrays go through a handler that writes wherever it is called.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxopt_course._checks import is_key

_FILE = "arrays.npz"


class ArraysHandler(ocp.CheckpointHandler):
    """Writes and reads arrays by name; nothing is pickled."""

    def save(self, directory: Any, args: "ArraysSave") -> None:
        """Write the arrays."""
        arrays: dict[str, Any] = args.arrays
        np.savez(Path(directory) / _FILE, **arrays)

    def restore(self, directory: Any, args: Any = None) -> dict[str, np.ndarray]:
        """Read them."""
        del args
        with np.load(Path(directory) / _FILE, allow_pickle=False) as archive:
            return dict(archive)


@ocp.args.register_with_handler(ArraysHandler, for_save=True)
@dataclasses.dataclass
class ArraysSave(ocp.args.CheckpointArgs):
    """What `ArraysHandler` is to write."""

    arrays: dict[str, np.ndarray]


@ocp.args.register_with_handler(ArraysHandler, for_restore=True)
@dataclasses.dataclass
class ArraysRestore(ocp.args.CheckpointArgs):
    """That `ArraysHandler` is to read."""


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves in order by path and dtype, on the host, keys as their data."""
    arrays = {}
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        name = f"{jax.tree_util.keystr(path)}|{array.dtype.name}"
        # Archives know the types of NumPy itself alone: bfloat16 goes as its bits.
        bits = array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")
        arrays[name] = bits
    return arrays


def unflatten(arrays: dict[str, np.ndarray], like: Any) -> Any:
    """Put what `flatten` returned back into the structure of `like`."""
    leaves, treedef = jax.tree.flatten(like)
    read = [_restored(name, array) for name, array in arrays.items()]
    for i, (leaf, array) in enumerate(zip(leaves, read, strict=True)):
        leaves[i] = array
        if is_key(leaf):
            leaves[i] = jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    return jax.tree.unflatten(treedef, leaves)


def by_name(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what `flatten` returned of a dict; what lies deeper in it has the rest of its path."""
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
