r"""Exact minimisers of the trust-region model and of the cubic model, in an eigenbasis of H.

    trust region   min g^T s + s^T H s / 2                      subject to |s| <= radius
    cubic          min g^T s + s^T H s / 2 + (M/6) |s|^3

With H = diag(lambda_1 <= ... <= lambda_n) both have global minimisers of the form

    s(sigma) = -(H + sigma I)^{-1} g,      sigma >= max(0, -lambda_1),

where sigma = 0 or |s| = radius for the first, and |s| = 2 sigma / M for the second: one equation
in one unknown, the secular equation. We solve it for mu = sigma - max(0, -lambda_1) >= 0, with the
gaps lambda_i + max(0, -lambda_1), the first of which is then exactly zero. mu can be arbitrarily
small beside lambda_1 (a gradient nearly orthogonal to the lowest eigenvector) and is still found
to full relative precision, by bisection of its logarithm.

Hard case: g has no component along the lowest eigenvector and |s| falls short of what the
equation asks even at mu = 0. A multiple of that eigenvector makes up the length. The sign is free
(both give the same model value); + is taken.

More and Sorensen (1983), https://doi.org/10.1137/0904038; Nesterov and Polyak (2006), section 5,
https://doi.org/10.1007/s10107-006-0706-8.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxopt_course import _loops
from jaxopt_course._krylov._lanczos import norm


def trust_region_minimizer(
    eigenvalues: jax.Array, gradient: jax.Array, *, radius: jax.typing.ArrayLike
) -> jax.Array:
    """Minimise the quadratic model in a ball.

    Args:
        eigenvalues: Of H, ascending, shape (n,).
        gradient: Coefficients of g in H's eigenbasis, shape (n,).
        radius: Positive bound on |s|.

    Returns:
        Coefficients of the minimiser s, shape (n,).

    Example:
        >>> trust_region_minimizer(jnp.array([-1.0, 1.0]), jnp.zeros(2), radius=0.5)
        Array([ 0.5, -0. ], dtype=float32)
    """
    radius = jnp.asarray(radius, gradient.dtype)
    # |s| <= |g| / mu, so the root lies below |g| / radius.
    return _solve(eigenvalues, gradient, lambda _: radius, norm(gradient) / radius)


def cubic_minimizer(
    eigenvalues: jax.Array, gradient: jax.Array, *, hessian_lipschitz: jax.typing.ArrayLike
) -> jax.Array:
    """Minimise the cubic model.

    Args:
        eigenvalues: Of H, ascending, shape (n,).
        gradient: Coefficients of g in H's eigenbasis, shape (n,).
        hessian_lipschitz: M, positive.

    Returns:
        Coefficients of the minimiser s, shape (n,).

    Example:
        >>> cubic_minimizer(jnp.array([-1.0, 1.0]), jnp.zeros(2), hessian_lipschitz=4.0)
        Array([ 0.5, -0. ], dtype=float32)
    """
    constant = jnp.asarray(hessian_lipschitz, gradient.dtype)
    # |g| / mu >= |s| = 2 sigma / M >= 2 mu / M, so the root lies below sqrt(M |g| / 2).
    bound = jnp.sqrt(constant / 2) * jnp.sqrt(norm(gradient))
    return _solve(eigenvalues, gradient, lambda sigma: 2 * sigma / constant, bound)


def _solve(
    eigenvalues: jax.Array,
    gradient: jax.Array,
    wanted_length: Callable[[jax.Array], jax.Array],
    largest: jax.Array,
) -> jax.Array:
    """Find s(sigma) of the wanted length, given an upper bound of mu."""
    shift = jnp.maximum(-eigenvalues[0], 0)
    gaps = eigenvalues + shift

    def step(mu: jax.Array) -> jax.Array:
        denominators = gaps + mu
        # 0/0 is a component that the equation leaves free; the hard case sets it.
        open_ = denominators > 0
        ratio = -gradient / jnp.where(open_, denominators, 1)
        return jnp.where(open_, ratio, jnp.where(gradient == 0, 0, -jnp.sign(gradient) * jnp.inf))

    def too_long(mu: jax.Array) -> jax.Array:
        return norm(step(mu)) > wanted_length(shift + mu)

    def halve(_: int, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bracket
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        above = too_long(middle)
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    info = jnp.finfo(gradient.dtype)
    low = jnp.full_like(largest, info.tiny)
    # As many halvings as the dtype has bits: those of the exponent, then those of the mantissa.
    _, mu = _loops.fori_loop(0, info.bits, halve, (low, jnp.maximum(2 * largest, low)))

    free = step(jnp.zeros_like(shift))
    solved = jnp.where(too_long(jnp.zeros_like(shift)), step(mu), free)
    missing = wanted_length(shift)
    scale = jnp.where(missing > 0, missing, 1)
    short_by = scale * jnp.sqrt(jnp.maximum(1 - (norm(solved) / scale) ** 2, 0))
    hard = ~too_long(jnp.zeros_like(shift)) & (shift > 0)
    return solved.at[0].add(jnp.where(hard, short_by, 0))
