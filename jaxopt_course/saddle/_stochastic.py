r"""Trace and diagonal of a Hessian from products with random vectors, with standard errors.

With z a vector of independent random signs,

    E[z^T A z] = tr A,    E[z * (A z)] = diag A    (Hutchinson; Bekas, Kokiopoulou and Saad),

and the variances are twice, and once, the sum of squares off the diagonal. Where few eigenvalues
dominate, as in networks, it pays to treat their space exactly: with Q an orthonormal basis of the
range of A on random vectors,

    tr A = tr Q^T A Q + tr (I - Q Q^T) A (I - Q Q^T)          (Hutch++),
    diag A = diag Q Q^T A + diag (I - Q Q^T) A                (Diag++),

the first terms computed, the second estimated. For semidefinite A the error of the trace falls as
1 / products instead of 1 / sqrt(products).

Hutchinson (1989), https://doi.org/10.1080/03610918908812806; Meyer, Musco, Musco and Woodruff
(2021), https://arxiv.org/abs/2010.09649; Bekas, Kokiopoulou and Saad (2007),
https://doi.org/10.1016/j.apnum.2007.01.003; Baston and Nakatsukasa (2022),
https://arxiv.org/abs/2201.10684.
"""

from collections.abc import Callable
from typing import Any, Literal

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxopt_course._checks import check_integer, check_key, check_one_of
from jaxopt_course.saddle._operators import curvature_operator

Operator = Callable[[jax.Array], jax.Array]


@flax.struct.dataclass
class Estimate:
    """A random estimate; under `vmap` every field has a leading axis.

    Attributes:
        value: The estimate: a scalar for a trace, a pytree like the parameters for a diagonal, an
            array over a grid for a density.
        standard_error: Of the same shapes: estimated standard deviation of `value` over keys.
        num_products: Scalar int; products with A.
        finite: Scalar bool; False where a product was infinite or NaN, and `value` is then, too.
    """

    value: chex.ArrayTree
    standard_error: chex.ArrayTree
    num_products: jax.Array
    finite: jax.Array


def trace(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    num_probes: int,
    key: jax.Array,
    method: Literal["hutchinson", "hutch++"] = "hutchinson",
) -> Estimate:
    """Estimate the trace of the Hessian of `fun` at `x`.

    Args:
        fun: Objective from a pytree of parameters to a scalar, or one with a `curvature` of its
            own.
        x: The parameters, n numbers in all.
        num_probes: Products to spend; Hutch++ spends a third each on finding the space, on its
            trace and on the rest, and keeps as many vectors of n numbers.
        key: Typed PRNG key.
        method: Hutch++ is the better the faster the eigenvalues fall off.

    Returns:
        The estimate with its standard error. The rounding of a product comes on top.

    Raises:
        TypeError: if `fun` does not return a real scalar, or `key` is no typed key.
        ValueError: if two evaluations of `fun` differ, or `num_probes` is too small for a standard
            error.

    Example:
        >>> estimate = trace(lambda x: jnp.sum(x**4), jnp.ones(3), num_probes=4,
        ...                  key=jax.random.key(0))
        >>> print(estimate.value, estimate.standard_error)
        36.0 0.0
    """
    check_one_of(("hutchinson", "hutch++"), method=method)
    zero, operator, _ = curvature_operator(fun, x)
    basis, images, probes = _split(operator, zero, num_probes, key, deflate=method == "hutch++")

    def sample(key: jax.Array) -> jax.Array:
        z = _without(basis, jax.random.rademacher(key, zero.shape, zero.dtype))
        return z @ operator(z)

    exact = jnp.sum(basis * images)
    mean, error, finite = _mean_and_error(sample, probes)
    return Estimate(exact + mean, error, jnp.asarray(num_probes), finite & jnp.isfinite(exact))


def diagonal(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    num_probes: int,
    key: jax.Array,
    method: Literal["hutchinson", "diag++"] = "hutchinson",
) -> Estimate:
    """Estimate the diagonal of the Hessian of `fun` at `x`.

    Args:
        fun: Objective from a pytree of parameters to a scalar, or one with a `curvature` of its
            own.
        x: The parameters, n numbers in all.
        num_probes: Products to spend, as in `trace`.
        key: Typed PRNG key.
        method: As in `trace`; Diag++ is to the diagonal what Hutch++ is to the trace.

    Returns:
        The estimate, a pytree like `x`, with the standard error of every entry.

    Raises:
        TypeError: if `fun` does not return a real scalar, or `key` is no typed key.
        ValueError: if two evaluations of `fun` differ, or `num_probes` is too small for a standard
            error.

    Example:
        >>> estimate = diagonal(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]), num_probes=2,
        ...                     key=jax.random.key(0))
        >>> print(estimate.value, estimate.standard_error)
        [12. 48.] [0. 0.]
    """
    check_one_of(("hutchinson", "diag++"), method=method)
    zero, operator, unravel = curvature_operator(fun, x)
    basis, images, probes = _split(operator, zero, num_probes, key, deflate=method == "diag++")

    def sample(key: jax.Array) -> jax.Array:
        z = jax.random.rademacher(key, zero.shape, zero.dtype)
        return z * _without(basis, operator(z))

    exact = jnp.sum(basis * images, axis=0)
    mean, error, finite = _mean_and_error(sample, probes)
    finite = finite & jnp.all(jnp.isfinite(exact))
    return Estimate(unravel(exact + mean), unravel(error), jnp.asarray(num_probes), finite)


def _split(
    operator: Operator, zero: jax.Array, num_probes: int, key: jax.Array, *, deflate: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Spend the products: an orthonormal basis (rows) with its images, and keys for the probes."""
    check_integer(num_probes=num_probes)
    check_key(key=key)
    rank = min(num_probes // 3, zero.size) if deflate else 0
    if num_probes - 2 * rank < 2 or (deflate and rank == 0):
        raise ValueError(
            f"num_probes must be at least {4 if deflate else 2} for a standard error, "
            f"got {num_probes}"
        )
    sketch_key, probe_key = jax.random.split(key)
    probes = jax.random.split(probe_key, num_probes - 2 * rank)
    if rank == 0:
        nothing = jnp.zeros((0, *zero.shape), zero.dtype)
        return nothing, nothing, probes
    with jax.default_matmul_precision("highest"):
        signs = jax.random.rademacher(sketch_key, (rank, *zero.shape), zero.dtype)
        basis = jnp.linalg.qr(jax.lax.map(operator, signs).T)[0].T
        return basis, jax.lax.map(operator, basis), probes


def _without(basis: jax.Array, vector: jax.Array) -> jax.Array:
    """Project `vector` onto the orthogonal complement of the rows of `basis`."""
    with jax.default_matmul_precision("highest"):
        return vector - (basis @ vector) @ basis


def _mean_and_error(
    sample: Callable[[jax.Array], jax.Array], keys: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Average samples one after another (Welford), with the standard error of the mean."""

    def add(carry: tuple[jax.Array, jax.Array], row: Any) -> tuple[Any, None]:
        mean, squares = carry
        number, key = row
        value = sample(key)
        change = value - mean
        mean = mean + change / number
        return (mean, squares + change * (value - mean)), None

    count = keys.shape[0]
    out = jax.eval_shape(sample, keys[0])
    zero = jnp.zeros(out.shape, out.dtype)
    numbers = jnp.arange(1, count + 1, dtype=zero.dtype)
    (mean, squares), _ = jax.lax.scan(add, (zero, zero), (numbers, keys))
    error = jnp.sqrt(squares / (count * (count - 1)))
    return mean, error, jnp.all(jnp.isfinite(mean))
