r"""The steps of `saddle.find`: four ways to go from a point to a stationary point.

With g the gradient at x, H the Hessian and `radius` a bound on the length of the step s:

    newton                 s = -t H^{-1} g, shortened by t <= 1 to the radius
    levenberg_marquardt    s minimises |g + H s|^2 / 2
    gradient_norm          s minimises the second-order Taylor polynomial of |g|^2 / 2, third
                           derivatives of the objective included
    eigenvector_following  s minimises the image of the quadratic model: that with the signs of
                           g and H turned along the `index` lowest eigenvectors, so that uphill
                           along these is downhill, and a saddle of that index a minimum

All are computed in an eigenbasis of a dense matrix. A step comes with its quality, about 1 where
the model that it was taken from predicted well what it leads to, from which the loop decides
whether to take it and how long the next may be. For the first three it is the fall of |g|^2 / 2
over the predicted one; no function falls along eigenvector following, so there it is how well
g + H s predicts the new gradient, and runs may cycle, as all methods of its kind do (Levitt and
Ortner 2017, https://arxiv.org/abs/1607.08875).

Levenberg-Marquardt with a radius: More (1978), https://doi.org/10.1007/BFb0067700. Eigenvector
following: Cerjan and Miller (1981), https://doi.org/10.1063/1.442352; on the image function with
a trust radius: Helgaker (1991), https://doi.org/10.1016/0009-2614(91)90115-P.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course import _krylov

Gradient = Callable[[jax.Array], jax.Array]


class Proposal(NamedTuple):
    """A step, and what its model says of it.

    Attributes:
        step: s, shape (n,).
        gradient: g + H s, the gradient that is expected after it, shape (n,).
        decrease: By how much |g|^2 / 2 is expected to fall.
    """

    step: jax.Array
    gradient: jax.Array
    decrease: jax.Array


Rule = Callable[[Gradient, jax.Array, _krylov.EigenModel, jax.Array, jax.Array], Proposal]


def newton_step(model: _krylov.EigenModel) -> jax.Array:
    """Return the coefficients of -H^{-1} g, zero in the directions in which H is singular."""
    size = jnp.max(jnp.abs(model.eigenvalues))
    # Not >=, or the zero matrix is regular. On a manifold of stationary points rounding divided by
    # rounding would lead anywhere.
    regular = jnp.abs(model.eigenvalues) > jnp.finfo(size.dtype).eps ** (2 / 3) * size
    return -jnp.where(regular, model.gradient / jnp.where(regular, model.eigenvalues, 1), 0)


def newton(
    _: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose Newton's step for g = 0, shortened to the radius."""
    del x, index
    full = newton_step(model)
    length = _krylov.norm(full)
    return _propose(model, full * jnp.minimum(1, radius / jnp.where(length > 0, length, 1)))


def levenberg_marquardt(
    _: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose the least-squares step for g + H s = 0 within the radius."""
    del x, index
    squares, slopes = model.eigenvalues**2, model.eigenvalues * model.gradient
    order = jnp.argsort(squares)
    sorted_step = _krylov.trust_region_minimizer(squares[order], slopes[order], radius=radius)
    return _propose(model, jnp.zeros_like(sorted_step).at[order].set(sorted_step))


def gradient_norm(
    gradient: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose the trust-region Newton step for the minimization of |g|^2 / 2."""
    del index

    def half_square(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(gradient(x))) / 2

    slope, operator = _krylov.flat_hessian(half_square, x)
    of_norm = _krylov.eigen_model(operator, slope)
    step = _krylov.trust_region_minimizer(of_norm.eigenvalues, of_norm.gradient, radius=radius)
    change = of_norm.gradient @ step + of_norm.eigenvalues @ step**2 / 2
    step = step @ of_norm.vectors
    return _propose(model, model.vectors @ step)._replace(step=step, decrease=-change)


def eigenvector_following(
    _: Gradient, x: jax.Array, model: _krylov.EigenModel, radius: jax.Array, index: jax.Array
) -> Proposal:
    """Propose the trust-region step on the image function for the wanted index."""
    del x
    sign = jnp.where(jnp.arange(model.eigenvalues.size) < index, -1, 1)
    image = sign * model.eigenvalues
    order = jnp.argsort(image)
    step = _krylov.trust_region_minimizer(
        image[order], (sign * model.gradient)[order], radius=radius
    )
    return _propose(model, jnp.zeros_like(step).at[order].set(step))


def _propose(model: _krylov.EigenModel, coefficients: jax.Array) -> Proposal:
    """Return the step that has these coefficients in H's eigenbasis."""
    expected = model.gradient + model.eigenvalues * coefficients
    return Proposal(
        step=coefficients @ model.vectors,
        gradient=expected @ model.vectors,
        decrease=(model.gradient @ model.gradient - expected @ expected) / 2,
    )


def fall_of_norm(proposal: Proposal, gradient: jax.Array, reached: jax.Array) -> jax.Array:
    """Return the actual fall of |g|^2 / 2 over the expected one."""
    fall = (gradient @ gradient - reached @ reached) / 2
    return fall / jnp.where(proposal.decrease > 0, proposal.decrease, jnp.nan)


def agreement(proposal: Proposal, gradient: jax.Array, reached: jax.Array) -> jax.Array:
    """Return 1 minus the error of the expected gradient, relative to the terms it is a sum of."""
    change = _krylov.norm(proposal.gradient - gradient)
    error = _krylov.norm(reached - proposal.gradient)
    return 1 - error / (_krylov.norm(gradient) + change)


RULES: dict[str, Rule] = {
    "newton": newton,
    "levenberg_marquardt": levenberg_marquardt,
    "eigenvector_following": eigenvector_following,
    "gradient_norm": gradient_norm,
}
