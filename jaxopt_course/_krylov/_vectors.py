"""A pytree as one vector, and back.

Curvature is computed on vectors of at least float32: inner products of long vectors mean nothing in
half precision.

Where the axes of a mesh are explicit (the default of `jax.make_mesh`), the sharding of an array is
part of its type, and an operation whose result could be sharded in several ways is refused: leaves
that are sharded cannot be joined as they are. Here the vector is whole on every device,
so that inner products and matrices of such vectors need no annotation, and what is taken apart
again has the shardings that the leaves had.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, PartitionSpec


def ravel(tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """One vector of all entries of a tree, and the function that takes such a vector apart again.

    Args:
        tree: Pytree of arrays.

    Returns:
        What `jax.flatten_util.ravel_pytree` returns; within a mesh of explicit axes the vector is
        on all devices, and a tree made from a vector is sharded like `tree`.

    Example:
        >>> vector, unravel = ravel({"a": jnp.ones(2), "b": 3.0})
        >>> print(vector, unravel(2 * vector)["a"])
        [1. 1. 3.] [2. 2.]
    """
    if AxisType.Explicit not in jax.sharding.get_abstract_mesh().axis_types:
        return ravel_pytree(tree)
    ways_back = []  # They know shapes and dtypes only, no tracer.

    def join(tree):
        vector, unravel = ravel_pytree(tree)
        ways_back.append(unravel)
        return vector

    shardings = jax.tree.map(lambda leaf: jax.typeof(leaf).sharding.spec, tree)
    within_auto: Any = jax.sharding.auto_axes  # Its type is that of a decorator with arguments.
    vector = within_auto(join, out_sharding=PartitionSpec())(tree)
    return vector, within_auto(ways_back[0], out_sharding=shardings)


def flatten(tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """Concatenate the leaves of `tree` into a vector of at least float32.

    Half precision is left at the door: inner products of long vectors are meaningless in it.

    Args:
        tree: Pytree of real floating arrays.

    Returns:
        The vector, and the function that takes such a vector back to a tree with the leaves'
        own shapes and dtypes.
    """
    flat, unravel = ravel(tree)
    stored = flat.dtype
    return (
        flat.astype(jnp.promote_types(stored, jnp.float32)),
        lambda vector: unravel(vector.astype(stored)),
    )


def flatten_wide(tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """Concatenate the leaves of `tree`, as `flatten` does, with a way back that rounds nothing.

    Args:
        tree: Pytree of real floating arrays.

    Returns:
        The vector in the widest dtype of the leaves, float32 at least, and the function that takes
        such a vector back to a tree with the leaves' own shapes, all in the vector's dtype.
    """
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(tree))
    return ravel(jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), tree))
