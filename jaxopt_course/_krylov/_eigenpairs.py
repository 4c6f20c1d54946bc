r"""Extreme eigenpairs of a symmetric operator by thick-restarted Lanczos.

A basis of m vectors is grown, its Ritz pairs (theta, y) are computed, the wanted ones and a few
of their neighbours are kept as the first rows of the next basis, and it is grown again: memory
stays at m n numbers, however many products convergence takes. A Ritz pair's residual is

    |A y - theta y| = coupling * |last entry of its coefficient vector|      (in exact arithmetic).

This estimate steers the restarts only. What is returned is measured: one fresh product for each
pair gives its Rayleigh quotient and its true residual norm, and |A y - theta y| <= r proves that A
has an eigenvalue within r of theta.

A Krylov space holds one vector of each eigenspace, so a multiple eigenvalue is at first seen once.
After convergence the search is therefore repeated from a fresh random direction orthogonal to all
that was kept; copies that it turns up replace less extreme pairs, until nothing changes.

Directions that are known beforehand (symmetries of the objective) can be locked: they stay in front
of every basis, so that all else is orthogonal to them, and the search is one on their complement.

Wu and Simon (2000), https://doi.org/10.1137/S0895479898334605.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _loops
from jaxopt_course._krylov._hessian import Operator, dense
from jaxopt_course._krylov._lanczos import (
    Krylov,
    empty_krylov,
    extend,
    norm,
    normalized,
    orthogonal_direction,
)
from jaxopt_course._platforms import spacing

# A residual of this part of a Ritz value settles the sign of an eigenvalue.
_SIGN = 0.1
# An estimate of this part of the tolerance ends a search within a basis: what is measured
# afterwards is no larger than the tolerance for all its rounding.
_SURELY = 0.8
# Up to this dimension the whole matrix costs less than a Krylov search for its ends.
_DENSE = 32


class Projection(NamedTuple):
    """What a Lanczos run from one start vector leaves to judge it by.

    Attributes:
        projected: T, shape (m, m).
        coupling: Scalar; the entry of T that the next step would have added beside the diagonal.
    """

    projected: jax.Array
    coupling: jax.Array


class _Search(NamedTuple):
    """Where the restarts stand: basis, its Ritz pairs, and the check for copies."""

    krylov: Krylov
    values: jax.Array  # (m,) Ritz values, ascending
    vectors: jax.Array  # (m, m) their coefficients, in columns
    filled: jax.Array  # rows of the basis that are filled, those locked not counted
    products: jax.Array  # operator products so far
    cycles: jax.Array  # restarts so far; -1 before the first basis
    first_cycles: jax.Array  # restarts that the first convergence took; -1 before it
    check_began: jax.Array  # restart count when the current check for copies began
    known: jax.Array  # (k,) wanted values when it began
    unrestarted: Projection
    done: jax.Array


class Eigenpairs(NamedTuple):
    """Extreme eigenpairs, with the evidence for them.

    Attributes:
        eigenvalues: Shape (k,): the smallest ones in ascending order, then the largest ones in
            ascending order. Each is the Rayleigh quotient of its vector.
        eigenvectors: Shape (k, n); row j is the unit vector of `eigenvalues[j]`.
        residual_norms: Shape (k,); |A y - theta y|, recomputed by a fresh product.
        converged: Shape (k,), bool; whether the residual norm is within tolerance * operator_norm.
        operator_norm: Scalar; the largest |Ritz value| seen, a lower bound on |A|.
        num_products: Scalar int; operator products used in all.
        evidence: How the search began. Where the whole matrix was diagonalized, all its
            eigenvalues, ascending, shape (n,), the largest repeated in place of locked ones;
            elsewhere the Lanczos run before the first restart.
    """

    eigenvalues: jax.Array
    eigenvectors: jax.Array
    residual_norms: jax.Array
    converged: jax.Array
    operator_norm: jax.Array
    num_products: jax.Array
    evidence: jax.Array | Projection


def extreme_eigenpairs(
    operator: Operator,
    start: jax.Array,
    *,
    num_smallest: int = 0,
    num_largest: int = 0,
    key: jax.Array,
    tolerance: float | None = None,
    basis_size: int | None = None,
    max_restarts: int = 100,
    check_copies: bool = True,
    inner_by_sign: bool = False,
    locked: jax.Array | None = None,
    look_every: int | None = None,
    report: Callable[[Any, Any], Any] | None = None,
) -> Eigenpairs:
    """Find the smallest and largest eigenvalues of `operator` with their vectors.

    Args:
        operator: Symmetric linear map on vectors of shape (n,).
        start: Shape (n,), floating: the first direction; zero means a random one.
        num_smallest: Pairs wanted at the lower end of the spectrum.
        num_largest: Pairs wanted at the upper end.
        key: Typed PRNG key.
        tolerance: Residual norm to reach, relative to the largest |eigenvalue| seen;
            eps^0.6 of the dtype by default (4e-10 in float64, 7e-5 in float32, where residuals
            below about 1e-5 are out of reach).
        basis_size: Rows m of the basis, the memory used; by default 20 more than twice the pairs.
        max_restarts: Bound on the number of restarts; without any, one Lanczos run is made.
        check_copies: Whether to search again for missing copies of multiple eigenvalues, for
            about twice the products.
        inner_by_sign: Whether the search ends already when the outermost pair of each end is within
            tolerance and the residual of every other one is a tenth of its value: its sign is
            settled, and where the spectrum is dense its digits would cost most of the products.
        locked: Shape (l, n), orthonormal rows, or zero ones, which lock nothing: the search is
            made in their orthogonal complement, for P A P with P the projector onto it. None for
            the whole space.
        look_every: Rows after which a search without `check_copies` looks whether it may end; when
            the basis is full by default. The run that `evidence` comes from is cut short, too.
        report: Called, in traced code, after every restart with the products so far and the
            largest residual estimate of a wanted pair, relative to the largest |Ritz value|.

    Returns:
        The pairs. Under `vmap`, every run takes as many products as the slowest.

    Raises:
        ValueError: if no pair is wanted, or more than n, or the basis is too small for them, or
            copies are to be checked for within a basis.
    """
    # Defaults and bounds follow from the dimension of the space that is searched.
    dtype = start.dtype
    if locked is None:
        locked = jnp.zeros((0, start.shape[0]), dtype)
    dimension = start.shape[0] - locked.shape[0]
    wanted = num_smallest + num_largest
    if not 0 < wanted <= dimension:
        raise ValueError(
            f"num_smallest + num_largest must lie in [1, {dimension}], the dimension; got {wanted}"
        )
    if basis_size is None:
        basis_size = 2 * wanted + 20
    if basis_size < min(wanted + 2, dimension):
        raise ValueError(f"basis_size must be at least {wanted + 2}, got {basis_size}")
    if look_every is not None and check_copies:
        raise ValueError(f"look_every must be None with check_copies, got {look_every}")
    if tolerance is None:
        tolerance = float(spacing(dtype)) ** 0.6
    ends = (num_smallest, num_largest)

    with jax.default_matmul_precision("highest"):

        def compressed(vector: jax.Array) -> jax.Array:
            return _without(locked, operator(vector))

        # A space that the basis would span anyway: all eigenpairs of the matrix itself.
        if dimension <= max(_DENSE, basis_size):
            spectrum, found = _dense_eigenpairs(operator, locked, ends)
            norm_seen = jnp.max(jnp.abs(spectrum))
            products = jnp.asarray(locked.shape[1])
            return _measured(compressed, found, tolerance, norm_seen, products, spectrum)
        # A larger one: thick restarts, then residuals from products of their own.
        search = _restarted_lanczos(
            operator,
            start,
            ends=ends,
            key=key,
            tolerance=tolerance,
            basis_size=basis_size,
            max_restarts=max_restarts,
            check_copies=check_copies,
            inner_by_sign=inner_by_sign,
            locked=locked,
            look_every=look_every,
            report=report,
        )
        norm_seen = jnp.max(jnp.abs(search.values))
        found = _take_ends(search.vectors, ends).T @ search.krylov.basis[locked.shape[0] :]
        return _measured(
            compressed, found, tolerance, norm_seen, search.products, search.unrestarted
        )


def _take_ends(columns: jax.Array, ends: tuple[int, int]) -> jax.Array:
    """Take the first `ends[0]` and the last `ends[1]` entries along the last axis."""
    size = columns.shape[-1]
    return jnp.concatenate([columns[..., : ends[0]], columns[..., size - ends[1] :]], axis=-1)


def _kept_per_end(ends: tuple[int, int], basis_size: int) -> tuple[int, int]:
    """Ritz pairs to keep at each end: the wanted ones and a third of the room that is left.

    Neighbours kept along with a wanted pair speed up its convergence, as a larger basis would.
    """
    sides = sum(1 for count in ends if count)
    spare = (basis_size - sum(ends)) // (3 * sides)
    smallest, largest = (count + spare if count else 0 for count in ends)
    return smallest, largest


class _Ritz(NamedTuple):
    """Ritz pairs: values ascending, coefficients in columns, and residuals of the wanted."""

    values: jax.Array
    vectors: jax.Array
    estimates: jax.Array


def _ritz_pairs(run: Projection, filled: int | jax.Array, ends: tuple[int, int]) -> _Ritz:
    """Diagonalize the projection on the rows of a basis that are filled."""
    square, size = run.projected, run.projected.shape[0]
    if isinstance(filled, int):
        values, vectors = jnp.linalg.eigh(square)
        return _Ritz(values, vectors, run.coupling * jnp.abs(_take_ends(vectors[-1], ends)))
    # Rows that are not filled have Ritz values of their own, between the others; where all are
    # equal, and where there are too few, only the coefficients tell.
    rows = jnp.arange(size) < filled
    between = jnp.trace(square) / filled
    values, vectors = jnp.linalg.eigh(square + jnp.diag(jnp.where(rows, 0, between)))
    weights = jnp.sum(jnp.where(rows[:, None], vectors, 0) ** 2, axis=0)
    estimates = run.coupling * jnp.abs(vectors[filled - 1])
    estimates = jnp.where(weights > 0.5, estimates, jnp.inf)
    return _Ritz(values, vectors, _take_ends(estimates, ends))


def _grown(
    operator: Operator,
    krylov: Krylov,
    begin: jax.Array,
    *,
    num_locked: int,
    look_every: int | None,
    settled: Callable[[Projection, jax.Array], jax.Array],
    key: jax.Array,
) -> tuple[Krylov, int | jax.Array]:
    """Fill rows from `begin` on until `settled`; return how many are, those locked not counted."""
    num_rows, free = krylov.basis.shape[0], slice(num_locked, None)
    if look_every is None:
        return extend(operator, krylov, begin, num_rows, key=key), num_rows - num_locked

    def look(carry):
        krylov, begin, _ = carry
        end = jnp.minimum(begin + look_every, num_rows)
        krylov = extend(operator, krylov, begin, end, key=key)
        run = Projection(krylov.projected[free, free], krylov.coupling)
        return krylov, end, settled(run, end - num_locked)

    krylov, end, _ = _loops.while_loop(
        lambda carry: (carry[1] < num_rows) & ~carry[2], look, (krylov, begin, jnp.zeros((), bool))
    )
    return krylov, end - num_locked


def _without(locked: jax.Array, vector: jax.Array) -> jax.Array:
    """Project `vector` onto the orthogonal complement of the rows of `locked`."""
    return vector - (locked @ vector) @ locked


def _restarted_lanczos(
    operator: Operator,
    start: jax.Array,
    *,
    ends: tuple[int, int],
    key: jax.Array,
    tolerance: float,
    basis_size: int,
    max_restarts: int,
    check_copies: bool,
    inner_by_sign: bool,
    locked: jax.Array,
    look_every: int | None,
    report: Callable[[Any, Any], Any] | None,
) -> _Search:
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
        inner_by_sign: As in `extreme_eigenpairs`.
        locked: Shape (l, n), rows orthonormal or zero, in front of every basis.
        look_every: As in `extreme_eigenpairs`.
        report: As in `extreme_eigenpairs`.

    Returns:
        The last state; the Ritz pairs are those of its basis behind the locked rows.
    """
    kept = _kept_per_end(ends, basis_size)
    num_locked, num_rows = locked.shape[0], locked.shape[0] + basis_size
    free = slice(num_locked, None)
    refilled = num_locked + sum(kept)
    outermost = np.zeros(sum(ends), bool)
    outermost[0], outermost[-1] = ends[0] > 0 or sum(ends) == 1, ends[1] > 0 or sum(ends) == 1

    def allowed(values: jax.Array) -> jax.Array:
        """Residuals at which a search has converged."""
        most = tolerance * jnp.max(jnp.abs(values))
        if inner_by_sign:
            signs = _SIGN * jnp.abs(_take_ends(values, ends))
            return jnp.where(outermost, most, jnp.maximum(most, signs))
        return most

    def settled(run: Projection, filled: jax.Array) -> jax.Array:
        """Whether there is nothing to be gained from further rows."""
        ritz = _ritz_pairs(run, filled, ends)
        return jnp.all(ritz.estimates <= _SURELY * allowed(ritz.values))

    def judge(search: _Search) -> _Search:
        """Diagonalize the projection and decide how the search goes on."""
        # Ritz values, and their residuals by estimate.
        run = Projection(search.krylov.projected[free, free], search.krylov.coupling)
        filled = basis_size if look_every is None else search.filled
        values, vectors, estimates = _ritz_pairs(run, filled, ends)
        scale = jnp.max(jnp.abs(values))
        wanted, most = _take_ends(values, ends), allowed(values)
        converged = jnp.all(estimates <= most)
        if report is not None:
            worst = jnp.max(estimates) / jnp.where(scale > 0, scale, 1)
            report(search.products, worst)
        # Once they have converged, a second search looks for copies that the first could not see.
        unchanged = jnp.all(jnp.abs(wanted - search.known) <= most)
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

    def restart(search: _Search) -> _Search:
        # The check for copies begins with a random direction instead of the residual.
        fresh = (search.first_cycles >= 0) & (search.check_began == search.cycles)
        cycle_key = jax.random.fold_in(key, search.cycles)
        # The Ritz vectors of both ends are the first rows of the new basis.
        rows = _take_ends(search.vectors, kept).T @ search.krylov.basis[free]
        basis = jnp.zeros_like(search.krylov.basis).at[:num_locked].set(locked)
        basis = basis.at[num_locked:refilled].set(rows)
        projected = jnp.zeros_like(search.krylov.projected)
        projected = projected.at[num_locked:refilled, num_locked:refilled].set(
            jnp.diag(_take_ends(search.values, kept))
        )
        # The first cycle has no Ritz vectors to keep: its rows are zero, and all to be filled.
        first = search.cycles < 0
        begin = jnp.where(first, num_locked, refilled).astype(jnp.int32)
        residual = jax.lax.cond(
            fresh,
            lambda: orthogonal_direction(basis, jax.random.fold_in(cycle_key, 0)),
            lambda: search.krylov.residual,
        )
        # The rest of the rows is filled by further steps of Lanczos's method.
        # Its first vector is coupled with all that was kept, not with the last row alone.
        uncoupled = jnp.zeros_like(search.krylov.coupling)
        krylov, filled = _grown(
            operator,
            Krylov(basis, projected, residual, uncoupled),
            begin,
            num_locked=num_locked,
            look_every=look_every,
            settled=settled,
            key=jax.random.fold_in(cycle_key, 1),
        )
        run = Projection(krylov.projected[free, free], krylov.coupling)
        return judge(
            search._replace(
                krylov=krylov,
                filled=jnp.asarray(filled, jnp.int32),
                products=search.products + filled + num_locked - begin,
                cycles=search.cycles + 1,
                unrestarted=jax.tree.map(partial(jnp.where, first), run, search.unrestarted),
            )
        )

    # Before the first cycle the basis is empty.
    start_key, key = jax.random.split(key)
    empty = empty_krylov(start, num_rows, key=start_key)
    # Each array is one of its own, as the loop overwrites them.
    square, other = (jnp.zeros((basis_size, basis_size), start.dtype) for _ in range(2))
    search = _Search(
        krylov=empty._replace(residual=normalized(_without(locked, empty.residual))),
        values=jnp.zeros((basis_size,), start.dtype),
        vectors=square,
        filled=jnp.zeros((), jnp.int32),
        products=jnp.zeros((), jnp.int32),
        cycles=jnp.full((), -1, jnp.int32),
        first_cycles=jnp.full((), -1, jnp.int32),
        check_began=jnp.zeros((), jnp.int32),
        known=jnp.zeros((sum(ends),), start.dtype),
        unrestarted=Projection(other, jnp.zeros_like(empty.coupling)),
        done=jnp.zeros((), bool),
    )
    return _loops.while_loop(
        lambda search: ~search.done & (search.cycles < max_restarts),
        restart,
        search,
        consume=True,
    )


