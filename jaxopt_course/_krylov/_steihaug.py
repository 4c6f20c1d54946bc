r"""Conjugate gradients truncated at a trust region or at negative curvature.

Minimises the quadratic model

    m(s) = g^T s + s^T H s / 2,      |s| <= radius

approximately: conjugate gradients are run from s = 0 until the residual is small, and left early
where an iterate would cross the boundary or a direction d of non-positive curvature d^T H d <= 0
shows; in both cases the step goes on along d to the boundary. Lengths |s| grow along the way, so
nothing is lost by stopping at the first crossing, and the model falls at least as far as along -g.

Without a boundary (radius = inf) non-positive curvature ends the run at the iterate reached, or
with the step -g when there is none yet.

Steihaug (1983), https://doi.org/10.1137/0720042; Toint (1981); Nocedal and Wright (2006),
algorithms 7.1 and 7.2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course import _loops
from jaxopt_course._krylov._hessian import Operator
from jaxopt_course._krylov._lanczos import norm, normalized


class TruncatedCG(NamedTuple):
    """An approximate minimiser of a quadratic model, and how it was reached.

    Attributes:
        step: s, shape (n,).
        model_value: m(s), scalar; never positive.
        negative_curvature: Scalar bool; whether a direction of non-positive curvature was met.
        num_products: Scalar int; operator products used.
    """

    step: jax.Array
    model_value: jax.Array
    negative_curvature: jax.Array
    num_products: jax.Array


class _Iterate(NamedTuple):
    step: jax.Array
    residual: jax.Array  # g + H s
    direction: jax.Array
    negative_curvature: jax.Array
    done: jax.Array
    count: jax.Array


def truncated_cg(
    operator: Operator,
    gradient: jax.Array,
    *,
    radius: jax.typing.ArrayLike = jnp.inf,
    tolerance: jax.typing.ArrayLike,
    max_steps: jax.typing.ArrayLike,
) -> TruncatedCG:
    """Minimise a quadratic model by truncated conjugate gradients.

    Args:
        operator: v -> H v, symmetric, on vectors of shape (n,).
        gradient: g, shape (n,). A zero gradient gives a zero step: conjugate gradients see no
            curvature where there is no slope.
        radius: Bound on |s|; inf for none.
        tolerance: Residual |g + H s| to reach, relative to |g|.
        max_steps: Bound on the number of products.

    Returns:
        The step and how it was reached.

    Example:
        >>> result = truncated_cg(
        ...     lambda v: jnp.array([1.0, -1.0]) * v, jnp.array([1.0, 0.1]),
        ...     radius=2.0, tolerance=1e-6, max_steps=10,
        ... )
        >>> print(bool(result.negative_curvature), jnp.linalg.norm(result.step).round(5))
        True 2.0
    """
    # The step is homogeneous in (gradient, radius): unit length keeps squares off the limits of
    # the dtype.
    length = norm(gradient)
    safe_length = jnp.where(length > 0, length, 1)
    start = normalized(gradient)
    radius = jnp.asarray(radius, gradient.dtype) / safe_length
    bounded = jnp.isfinite(radius)

    def to_boundary(step: jax.Array, direction: jax.Array) -> jax.Array:
        """Solve |step + t direction| = radius for t >= 0."""
        bound = jnp.where(bounded, radius, 1)
        a, b = direction @ direction, step @ direction
        c = jnp.maximum(bound**2 - step @ step, 0)
        root = jnp.sqrt(b**2 + a * c)
        # Two forms of one root; each is used where it does not subtract equal numbers.
        return jnp.where(b > 0, c / jnp.where(b > 0, b + root, 1), (root - b) / a)

    def advance(it: _Iterate) -> _Iterate:
        image = operator(it.direction)
        curvature = it.direction @ image
        residual_squared = it.residual @ it.residual
        negative = curvature <= 0
        rate = residual_squared / jnp.where(negative, 1, curvature)
        inside = it.step + rate * it.direction
        leaves = negative | (bounded & (norm(inside) >= radius))
        unbounded_rate = jnp.where(it.count == 0, 1.0, 0.0).astype(rate.dtype)
        rate = jnp.where(
            leaves,
            jnp.where(bounded, to_boundary(it.step, it.direction), unbounded_rate),
            rate,
        )
        residual = it.residual + rate * image
        ratio = (residual @ residual) / jnp.where(residual_squared > 0, residual_squared, 1)
        return _Iterate(
            step=it.step + rate * it.direction,
            residual=residual,
            direction=-residual + ratio * it.direction,
            negative_curvature=negative,
            done=leaves | (norm(residual) <= tolerance),
            count=it.count + 1,
        )

    with jax.default_matmul_precision("highest"):
        final = _loops.while_loop(
            lambda it: ~it.done & (it.count < max_steps),
            advance,
            _Iterate(
                step=jnp.zeros_like(start),
                residual=start,
                direction=-start,
                negative_curvature=jnp.zeros((), bool),
                done=length == 0,
                count=jnp.zeros((), jnp.int32),
            ),
        )
    # H s = residual - g, so the model's value needs no further product.
    value = final.step @ (start + final.residual) / 2
    return TruncatedCG(
        step=length * final.step,
        model_value=length**2 * value,
        negative_curvature=final.negative_curvature,
        num_products=final.count,
    )
