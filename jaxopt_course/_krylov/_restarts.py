"""The restarts of the thick-restarted Lanczos method; see `eigenpairs` for what they are for.

Wu and Simon (2000), https://doi.org/10.1137/S0895479898334605.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course._krylov._hessian import Operator
from jaxopt_course._krylov._lanczos import (
    Krylov,
    empty_krylov,
    extend,
    normalized,
    orthogonal_direction,
)


class Projection(NamedTuple):
    """What a Lanczos run from one start vector leaves to judge it by.

    Attributes:
        projected: T, shape (m, m).
        coupling: Scalar; the entry of T that the next step would have added beside the diagonal.
    """

    projected: jax.Array
    coupling: jax.Array


class Search(NamedTuple):
    """Where the restarts stand: basis, its Ritz pairs, and the check for copies."""

    krylov: Krylov
    values: jax.Array  # (m,) Ritz values, ascending
    vectors: jax.Array  # (m, m) their coefficients, in columns
    cycles: jax.Array  # restarts so far; -1 before the first basis
    first_cycles: jax.Array  # restarts that the first convergence took; -1 before it
    check_began: jax.Array  # restart count when the current check for copies began
    known: jax.Array  # (k,) wanted values when it began
    unrestarted: Projection
    done: jax.Array


def take_ends(columns: jax.Array, ends: tuple[int, int]) -> jax.Array:
    """Take the first `ends[0]` and the last `ends[1]` entries along the last axis."""
    size = columns.shape[-1]
    return jnp.concatenate([columns[..., : ends[0]], columns[..., size - ends[1] :]], axis=-1)


def kept_per_end(ends: tuple[int, int], basis_size: int) -> tuple[int, int]:
    """Ritz pairs to keep at each end: the wanted ones and a third of the room that is left.

    Neighbours kept along with a wanted pair speed up its convergence, as a larger basis would.
    """
    sides = sum(1 for count in ends if count)
    spare = (basis_size - sum(ends)) // (3 * sides)
    smallest, largest = (count + spare if count else 0 for count in ends)
    return smallest, largest


def without(locked: jax.Array, vector: jax.Array) -> jax.Array:
    """Project `vector` onto the orthogonal complement of the rows of `locked`."""
    return vector - (locked @ vector) @ locked


def restarted_lanczos(
    operator: Operator,
    start: jax.Array,
    *,
    ends: tuple[int, int],
    key: jax.Array,
    tolerance: float,
    basis_size: int,
    max_restarts: int,
    check_copies: bool,
    locked: jax.Array,
) -> Search:
    """Run Lanczos and restart it until the wanted pairs have converged.

    Args:
        operator: Symmetric linear map on vectors of shape (n,).
        start: Shape (n,); the first direction, zero for a random one.
        ends: Pairs wanted at the lower and at the upper end.
        key: Typed PRNG key.
        tolerance: For the residual estimates, relative to the largest |Ritz value|.
        basis_size: Rows m of the basis, those of `locked` not counted.
        max_restarts: Bound on the restarts.
        check_copies: Whether to search again for copies of multiple eigenvalues.
        locked: Shape (l, n), rows orthonormal or zero, in front of every basis.

    Returns:
        The last state; the Ritz pairs are those of its basis behind the locked rows.
    """
    kept = kept_per_end(ends, basis_size)
    num_locked, num_rows = locked.shape[0], locked.shape[0] + basis_size
    free = slice(num_locked, None)
    refilled = num_locked + sum(kept)

    def judge(search: Search) -> Search:
        """Diagonalize the projection and decide how the search goes on."""
        values, vectors = jnp.linalg.eigh(search.krylov.projected[free, free])
        scale = jnp.max(jnp.abs(values))
        wanted = take_ends(values, ends)
        estimates = search.krylov.coupling * jnp.abs(take_ends(vectors[-1], ends))
        converged = jnp.all(estimates <= tolerance * scale)
        unchanged = jnp.all(jnp.abs(wanted - search.known) <= tolerance * scale)
        in_check = search.first_cycles >= 0
        # A copy takes about as long to find as the original did: the check lasts as long.
        long_enough = search.cycles - search.check_began > search.first_cycles
        checked = in_check & unchanged & long_enough
        begin_check = converged & (~in_check | ~unchanged)
        return search._replace(
            values=values,
            vectors=vectors,
            first_cycles=jnp.where(converged & ~in_check, search.cycles, search.first_cycles),
            check_began=jnp.where(begin_check, search.cycles, search.check_began),
            known=jnp.where(begin_check, wanted, search.known),
            done=(converged & (checked | (not check_copies))) | ~jnp.isfinite(scale),
        )

    def restart(search: Search) -> Search:
        # The check for copies begins with a random direction instead of the residual.
        fresh = (search.first_cycles >= 0) & (search.check_began == search.cycles)
        cycle_key = jax.random.fold_in(key, search.cycles)
        rows = take_ends(search.vectors, kept).T @ search.krylov.basis[free]
        basis = jnp.zeros_like(search.krylov.basis).at[:num_locked].set(locked)
        basis = basis.at[num_locked:refilled].set(rows)
        projected = jnp.zeros_like(search.krylov.projected)
        projected = projected.at[num_locked:refilled, num_locked:refilled].set(
            jnp.diag(take_ends(search.values, kept))
        )
        # The first cycle has no Ritz vectors to keep: its rows are zero, and all to be filled.
        first = search.cycles < 0
        begin = jnp.where(first, num_locked, refilled)
        residual = jax.lax.cond(
            fresh,
            lambda: orthogonal_direction(basis, jax.random.fold_in(cycle_key, 0)),
            lambda: search.krylov.residual,
        )
        krylov = extend(
            operator,
            Krylov(basis, projected, residual, search.krylov.coupling),
            begin,
            num_rows,
            key=jax.random.fold_in(cycle_key, 1),
        )
        run = Projection(krylov.projected[free, free], krylov.coupling)
        return judge(
            search._replace(
                krylov=krylov,
                cycles=search.cycles + 1,
                unrestarted=jax.tree.map(partial(jnp.where, first), run, search.unrestarted),
            )
        )

    start_key, key = jax.random.split(key)
    empty = empty_krylov(start, num_rows, key=start_key)
    square = jnp.zeros((basis_size, basis_size), start.dtype)
    search = Search(
        krylov=empty._replace(residual=normalized(without(locked, empty.residual))),
        values=jnp.zeros((basis_size,), start.dtype),
        vectors=square,
        cycles=jnp.full((), -1, jnp.int32),
        first_cycles=jnp.full((), -1, jnp.int32),
        check_began=jnp.zeros((), jnp.int32),
        known=jnp.zeros((sum(ends),), start.dtype),
        unrestarted=Projection(square, empty.coupling),
        done=jnp.zeros((), bool),
    )
    return jax.lax.while_loop(
        lambda search: ~search.done & (search.cycles < max_restarts), restart, search
    )
