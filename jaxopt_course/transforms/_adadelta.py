r"""AdaDelta: steps in the units of the parameters, from running averages of squares.

    e_g[t] = rho * e_g[t-1] + (1 - rho) * g[t]^2
    dx[t] = -sqrt(e_x[t-1] + eps) / sqrt(e_g[t] + eps) * g[t]
    e_x[t] = rho * e_x[t-1] + (1 - rho) * dx[t]^2
    x[t+1] = x[t] + learning_rate * dx[t]

all elementwise, with learning rate 1 in the paper.

Zeiler (2012), https://arxiv.org/abs/1212.5701, algorithm 1, equations 8 to 14.

The lecture has one number `e_x` for all coordinates, averaging `||dx||^2`: `update_average="norm"`.
The steps of d coordinates then feed each other: from `x = (1, ..., 1)` on `||x||^2 / 2` with
d = 100 and rho = 0.95 the value is 6.7e12 after 12 steps, 6.7e14 after 13, and so on, a hundredfold
a step; float32 overflows at step 25. The lecture prints the step with a plus sign, with which it
climbs: `flip_sign=False`.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course._checks import (
    check_arrays,
    check_flag,
    check_fraction,
    check_inexact_dtype,
    check_like,
    check_non_negative,
    check_one_of,
    is_concrete_number,
)
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._leaves import (
    abs_square,
    cast,
    full_like_squares,
    map_leaves,
    widen,
    widest_dtype,
)


class AdaDeltaState(NamedTuple):
    """What AdaDelta remembers between steps.

    Attributes:
        e_g: Average of the squared gradients, a pytree like the parameters.
        e_x: Average of the squared steps, likewise; a scalar for `update_average="norm"`.
    """

    e_g: optax.Updates
    e_x: optax.Updates


def scale_by_adadelta(
    rho: chex.Numeric = 0.9,
    eps: chex.Numeric = 1e-6,
    *,
    update_average: str = "elementwise",
    accumulator_dtype: Any = None,
) -> optax.GradientTransformation:
    """AdaDelta's `-dx` in place of the gradient, as in the module; a sign flip must follow.

    Args:
        rho: Share of the averages that survives a step, in [0, 1). The paper has 0.95.
        eps: Guard and, since `e_x` starts at 0, scale of the first steps; >= 0.
        update_average: "elementwise", or "norm" for the lecture's one average of `||dx||^2`.
        accumulator_dtype: Dtype of the averages; None for that of the parameters, at least
            float32.

    Returns:
        A transformation with an `AdaDeltaState`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> rule = scale_by_adadelta(rho=0.75, eps=1e-6)
        >>> rule.update(jnp.array([2.0]), rule.init(jnp.zeros(1)))[0].round(3)
        Array([0.002], dtype=float32)
    """
    check_fraction(rho=rho)
    check_non_negative(eps=eps)
    check_inexact_dtype(accumulator_dtype=accumulator_dtype, optional=True)
    check_one_of(("elementwise", "norm"), update_average=update_average)

    rule = _with_norm if update_average == "norm" else _elementwise
    return rule(rho, eps, accumulator_dtype)


def _elementwise(
    rho: chex.Numeric, eps: chex.Numeric, accumulator_dtype: Any
) -> optax.GradientTransformation:
    """AdaDelta as published."""

    def init(params):
        e_g = full_like_squares(params, 0, dtype=accumulator_dtype)
        return AdaDeltaState(e_g=e_g, e_x=jax.tree.map(jnp.copy, e_g))

    def update(updates, state, params=None):
        del params

        def step(gradient, old_g, old_x):
            wide, previous = widen(gradient), widen(old_x)
            squares = (1 - rho) * abs_square(wide)
            e_g = squares + rho * widen(old_g)
            guarded = _guarded(e_g, eps)
            e_x = (previous + eps) / guarded * squares + rho * previous
            # sqrt(e_x[t-1] + eps) / sqrt(e_g[t] + eps) in terms of e_x[t]. A step that read the old
            # average would make XLA copy it before the new one takes its place.
            divisor = squares + rho * guarded
            if not (is_concrete_number(rho) and rho > 0):
                divisor = _nonzero(divisor)
            ascent = jnp.sqrt((e_x + rho * eps) / divisor) * wide
            return cast(ascent, gradient.dtype), cast(e_g, old_g.dtype), cast(e_x, old_x.dtype)

        updates, e_g, e_x = map_leaves(step, updates, state.e_g, state.e_x)
        return updates, AdaDeltaState(e_g=e_g, e_x=e_x)

    return optax.GradientTransformation(init, update)


def _with_norm(
    rho: chex.Numeric, eps: chex.Numeric, accumulator_dtype: Any
) -> optax.GradientTransformation:
    """AdaDelta as the lecture prints it, with one average of `||dx||^2` for all leaves."""

    def init(params):
        e_g = full_like_squares(params, 0, dtype=accumulator_dtype)
        return AdaDeltaState(e_g=e_g, e_x=jnp.zeros([], widest_dtype(e_g)))

    def update(updates, state, params=None):
        del params

        def step(gradient, old_g):
            wide = widen(gradient)
            e_g = (1 - rho) * abs_square(wide) + rho * widen(old_g)
            root = jnp.sqrt(cast(state.e_x, e_g.dtype) + eps)
            ascent = root / jnp.sqrt(_guarded(e_g, eps)) * wide
            return cast(ascent, gradient.dtype), cast(e_g, old_g.dtype)

        updates, e_g = map_leaves(step, updates, state.e_g)
        squared_norm = sum(jnp.sum(abs_square(widen(leaf))) for leaf in jax.tree.leaves(updates))
        e_x = (1 - rho) * squared_norm + rho * state.e_x
        return updates, AdaDeltaState(e_g=e_g, e_x=cast(e_x, state.e_x.dtype))

    return optax.GradientTransformation(init, update)


def _guarded(e_g: Any, eps: chex.Numeric) -> Any:
    """Return `e_g + eps` where that is positive, else 1: there every gradient was 0."""
    guarded = e_g + eps
    return guarded if is_concrete_number(eps) and eps > 0 else _nonzero(guarded)


def _nonzero(divisor: Any) -> Any:
    """Return the divisor, or 1 where it is 0: what it divides is multiplied by 0 there."""
    return jnp.where(divisor == 0, 1, divisor)


def adadelta(
    learning_rate: optax.ScalarOrSchedule | None = None,
    rho: chex.Numeric = 0.9,
    eps: chex.Numeric = 1e-6,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    weight_decay_mask: Any = None,
    *,
    update_average: str = "elementwise",
    flip_sign: bool = True,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdaDelta, the formula of the module.

    With its default `learning_rate=None`, `optax.adadelta` leaves out the sign flip and climbs;
    here None means the paper's 1.

    Args:
        learning_rate: A number >= 0 or a schedule; None for 1.
        rho: Share of the averages that survives a step, in [0, 1). The paper has 0.95.
        eps: Guard and scale of the first steps, >= 0.
        weight_decay: Multiple of the parameters that is added to the gradient: a number or a
            schedule.
        weight_decay_mask: A pytree of booleans, or a function from the parameters to one, that
            says which of them decay; None for all.
        update_average: "elementwise" or the lecture's "norm".
        flip_sign: Whether to descend; False is the sign as the lecture prints it.
        accumulator_dtype: Dtype of the averages; None for that of the parameters, at least
            float32.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = adadelta(rho=0.75)
        >>> optimizer.update(jnp.array([2.0]), optimizer.init(jnp.zeros(1)))[0].round(3)
        Array([-0.002], dtype=float32)
    """
    rule = scale_by_adadelta(
        rho, eps, update_average=update_average, accumulator_dtype=accumulator_dtype
    )
    rate = scale_by_learning_rate(
        1.0 if learning_rate is None else learning_rate, flip_sign=flip_sign
    )
    if not callable(weight_decay):
        check_non_negative(weight_decay=weight_decay)
    if weight_decay_mask is not None and not callable(weight_decay_mask):
        for flag in jax.tree.leaves(weight_decay_mask):
            check_flag(weight_decay_mask=flag)
    decay = optax.add_decayed_weights(weight_decay, weight_decay_mask)
    if is_concrete_number(weight_decay) and weight_decay == 0:
        # The state is that with any other number; what adds nothing needs no parameters.
        decay = optax.GradientTransformation(decay.init, optax.identity().update)
    chain = optax.chain(decay, rule, rate)

    def update(updates, state, params=None, **extra_args):
        if params is not None:
            check_like("updates", updates, "params", params)
            check_arrays("updates", updates)
        return chain.update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(chain.init, update)
