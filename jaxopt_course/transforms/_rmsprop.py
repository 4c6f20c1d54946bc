r"""RMSProp: the gradient divided by the root of a running average of its squares.

    nu[t] = decay * nu[t-1] + (1 - decay) * g[t]^2
    x[t+1] = x[t] - learning_rate * g[t] / sqrt(nu[t] + eps)

The centred form (Graves 2013, https://arxiv.org/abs/1308.0850, equations 38 to 41) divides by the
standard deviation, `sqrt(nu - mu^2)` with `mu` the running average of the gradient. The variance is
carried as

    var[t] = decay * var[t-1] + (1 - decay) / decay * (g[t] - mu[t])^2,

the same number without the cancellation that turns `nu - mu^2` negative, and the step into NaN,
in optax and torch after some 135 steps of a constant gradient.

Tieleman and Hinton (2012), "Neural networks for machine learning", lecture 6e, slide 29.

Two of the lecture's forms by keyword: `accumulate="previous"` divides by the average without the
current gradient, so that the first step is `g / sqrt(eps)`, 3,000 learning rates for g = 0.3 and
eps = 1e-8 instead of 3.16; `exponent=-1` divides by the average itself instead of its root, so that
steps grow as the gradients shrink.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course._checks import (
    check_finite,
    check_flag,
    check_fraction,
    check_inexact_dtype,
    check_non_negative,
    check_one_of,
    check_positive,
)
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._leaves import (
    abs_square,
    cast,
    full_like_squares,
    inverse_root,
    map_leaves,
    matching,
    reciprocal_bias_correction,
    widen,
    zeros_like,
)
from jaxopt_course.transforms._momentum import (
    scale_by_heavy_ball,
    scale_by_nesterov,
)


class RMSPropState(NamedTuple):
    """What RMSProp remembers between steps.

    Attributes:
        count: Number of steps taken, a scalar int32; None without a bias to correct.
        nu: Average of the squared gradients, a pytree like the parameters.
    """

    count: Any
    nu: optax.Updates


class CenteredRMSPropState(NamedTuple):
    """What centred RMSProp remembers between steps.

    Attributes:
        count: Number of steps taken, a scalar int32; None without a bias to correct.
        mu: Average of the gradients, a pytree like the parameters.
        variance: Average of the squared gradients minus `|mu|^2`, likewise; never negative.
    """

    count: Any
    mu: optax.Updates
    variance: optax.Updates


def scale_by_rmsprop(
    decay: chex.Numeric = 0.9,
    eps: chex.Numeric = 1e-8,
    initial_scale: chex.Numeric = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    centered: bool = False,
    accumulate: str = "current",
    exponent: chex.Numeric = -0.5,
    nu_dtype: Any = None,
) -> optax.GradientTransformation:
    """The gradient over the root of its averaged squares, the formula of the module.

    Args:
        decay: Share of the average that survives a step, in [0, 1), and not 0 if `centered`.
        eps: Guard against division by zero, >= 0.
        initial_scale: Start of the average of squares, >= 0.
        eps_in_sqrt: Whether `eps` stands inside the root, or is added to it as in torch.
        bias_correction: Whether to divide the averages by the weight `1 - decay^t` they have
            gathered, as Adam does.
        centered: Whether to divide by the standard deviation instead.
        accumulate: "current" to divide by the average with the current gradient, "previous" for
            the lecture's average without it.
        exponent: Power of the average that multiplies the gradient.
        nu_dtype: Dtype of the squares; None for that of the parameters, at least float32.

    Returns:
        A transformation with an `RMSPropState`, or a `CenteredRMSPropState` if `centered`.

    Raises:
        ValueError: if an argument is out of its range, or `bias_correction` is asked of
            `accumulate="previous"`, whose average has gathered nothing at the first step.

    Example:
        >>> import jax.numpy as jnp
        >>> rule = scale_by_rmsprop(decay=0.75)
        >>> rule.update(jnp.array([3.0, -0.1]), rule.init(jnp.zeros(2)))[0].round(3)
        Array([ 2., -2.], dtype=float32)
    """
    check_fraction(decay=decay)
    check_non_negative(eps=eps, initial_scale=initial_scale)
    check_finite(exponent=exponent)
    check_inexact_dtype(nu_dtype=nu_dtype, optional=True)
    check_one_of(("current", "previous"), accumulate=accumulate)
    check_flag(eps_in_sqrt=eps_in_sqrt, bias_correction=bias_correction, centered=centered)
    if bias_correction and accumulate == "previous":
        raise ValueError('bias_correction must be False with accumulate="previous", got True')

    def precondition(gradient, squares):
        factor = inverse_root(squares, eps, eps_in_sqrt=eps_in_sqrt, exponent=exponent)
        return cast(factor * widen(gradient), gradient.dtype)

    rule = _scale_by_standard_deviation if centered else _scale_by_root_mean_square
    return rule(
        precondition, decay, initial_scale, bias_correction, accumulate == "current", nu_dtype
    )


def _first_count(bias_correction: bool) -> jax.Array | None:
    """Return the count to start from: on a tiny tree one array more is a cost to be seen."""
    return jnp.zeros([], jnp.int32) if bias_correction else None


def _next_count(decay: chex.Numeric, count: Any) -> tuple[Any, Any]:
    """Return the next count and what corrects the bias there, None and None where none is kept."""
    if count is None:
        return None, None
    count = optax.safe_increment(count)
    return count, reciprocal_bias_correction(decay, count)


def _scale_by_root_mean_square(
    precondition: Callable[..., jax.Array],
    decay: chex.Numeric,
    initial_scale: chex.Numeric,
    bias_correction: bool,
    use_current: bool,
    nu_dtype: Any,
) -> optax.GradientTransformation:
    """Precondition by the average of squares."""

    def init(params):
        squares = full_like_squares(params, initial_scale, dtype=nu_dtype)
        return RMSPropState(count=_first_count(bias_correction), nu=squares)

    def update(updates, state, params=None):
        del params
        count, over_c = _next_count(decay, state.count)

        def step(gradient, old):
            previous = widen(old)
            nu = (1 - decay) * abs_square(widen(gradient)) + decay * previous
            used = nu if use_current else previous
            if bias_correction:
                used = used * matching(over_c, used)
            return precondition(gradient, used), cast(nu, old.dtype)

        updates, nu = map_leaves(step, updates, state.nu)
        return updates, RMSPropState(count=count, nu=nu)

    return optax.GradientTransformation(init, update)


def _scale_by_standard_deviation(
    precondition: Callable[..., jax.Array],
    decay: chex.Numeric,
    initial_scale: chex.Numeric,
    bias_correction: bool,
    use_current: bool,
    nu_dtype: Any,
) -> optax.GradientTransformation:
    """Precondition by the average of squares minus the square of the average."""
    check_positive(decay=decay)  # with 0 the average is the gradient, the variance always 0

    def init(params):
        squares = full_like_squares(params, initial_scale, dtype=nu_dtype)
        return CenteredRMSPropState(_first_count(bias_correction), zeros_like(params), squares)

    def update(updates, state, params=None):
        del params
        count, over_c = _next_count(decay, state.count)

        def step(gradient, old_mu, old_variance):
            wide, old_mean, old_var = widen(gradient), widen(old_mu), widen(old_variance)
            mean = (1 - decay) * wide + decay * old_mean
            # From the new mean, g - mean = decay * (g - old_mean): where both the old and the new
            # one are needed XLA copies the old.
            var = decay * old_var + (1 - decay) / decay * abs_square(wide - mean)
            used = var if use_current else old_var
            if bias_correction:
                # nu / c - |mean / c|^2 in terms of the variance, for c = 1 - decay^t.
                factor = matching(over_c, used)
                used = jnp.maximum(factor * (used - (factor - 1) * abs_square(mean)), 0)
            stored = cast(mean, old_mu.dtype), cast(var, old_variance.dtype)
            return precondition(gradient, used), *stored

        updates, mu, variance = map_leaves(step, updates, state.mu, state.variance)
        return updates, CenteredRMSPropState(count=count, mu=mu, variance=variance)

    return optax.GradientTransformation(init, update)


def rmsprop(
    learning_rate: optax.ScalarOrSchedule,
    decay: chex.Numeric = 0.9,
    eps: chex.Numeric = 1e-8,
    initial_scale: chex.Numeric = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: chex.Numeric | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    learning_rate_in_velocity: bool = True,
    accumulate: str = "current",
    exponent: chex.Numeric = -0.5,
    nu_dtype: Any = None,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """RMSProp with optional momentum, the formula of the module.

    `rmsprop(rate, decay=0.99, eps_in_sqrt=False, learning_rate_in_velocity=False)` is
    `torch.optim.RMSprop`.

    Args:
        learning_rate: A number >= 0 or a schedule.
        decay: Share of the averages that survives a step, in [0, 1).
        eps: Guard against division by zero, >= 0.
        initial_scale: Start of the average of squares, >= 0.
        eps_in_sqrt: Whether `eps` stands inside the root.
        centered: Whether to divide by the standard deviation instead.
        momentum: Decay of a velocity of the preconditioned gradients, in [0, 1); None for none.
        nesterov: Whether that velocity looks ahead, as in `scale_by_nesterov`.
        bias_correction: Whether to correct the averages for their start, as Adam does.
        learning_rate_in_velocity: Whether the velocity sums up steps, as in optax, or
            preconditioned gradients, as in torch; the same at a constant learning rate.
        accumulate: "current" or the lecture's "previous".
        exponent: Power of the average that multiplies the gradient.
        nu_dtype: Dtype of the squares; None for that of the parameters, at least float32.
        accumulator_dtype: Dtype of the velocity; None for that of the parameters.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if an argument is out of its range, see `scale_by_rmsprop`.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = rmsprop(0.1, decay=0.75)
        >>> optimizer.update(jnp.array([3.0]), optimizer.init(jnp.zeros(1)))[0].round(3)
        Array([-0.2], dtype=float32)
    """
    check_fraction(momentum=momentum, optional=True)
    check_inexact_dtype(accumulator_dtype=accumulator_dtype, optional=True)
    check_flag(nesterov=nesterov, learning_rate_in_velocity=learning_rate_in_velocity)
    rule = scale_by_rmsprop(
        decay,
        eps,
        initial_scale,
        eps_in_sqrt,
        bias_correction,
        centered=centered,
        accumulate=accumulate,
        exponent=exponent,
        nu_dtype=nu_dtype,
    )
    rate = scale_by_learning_rate(learning_rate)
    if momentum is None:
        return optax.chain(rule, rate)
    scale_by_momentum = scale_by_nesterov if nesterov else scale_by_heavy_ball
    velocity = scale_by_momentum(momentum, accumulator_dtype=accumulator_dtype)
    if learning_rate_in_velocity:
        return optax.chain(rule, rate, velocity)
    return optax.chain(rule, velocity, rate)
