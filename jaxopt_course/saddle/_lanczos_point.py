"""Classification by the smallest eigenvalues alone, for Hessians too large to be formed."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxopt_course import _krylov
from jaxopt_course.saddle._dense import oriented, orthonormal_rows
from jaxopt_course.saddle._kind import Kind
from jaxopt_course.saddle._matrix_free import smallest_spectrum
from jaxopt_course.saddle._point import StationaryPoint

FlatFunction = Callable[[Any], jax.Array]


def classify_matrix_free(
    fun: FlatFunction,
    x: jax.Array,
    unravel: Callable[[jax.Array], Any],
    *,
    gradient_tolerance: chex.Numeric | None,
    eigenvalue_tolerance: chex.Numeric | None,
    directions: Callable[[jax.Array], jax.Array] | None,
    key: jax.Array,
    num_eigenvalues: int,
    failure_probability: float,
) -> StationaryPoint:
    """Do what `classify` does; `x` is a vector, and `directions` maps it to vectors, (k, n)."""
    eps = float(jnp.finfo(x.dtype).eps)
    gradient, operator = _krylov.flat_hessian(fun, x)
    gradient_norm = jnp.linalg.norm(gradient)
    known_residual = jnp.zeros((), x.dtype)
    basis = None
    if directions is not None:
        basis = orthonormal_rows(directions(x))
        known_residual = jnp.max(jnp.linalg.norm(jax.lax.map(operator, basis), axis=1))
        # |H| is not known yet; a random vector's image is of its order, divided by sqrt(n).
        probe = jax.random.normal(jax.random.fold_in(key, 0), x.shape, x.dtype)
        bound = jnp.linalg.norm(operator(probe))
        flat = known_residual <= eps**0.5 * bound + 10 * gradient_norm
        basis = jnp.where(flat, basis, 0)
    found = smallest_spectrum(
        fun,
        x,
        key=key,
        k=num_eigenvalues,
        num_steps=max(80, num_eigenvalues + 2),
        failure_probability=failure_probability,
        null_basis=basis,
    )
    values = found.eigenvalues
    size = jnp.maximum(jnp.max(jnp.abs(values)), jnp.abs(found.largest))
    if gradient_tolerance is None:
        gradient_tolerance = eps ** (2 / 3) * size * (1 + jnp.max(jnp.abs(x)))
    if eigenvalue_tolerance is None:
        eigenvalue_tolerance = jnp.maximum(eps**0.5 * size, found.precision_floor)
    tolerance = jnp.asarray(eigenvalue_tolerance, x.dtype)
    gradient_tolerance = jnp.asarray(gradient_tolerance, x.dtype)
    kind = jnp.select(
        [
            # Not ">": a gradient that is NaN is not small.
            ~(gradient_norm <= gradient_tolerance),
            (values[0] < -tolerance) & (found.largest > tolerance),
            (values[0] > tolerance) & (found.lower_bound > 0),
            found.largest < -tolerance,
        ],
        [Kind.NOT_STATIONARY, Kind.STRICT_SADDLE, Kind.MINIMUM, Kind.MAXIMUM],
        Kind.DEGENERATE,
    )
    return StationaryPoint(
        kind=kind.astype(jnp.int32),
        index=jnp.sum(values < -tolerance).astype(jnp.int32),
        nullity=jnp.sum(jnp.abs(values) <= tolerance).astype(jnp.int32),
        eigenvalues=values,
        min_eigenvalue=values[0],
        escape_direction=unravel(oriented(found.eigenvectors[0])),
        gradient_norm=gradient_norm,
        gradient_tolerance=gradient_tolerance,
        eigenvalue_tolerance=tolerance,
        min_eigenvalue_error=found.residual_norms[0] + found.precision_floor,
        min_eigenvalue_bound=found.lower_bound,
        failure_probability=jnp.asarray(failure_probability, x.dtype),
        kantorovich=jnp.full((), jnp.nan, x.dtype),
        hessian_lipschitz=jnp.full((), jnp.nan, x.dtype),
        null_space_residual=known_residual,
        null_space_used=jnp.asarray(basis is not None) & jnp.any(basis != 0),
        finite=found.finite & jnp.isfinite(gradient_norm),
    )
