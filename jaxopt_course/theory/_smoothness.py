"""The smoothness of a loss, from Hessian-vector products alone."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxopt_course._checks import (
    check_key,
    check_not_empty,
    check_objective,
    check_positive,
    check_real_floating,
)
from jaxopt_course._krylov import extreme_eigenpairs, flat_hessian


def estimate_smoothness(
    fun: Callable[[Any], jax.Array],
    x: Any,
    *,
    key: chex.PRNGKey,
    tolerance: float = 1e-3,
) -> jax.Array:
    """The largest |eigenvalue| of the Hessian of `fun` at `x`.

    Both ends of the spectrum are found by one Lanczos run; no matrix is formed. The result
    is the smoothness at `x` only: a learning rate of 1 / beta descends as long as the curvature
    along the way is no larger, so for a rate that holds for a run, take the largest over points
    of the run. It is a lower bound, short of the truth by `tolerance` of it or, usually, far less.

    Args:
        fun: Objective from a pytree of real floating parameters to a scalar.
        x: The parameters.
        key: Typed key of the first direction.
        tolerance: Residual norm at which the run stops, relative to the result.

    Returns:
        A scalar in the parameters' dtype, at least float32.

    Raises:
        TypeError: parameters that are not real floating, or an untyped key.
        ValueError: a tolerance that is not positive.

    Example:
        >>> x = {"a": jnp.ones(3), "b": jnp.ones(2)}
        >>> fun = lambda x: jnp.sum(x["a"] ** 2) - 4 * jnp.sum(x["b"] ** 2)
        >>> float(estimate_smoothness(fun, x, key=jax.random.key(0)))
        8.0

    Reference:
        Lanczos (1950), https://doi.org/10.6028/jres.045.026; Wu and Simon (2000), for the
        restarts, https://doi.org/10.1137/S0895479898334605.
    """
    check_real_floating("x", x)
    check_key(key=key)
    check_positive(tolerance=tolerance)
    check_not_empty("x", x)
    check_objective("fun", fun, x)
    gradient, hessian = flat_hessian(fun, x)
    # One number has one eigenvalue, which cannot be asked for twice.
    num_smallest = 1 if gradient.size > 1 else 0
    ends = extreme_eigenpairs(
        hessian,
        jnp.zeros_like(gradient),
        num_smallest=num_smallest,
        num_largest=1,
        key=key,
        tolerance=tolerance,
        check_copies=False,
    )
    return jnp.max(jnp.abs(ends.eigenvalues))