def _dense_eigenpairs(
    operator: Operator, locked: jax.Array, ends: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """Diagonalize the whole matrix; return the spectrum and the vectors of its ends, in rows."""
    num_locked, dimension = locked.shape
    matrix = dense(operator, dimension, locked.dtype)
    if not num_locked:
        values, vectors = jnp.linalg.eigh(matrix)
        return values, _take_ends(vectors, ends).T
    # Move the locked directions above all others, by how many there are: zero rows lock nothing.
    free = jnp.eye(dimension, dtype=matrix.dtype) - locked.T @ locked
    matrix = free @ matrix @ free
    size = jnp.linalg.norm(matrix)
    above = jnp.where(size > 0, 2 * size, 1)
    values, vectors = jnp.linalg.eigh(matrix + above * locked.T @ locked)
    num_free = dimension - jnp.sum(jnp.any(locked != 0, axis=1))
    largest = jax.lax.dynamic_slice_in_dim(vectors, num_free - ends[1], ends[1], axis=1)
    found = jnp.concatenate([vectors[:, : ends[0]], largest], axis=1).T
    return jnp.where(jnp.arange(dimension) < num_free, values, values[num_free - 1]), found


def _measured(
    operator: Operator,
    vectors: jax.Array,
    tolerance: float,
    operator_norm: jax.Array,
    products: jax.Array,
    evidence: jax.Array | Projection,
) -> Eigenpairs:
    """Recompute Rayleigh quotients and residuals of unit vectors by fresh products."""
    vectors = jax.vmap(normalized)(vectors)
    # A loop, not vmap: a batch of products of a network's Hessian may not fit in memory.
    images = _loops.map(operator, vectors)
    values = jnp.sum(vectors * images, axis=1)
    residual_norms = jax.vmap(norm)(images - values[:, None] * vectors)
    return Eigenpairs(
        eigenvalues=values,
        eigenvectors=vectors,
        residual_norms=residual_norms,
        converged=residual_norms <= tolerance * operator_norm,
        operator_norm=operator_norm,
        num_products=products + vectors.shape[0],
        evidence=evidence,
    )
