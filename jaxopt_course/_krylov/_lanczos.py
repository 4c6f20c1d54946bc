r"""Lanczos's method with full re-orthogonalization.

Grows an orthonormal basis V (rows v_1 ... v_m) of the Krylov space span{q, A q, A^2 q, ...} of a
symmetric A, together with the projection T of A on it:

    A V^T = V^T T + coupling * residual e_m^T,        T = V A V^T.

From each image the components along its own row and the one before are taken first, as in Lanczos's
recurrence, then those along all rows: within a Krylov space these are rounding, and one such pass
makes the new vector orthogonal to the basis to working precision. Where the pass takes away most of
the vector, it is done once more (Daniel, Gragg, Kaufman and Stewart). So a step reads the basis
twice, for 4 m n operations, which buy a T without ghost eigenvalues. T is taken from those same
inner products, hence the loop also continues a basis that is no Krylov space: restarted ones
(`eigenpairs`), whose first row takes the second pass, and those of several start vectors.

When the space is exhausted (A v lies in the basis: A is zero, a multiple of the identity, of low
rank, or q lies in an invariant subspace) the loop goes on from a random direction orthogonal to
the basis, uncoupled from it. So the basis has full rank whenever m <= n, and a complete basis
(m = n) holds every eigenvalue with its multiplicity. Under `vmap` the random direction is computed
at every step, needed or not.

`tridiagonal` is the recurrence alone, without a basis: ghosts of converged eigenvalues appear, but
they share the weight of the original, and sums over the spectrum stay right (Greenbaum 1989,
https://doi.org/10.1016/0024-3795(89)90285-1).

Lanczos (1950), https://doi.org/10.6028/jres.045.026; Daniel, Gragg, Kaufman and Stewart (1976),
https://doi.org/10.1090/S0025-5718-1976-0431641-8; "twice is enough": Giraud, Langou, Rozloznik,
van den Eshof (2005), https://doi.org/10.1007/s00211-005-0615-4.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course import _loops
from jaxopt_course._krylov._hessian import Operator
from jaxopt_course._platforms import spacing


class Krylov(NamedTuple):
    """An orthonormal basis and an operator's projection on it.

    Attributes:
        basis: V, shape (m, n); rows not reached yet are zero.
        projected: T = V A V^T, shape (m, m).
        residual: Unit vector of shape (n,) orthogonal to the basis, with which it continues; zero
            when the basis is complete.
        coupling: Scalar; how strongly A couples the last row to `residual`, 0 at a breakdown.
    """

    basis: jax.Array
    projected: jax.Array
    residual: jax.Array
    coupling: jax.Array


def norm(vector: jax.Array) -> jax.Array:
    """Compute the 2-norm of a vector without overflow or underflow of the squares."""
    largest = jnp.max(jnp.abs(vector), initial=0)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return scale * jnp.sqrt(jnp.sum((vector / scale) ** 2))


def normalized(vector: jax.Array) -> jax.Array:
    """Scale a vector to length 1; the zero vector stays zero."""
    length = norm(vector)
    return vector / jnp.where(length > 0, length, 1)


def orthogonal_direction(basis: jax.Array, key: jax.Array) -> jax.Array:
    """Draw a random unit vector orthogonal to the rows of `basis`.

    Args:
        basis: Shape (m, n); rows orthonormal or zero.
        key: Typed PRNG key.

    Returns:
        Shape (n,), uniform on the sphere of the orthogonal complement; zero when the rows already
        span everything.
    """
    eps = spacing(basis.dtype)

    def project(_: int, direction: jax.Array) -> jax.Array:
        rest = direction - (basis @ direction) @ basis
        length = jnp.linalg.norm(rest)
        # What is left of a vector inside the span is rounding, and must not be blown up.
        left = length > 8 * eps
        return jnp.where(left, rest / jnp.where(left, length, 1), 0)

    direction = normalized(jax.random.normal(key, basis.shape[1:], basis.dtype))
    return _loops.fori_loop(0, 3, project, direction)


def lanczos(
    operator: Operator, start: jax.Array, *, num_steps: int, key: jax.Array, turn: int | None = None
) -> Krylov:
    """Build a Krylov basis of `operator` from the direction `start`.

    Args:
        operator: Symmetric linear map on vectors of shape (n,).
        start: Shape (n,), floating; its length does not matter, and zero means a random direction.
        num_steps: Wanted rows m of the basis and number of products; no more than n are made.
        key: Typed PRNG key for the directions taken when a Krylov space is exhausted.
        turn: Row that is to be a random direction as if the space were exhausted there; the rows
            from it on then span a second Krylov space. None for a single one.

    Returns:
        The basis of min(m, n) rows with the projected operator.

    Example:
        >>> krylov = lanczos(lambda v: 2 * v, jnp.ones(3), num_steps=3, key=jax.random.key(0))
        >>> print(jnp.linalg.eigvalsh(krylov.projected).round(5))
        [2. 2. 2.]
    """
    num_steps = min(num_steps, start.shape[0])
    start_key, key = jax.random.split(key)
    empty = empty_krylov(start, num_steps, key=start_key)
    return extend(operator, empty, 0, num_steps, key=key, turn=turn)


def empty_krylov(start: jax.Array, num_rows: int, *, key: jax.Array) -> Krylov:
    """Make a basis without rows, to begin with `start`, or with a random direction if it is 0."""
    drawn = jax.random.normal(key, start.shape, start.dtype)
    return Krylov(
        basis=jnp.zeros((num_rows, *start.shape), start.dtype),
        projected=jnp.zeros((num_rows, num_rows), start.dtype),
        residual=normalized(jnp.where(norm(start) > 0, start, drawn)),
        coupling=jnp.zeros((), start.dtype),
    )


class _Orthogonalized(NamedTuple):
    """What is left of a vector beside its components along the rows of a basis."""

    coefficients: jax.Array
    rest: jax.Array
    length: jax.Array  # Of `rest`.


def _orthogonalized(basis: jax.Array, vector: jax.Array) -> _Orthogonalized:
    """Take its components along the rows out of a vector, once."""
    coefficients = basis @ vector
    rest = vector - coefficients @ basis
    return _Orthogonalized(coefficients, rest, norm(rest))


def _again(basis: jax.Array, once: _Orthogonalized) -> _Orthogonalized:
    """Take out what rounding has left of the components, or put in."""
    twice = _orthogonalized(basis, once.rest)
    return twice._replace(coefficients=once.coefficients + twice.coefficients)


def extend(
    operator: Operator,
    krylov: Krylov,
    begin: int | jax.Array,
    end: int | jax.Array,
    *,
    key: jax.Array,
    turn: int | None = None,
) -> Krylov:
    """Fill rows `begin` to `end` of a basis, starting with its `residual`.

    Args:
        operator: Symmetric linear map on vectors of shape (n,).
        krylov: A basis with rows below `begin` filled, and `projected` filled accordingly. Its
            `coupling` is that of `residual` with the last of them; 0 where that is not known.
        begin: First row to fill.
        end: Row to stop before.
        key: Typed PRNG key for the directions taken when a Krylov space is exhausted.
        turn: As in `lanczos`.

    Returns:
        The longer basis.
    """
    eps = spacing(krylov.basis.dtype)

    def add_row(i: jax.Array, krylov: Krylov) -> Krylov:
        # The row and what is known of its image: all, in exact arithmetic, but for the first row.
        vector = krylov.residual
        basis = krylov.basis.at[i].set(vector)
        before = basis[jnp.maximum(i - 1, 0)]  # Of the old basis, it would have the basis copied.
        image = operator(vector)
        along = vector @ image
        beside = krylov.coupling
        known = jnp.zeros_like(krylov.projected[0]).at[i - 1].set(beside).at[i].set(along)
        # Then against all rows, and again if that took away most of it.
        once = _orthogonalized(basis, image - beside * before - along * vector)
        column, rest, coupling = jax.lax.cond(
            norm(once.coefficients) > once.length,
            lambda: _again(basis, once),
            lambda: once,
        )
        column = column + known
        projected = krylov.projected.at[i].set(column).at[:, i].set(column)

        # Not <, or the zero operator goes on with a division of zero by zero. A threshold that
        # misses a breakdown does no harm: the rounding error of `rest` is as good a random vector.
        exhausted = coupling <= 8 * eps * jnp.hypot(norm(column), coupling)
        if turn is not None:
            exhausted = exhausted | (i + 1 == turn)
        residual = jax.lax.cond(
            exhausted,
            lambda: orthogonal_direction(basis, jax.random.fold_in(key, i)),
            lambda: rest / jnp.where(exhausted, 1, coupling),
        )
        return Krylov(basis, projected, residual, jnp.where(exhausted, 0, coupling))

    with jax.default_matmul_precision("highest"):
        return _loops.fori_loop(begin, end, add_row, krylov)


def tridiagonal(
    operator: Operator, start: jax.Array, *, num_steps: int
) -> tuple[jax.Array, jax.Array]:
    """Run the three-term recurrence, which remembers two vectors and orthogonalizes no further.

    Args:
        operator: Symmetric linear map on vectors of shape (n,).
        start: Shape (n,), floating; must not be zero.
        num_steps: m, the number of products.

    Returns:
        The diagonal of T, shape (m,), and what stands beside it, shape (m - 1,). Behind an
        exhausted Krylov space T goes on uncoupled, with entries that stand for nothing but lie
        inside the spectrum.

    Example:
        >>> diagonal, beside = tridiagonal(lambda v: 2 * v, jnp.ones(3), num_steps=2)
        >>> print(diagonal.round(5), beside)
        [2. 2.] [0.]
    """
    eps = spacing(start.dtype)

    def step(carry, _):
        before, vector, coupling, first = carry
        image = operator(vector)
        alive = jnp.any(vector != 0)
        rest = image - coupling * before
        along = rest @ vector
        rest = rest - along * vector
        along = jnp.where(alive, along, first)
        # The basis is orthogonal at least locally if this is done twice.
        rest = rest - (rest @ vector) * vector
        length = norm(rest)
        # The image's length, without another reading of it.
        exhausted = length <= 8 * eps * jnp.hypot(jnp.hypot(coupling, along), length)
        length = jnp.where(exhausted, 0, length)
        following = jnp.where(exhausted, 0, rest / jnp.where(exhausted, 1, length))
        return (vector, following, length, jnp.where(jnp.isnan(first), along, first)), (
            along,
            length,
        )

    with jax.default_matmul_precision("highest"):
        zero = jnp.zeros((), start.dtype)
        carry = (jnp.zeros_like(start), normalized(start), zero, zero + jnp.nan)
        _, (diagonal, beside) = _loops.scan(step, carry, length=num_steps)
    return diagonal, beside[:-1]
