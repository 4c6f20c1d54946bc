r"""Adam: momentum divided by the root of a running average of squared gradients.

    mu[t] = b1 * mu[t-1] + (1 - b1) * g[t]
    nu[t] = b2 * nu[t-1] + (1 - b2) * g[t]^2
    x[t+1] = x[t] - learning_rate * mu_hat / (sqrt(nu_hat + eps_root) + eps)

with `mu_hat = mu[t] / (1 - b1^t)`, `nu_hat = nu[t] / (1 - b2^t)`, the averages corrected for their
start at zero.

Kingma and Ba (2015), https://arxiv.org/abs/1412.6980, algorithm 1; with `nesterov=True` Dozat
(2016), https://openreview.net/pdf?id=OM0jvwB8jIp57ZJjtNEZ, algorithm 2 without its extra factor b2.

The lecture's form has no correction and its guard inside the root: `bias_correction=False,
eps=0, eps_root=1e-8`. For a constant gradient its steps are `(1 - b1^t) / sqrt(1 - b2^t)` times
Adam's: 3.16 at first, at most 6.57 at t = 12, still 1.26 at t = 1000.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course._checks import (
    check_flag,
    check_fraction,
    check_inexact_dtype,
    check_non_negative,
    is_concrete_number,
)
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._leaves import (
    abs_square,
    cast,
    full_like_squares,
    map_leaves,
    matching,
    reciprocal_bias_correction,
    widen,
    zeros_like,
)


class AdamState(NamedTuple):
    """What Adam remembers between steps.

    Attributes:
        count: Number of steps taken, a scalar int32.
        mu: Average of the gradients, a pytree like the parameters.
        nu: Average of the squared gradients, likewise.
    """

    count: jax.typing.ArrayLike
    mu: optax.Updates
    nu: optax.Updates


def scale_by_adam(
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    eps_root: chex.Numeric = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
    nu_dtype: Any = None,
) -> optax.GradientTransformation:
    """Adam's direction in place of the gradient, the formula of the module without the rate.

    All arithmetic is in at least float32, so that a zero gradient in float16 gives a zero step
    where `optax.scale_by_adam`, whose 1e-8 rounds to nothing, gives NaN.

    Args:
        b1: Share of the average of gradients that survives a step, in [0, 1).
        b2: Share of the average of squares that survives a step, in [0, 1).
        eps: Guard outside the root, >= 0.
        eps_root: Guard inside the root, >= 0; positive where one differentiates through steps.
        mu_dtype: Dtype of the average of gradients; None for that of the parameters.
        nesterov: Whether the direction looks one step of the average ahead (NAdam).
        bias_correction: Whether to correct the averages for their start at zero.
        nu_dtype: Dtype of the squares; None for that of the parameters, at least float32.

    Returns:
        A transformation with an `AdamState`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> rule = scale_by_adam()
        >>> rule.update(jnp.array([3.0, -0.1]), rule.init(jnp.zeros(2)))[0].round(3)
        Array([ 1., -1.], dtype=float32)
    """
    check_fraction(b1=b1, b2=b2)
    check_non_negative(eps=eps, eps_root=eps_root)
    check_inexact_dtype(mu_dtype=mu_dtype, nu_dtype=nu_dtype, optional=True)
    check_flag(nesterov=nesterov, bias_correction=bias_correction)

    def init(params):
        return AdamState(
            count=jnp.zeros([], jnp.int32),
            mu=zeros_like(params, mu_dtype),
            nu=full_like_squares(params, 0, dtype=nu_dtype),
        )

    def update(updates, state, params=None):
        del params
        count = optax.safe_increment(state.count)

        def weight(decay, count):
            return reciprocal_bias_correction(decay, count) if bias_correction else 1

        # Scalars once, not once a leaf.
        over_mu, over_nu = weight(b1, count), weight(b2, count)
        over_next_mu = weight(b1, count + 1) if nesterov else None

        def step(gradient, old_mu, old_nu):
            wide = widen(gradient)
            mu = (1 - b1) * wide + b1 * widen(old_mu)
            nu = (1 - b2) * abs_square(wide) + b2 * widen(old_nu)
            nu_hat, mu_hat = matching(over_nu, nu) * nu, matching(over_mu, mu) * mu
            if nesterov:
                # The average as it will be at the next step, should the gradient stay.
                mu_next = b1 * matching(over_next_mu, mu) * mu
                mu_hat = mu_next + (1 - b1) * matching(over_mu, wide) * wide
            if not (is_concrete_number(eps_root) and eps_root == 0):
                nu_hat = nu_hat + eps_root
            direction = mu_hat / (jnp.sqrt(nu_hat) + eps)
            return cast(direction, gradient.dtype), cast(mu, old_mu.dtype), cast(nu, old_nu.dtype)

        updates, mu, nu = map_leaves(step, updates, state.mu, state.nu)
        return updates, AdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


def adam(
    learning_rate: optax.ScalarOrSchedule,
    b1: chex.Numeric = 0.9,
    b2: chex.Numeric = 0.999,
    eps: chex.Numeric = 1e-8,
    eps_root: chex.Numeric = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    bias_correction: bool = True,
    nu_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Adam, the formula of the module; every keyword as in `scale_by_adam`.

    Args:
        learning_rate: A number >= 0 or a schedule.
        b1: Share of the average of gradients that survives a step, in [0, 1).
        b2: Share of the average of squares that survives a step, in [0, 1).
        eps: Guard outside the root, >= 0.
        eps_root: Guard inside the root, >= 0.
        mu_dtype: Dtype of the average of gradients; None for that of the parameters.
        nesterov: Whether the direction looks one step of the average ahead (NAdam).
        bias_correction: Whether to correct the averages for their start at zero.
        nu_dtype: Dtype of the squares; None for that of the parameters, at least float32.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = adam(0.1)
        >>> optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))[0].round(3)
        Array([-0.1], dtype=float32)
    """
    return optax.chain(
        scale_by_adam(
            b1,
            b2,
            eps,
            eps_root,
            mu_dtype,
            nesterov=nesterov,
            bias_correction=bias_correction,
            nu_dtype=nu_dtype,
        ),
        scale_by_learning_rate(learning_rate),
    )
