"""Batches within `jax.set_mesh`: they are divided among devices by the engine, not by the mesh.

A program that is called within a mesh runs on all its devices, while each of the engine's runs on
one. So a batch leaves the mesh while it works: its arrays go through the host as ever, and results
are placed as the starts were. Where a surrounding transformation traces the call, the batch is part
of its program and cannot leave; then explicit axes of the mesh are made automatic inside, so that
the compiler places what is computed there.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxopt_course._checks import is_key, is_traced, is_tracing


def within_any_mesh(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: a function that executes a batch may be called within any mesh.

    Args:
        function: The function. Its arrays may be sharded on the mesh; a result with as many rows as
            they have is then sharded like them, if they are all sharded alike.
    """

    @functools.wraps(function)
    def anywhere(*args: Any, **kwargs: Any) -> Any:
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty:
            return function(*args, **kwargs)
        leaves, structure = jax.tree.flatten((args, kwargs))

        def call(leaves: list[Any]) -> Any:
            args, kwargs = structure.unflatten(leaves)
            return function(*args, **kwargs)

        if not is_traced(leaves) and not is_tracing():
            with jax.set_mesh(jax.sharding.Mesh(np.empty((), object), ())):
                result = call([_off_the_mesh(leaf) for leaf in leaves])
            return _placed_by_runs(result, leaves)
        if AxisType.Explicit not in mesh.axis_types:
            return call(leaves)
        # `auto_axes` takes arrays alone.
        numbers = [number for number, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]

        def inside(arrays: list[jax.Array]) -> Any:
            mixed = list(leaves)
            for number, array in zip(numbers, arrays, strict=True):
                mixed[number] = array
            return call(mixed)

        automatic: Any = jax.sharding.auto_axes
        arrays = [leaves[number] for number in numbers]
        return automatic(inside, out_sharding=PartitionSpec())(arrays)

    return anywhere


def check_off_the_mesh(program: Any) -> None:
    """Raise ValueError if a program holds data sharded explicitly: it is to run on one device."""
    for leaf in jax.tree.leaves(program):
        if isinstance(leaf, jax.Array) and any(jax.typeof(leaf).sharding.spec):
            raise ValueError(
                "data of the objective must not be sharded over explicit axes, as a device works "
                f"on its own runs, got {jax.typeof(leaf)}; close over np.asarray(data), or make "
                "the mesh with axis_types=(AxisType.Auto,)"
            )


def _off_the_mesh(leaf: Any) -> Any:
    """The array on the host if it lies on several devices, else as it is."""
    if not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1:
        return leaf
    if is_key(leaf):
        data = jnp.asarray(np.asarray(jax.random.key_data(leaf)))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return np.asarray(leaf)


def _placed_by_runs(result: Any, leaves: list[Any]) -> Any:
    """Results, those with a row for every run sharded as starts and keys are, if by runs."""
    by_rows: dict[int, set[NamedSharding]] = {}
    for leaf in leaves:
        if isinstance(leaf, jax.Array) and isinstance(leaf.sharding, NamedSharding):
            spec = leaf.sharding.spec
            if leaf.ndim and any(spec[:1]):
                sharding = NamedSharding(leaf.sharding.mesh, PartitionSpec(spec[0]))
                by_rows.setdefault(leaf.shape[0], set()).add(sharding)

    # Data may be sharded by examples: a result is placed like arrays with as many rows as it has.
    def place(leaf: Any) -> Any:
        rows = leaf.shape[0] if isinstance(leaf, jax.Array) and leaf.ndim else None
        shardings = by_rows.get(rows, set()) if rows is not None else set()
        return jax.device_put(leaf, *shardings) if len(shardings) == 1 else leaf

    return jax.tree.map(place, result)
