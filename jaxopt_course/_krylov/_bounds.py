r"""How far from the end of the spectrum a Lanczos run can have stopped.

A Ritz value is never below the smallest eigenvalue; how far above it may be, no residual tells: the
start vector may have missed the eigenvector. For a start vector b drawn uniformly from the unit
sphere of R^n that has a small probability, and two bounds make a number of it.

Before the run (Kuczynski and Wozniakowski 1992, Theorem 4.2): after k steps, with xi the smallest
Ritz value,

    P[(xi - lambda_min) / (lambda_max - lambda_min) > e] <= 1.648 sqrt(n) exp(-sqrt(e) (2k - 1)).

After it (van Dorsselaer, Hochstenbach and van der Vorst 2000): step i leaves v_{i+1} = p_i(A) b, a
unit vector, where p_i is the i-th Lanczos polynomial. With b_1 the component of b along the wanted
eigenvector, 1 >= |p_i(lambda_min) b_1|, and |b_1| > t with probability 1 - delta for

    t = delta sqrt(pi / (2 n)),    since the density of b_1 is at most sqrt(n / (2 pi)).

Left of the Ritz values |p_i| falls monotonically, so lambda_min is no further left than where the
largest of the |p_i| is 1 / t. This bound knows the run's own spectrum: it was the tighter of the
two on every spectrum tried, by orders of magnitude where the end of the spectrum is isolated.

https://doi.org/10.1137/0613066; https://doi.org/10.1137/S0895479800370859.
"""

import math

import jax
import jax.numpy as jnp

from jaxopt_course import _loops
from jaxopt_course._platforms import spacing

# Points of the grid on which the crossing |p| = 1 / t is sought, and how often it is refined:
# the distance from the Ritz value comes out to better than a hundredth of itself, rounded up.
_GRID, _REFINEMENTS = 64, 3


def kuczynski_wozniakowski_error(
    num_steps: int, dimension: int, failure_probability: float
) -> float:
    """Bound the relative error of the smallest Ritz value before a run.

    Args:
        num_steps: k, steps of the run.
        dimension: n of the operator.
        failure_probability: Probability over the start vector that the bound is wrong.

    Returns:
        e with `xi - lambda_min <= e (lambda_max - lambda_min)`; more than 1 says nothing.

    Example:
        >>> round(kuczynski_wozniakowski_error(100, 10_000, 1e-3), 4)
        0.0036
    """
    return (math.log(1.648 * math.sqrt(dimension) / failure_probability) / (2 * num_steps - 1)) ** 2


def smallest_eigenvalue_bound(
    projected: jax.Array,
    coupling: jax.Array,
    *,
    dimension: int,
    failure_probability: jax.typing.ArrayLike,
) -> jax.Array:
    """Bound the smallest eigenvalue from below after an unrestarted run from a uniform start.

    Args:
        projected: T of the run, shape (m, m); only its three diagonals are looked at. What follows
            an exhausted Krylov space is another run and counts for its Ritz values alone.
        coupling: Scalar; the next entry beside the diagonal.
        dimension: n of the operator.
        failure_probability: Probability over the start vector that the bound is wrong.

    Returns:
        Scalar; rounding errors of T are not accounted for (see `rounding_level`).

    Example:
        >>> from jaxopt_course._krylov import lanczos
        >>> krylov = lanczos(lambda v: jnp.linspace(-1, 1, 200) * v, jnp.zeros(200),
        ...                  num_steps=60, key=jax.random.key(0))
        >>> bound = smallest_eigenvalue_bound(krylov.projected, krylov.coupling,
        ...                                   dimension=200, failure_probability=1e-3)
        >>> print(-1.01 < bound <= -1)
        True
    """
    dtype = projected.dtype
    eps = float(spacing(dtype))
    scale = jnp.max(jnp.abs(projected))
    unit = jnp.where(scale > 0, scale, 1)
    diagonal = jnp.diagonal(projected) / unit
    beside = jnp.append(jnp.diagonal(projected, 1), coupling) / unit
    smallest = jnp.linalg.eigvalsh(projected)[0] / unit
    # An exhausted space couples with nothing; what rounding makes of nothing bounds it from above.
    floor = 8 * eps
    alive = jnp.cumprod(jnp.append(True, beside[:-1] > floor).astype(jnp.int32)) > 0
    beside = jnp.maximum(beside, floor)
    threshold = 0.5 * math.log(2 * dimension / math.pi) - jnp.log(failure_probability)

    def log_polynomial(distance: jax.Array) -> jax.Array:
        """Compute the largest log |p_i| at `smallest - distance`, by the pivots of T - lambda."""

        def step(carry, row):
            pivot, total, largest = carry
            a, b_before, b, counts = row
            pivot = a - smallest + distance - b_before**2 / pivot
            # Not positive only by rounding, close to the Ritz value: then the rest says nothing.
            pivot = jnp.maximum(pivot, eps**2)
            total = total + jnp.where(counts, jnp.log(pivot / b), -jnp.inf)
            return (pivot, total, jnp.maximum(largest, total)), None

        zero = jnp.zeros((), dtype)
        rows = (diagonal, jnp.append(0, beside[:-1]), beside, alive)
        (_, _, largest), _ = _loops.scan(step, (zero + 1, zero, zero - jnp.inf), rows)
        return largest

    def refine(_, bracket):
        low, high = bracket
        grid = low + (high - low) * jnp.linspace(0, 1, _GRID, dtype=dtype)
        crossed = jax.vmap(log_polynomial)(jnp.exp(grid)) > threshold
        first = jnp.argmax(crossed)
        return grid[jnp.maximum(first - 1, 0)], jnp.where(jnp.any(crossed), grid[first], jnp.inf)

    widest = -2 * math.log(eps)
    bracket = (jnp.asarray(-widest, dtype), jnp.asarray(widest, dtype))
    _, high = _loops.fori_loop(0, _REFINEMENTS, refine, bracket)
    # The zero operator needs no distance at all.
    distance = jnp.where(scale > 0, jnp.exp(high), 0)
    return (smallest - distance) * unit


def rounding_level(projected: jax.Array) -> jax.Array:
    """Measure the rounding errors of the products of an unrestarted run.

    In exact arithmetic T is tridiagonal: what stands outside its three diagonals is rounding, of
    the operator more than of the run, and its norm bounds what it does to an eigenvalue of T.

    Args:
        projected: T, shape (m, m).

    Returns:
        Scalar; the Frobenius norm of the part outside, one rounding of |T| at least.

    Example:
        >>> print(rounding_level(jnp.array([[1.0, 2, 0], [2, 1, 3], [0, 3, 1]])) < 1e-6)
        True
    """
    outside = projected - jnp.triu(jnp.tril(projected, 1), -1)
    size = jnp.linalg.norm(projected)
    return jnp.maximum(jnp.linalg.norm(outside), spacing(projected.dtype) * size)
