r"""The backward pass of batch normalization in closed form.

For one feature with inputs z_1..z_m, `u_i = (z_i - mu) / sqrt(sigma^2 + epsilon)` and results
`y_i = gamma u_i + beta`, the derivatives of a divergence Div follow from `dDiv/dy_i` by the chain
rule:

    dDiv/du_i      = gamma dDiv/dy_i
    dDiv/dsigma^2  = -1/2 (sigma^2 + epsilon)^(-3/2) sum_j dDiv/du_j (z_j - mu)
    dDiv/dmu       = -(sigma^2 + epsilon)^(-1/2) sum_j dDiv/du_j
                     - dDiv/dsigma^2 (2 / m) sum_j (z_j - mu)
    dDiv/dz_i      = dDiv/du_i (sigma^2 + epsilon)^(-1/2)
                     + dDiv/dsigma^2 (2 / m) (z_i - mu) + dDiv/dmu / m
    dDiv/dgamma    = sum_j dDiv/dy_j u_j
    dDiv/dbeta     = sum_j dDiv/dy_j

The sums run over the batch, since mu and sigma depend on every z_j; without them the gradient is
off by half its size. The last sum of dDiv/dmu is zero.

Ioffe and Szegedy (2015), https://arxiv.org/abs/1502.03167, section 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course._checks import check_integer, check_non_negative, check_real_array
from jaxopt_course._reading import readable
from jaxopt_course.nn._normalization._base import canonical_axes
from jaxopt_course.nn._normalization._statistics import at_least_float32, moments


@readable
class BatchNormGradients(NamedTuple):
    """Derivatives of the divergence by everything that enters batch normalization.

    Attributes:
        x: dDiv/dz, of the shape of the inputs.
        scale: dDiv/dgamma, one number per feature.
        bias: dDiv/dbeta, likewise.
        mean: dDiv/dmu, likewise.
        variance: dDiv/dsigma^2, likewise.
    """

    x: jax.Array
    scale: jax.Array
    bias: jax.Array
    mean: jax.Array
    variance: jax.Array


def batch_norm_backward(
    cotangent: jax.Array,
    x: jax.Array,
    scale: jax.Array,
    *,
    epsilon: float = 1e-5,
    axis: int = -1,
) -> BatchNormGradients:
    """The gradient carried back through batch normalization, by the module's formulas.

    Automatic differentiation of `BatchNorm` gives the same numbers; this is for reading and for
    checking it.

    Args:
        cotangent: dDiv/dy, of the shape of `x`.
        x: The inputs z.
        scale: gamma, of shape `(features,)`.
        epsilon: As in the forward pass.
        axis: Axis of the features.

    Returns:
        The derivatives.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> x = jnp.array([[1.0], [2.0], [6.0]])
        >>> gradients = batch_norm_backward(x, x, jnp.ones(1), epsilon=0.0)
        >>> print(jnp.abs(gradients.x).max() < 1e-6)  # y does not change when x is scaled
        True
    """
    check_non_negative(epsilon=epsilon)
    for name, array in (("cotangent", cotangent), ("x", x), ("scale", scale)):
        check_real_array(name, array)
    check_integer(axis=axis)
    (axis,) = canonical_axes(int(axis), x.ndim)
    if cotangent.shape != x.shape:
        raise ValueError(f"cotangent must have x's shape {x.shape}, got {cotangent.shape}")
    if scale.shape != (x.shape[axis],):
        raise ValueError(f"scale must have shape {(x.shape[axis],)}, got {scale.shape}")
    batch_axes = tuple(other for other in range(x.ndim) if other != axis)

    def batch_sum(values):
        return jnp.sum(values, batch_axes, keepdims=True)

    found = moments(x, batch_axes)
    cotangent = at_least_float32(cotangent)
    size = found.count
    deviation = at_least_float32(x) - found.centre - found.offset
    inverse = jax.lax.rsqrt(found.variance + epsilon)

    by_standardized = cotangent * jnp.expand_dims(scale, batch_axes)
    by_variance = -0.5 * inverse**3 * batch_sum(by_standardized * deviation)
    by_mean = -inverse * batch_sum(by_standardized) - by_variance * 2 / size * batch_sum(deviation)
    by_x = by_standardized * inverse + by_variance * 2 / size * deviation + by_mean / size
    return BatchNormGradients(
        x=by_x.astype(x.dtype),
        scale=jnp.squeeze(batch_sum(cotangent * deviation * inverse), batch_axes),
        bias=jnp.squeeze(batch_sum(cotangent), batch_axes),
        mean=jnp.squeeze(by_mean, batch_axes),
        variance=jnp.squeeze(by_variance, batch_axes),
    )
