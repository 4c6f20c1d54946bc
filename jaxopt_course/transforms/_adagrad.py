r"""AdaGrad: each coordinate divides its learning rate by the root of its squared gradients' sum.

    s[t] = s[t-1] + g[t]^2
    x[t+1] = x[t] - learning_rate * g[t] / sqrt(s[t] + eps)

Duchi, Hazan, Singer (2011), https://jmlr.org/papers/v12/duchi11a.html, figure 1 (diagonal form),
has the guard outside the root, `sqrt(s[t]) + eps`, and `s[0] = 0`.

The lecture sums gradients up to `t - 1` only, with the guard outside: `accumulate="previous",
eps_in_sqrt=False`. Its first step then is `learning_rate * g / eps`, for eps = 1e-8 and g = 0.3
3e7 learning rates long instead of one.
"""

from typing import Any, NamedTuple

import chex
import optax

from jaxopt_course._checks import (
    check_finite,
    check_flag,
    check_inexact_dtype,
    check_non_negative,
    check_one_of,
)
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._leaves import (
    abs_square,
    cast,
    full_like_squares,
    inverse_root,
    map_leaves,
    widen,
)


class AdaGradState(NamedTuple):
    """What AdaGrad remembers between steps.

    Attributes:
        sum_of_squares: Sum of all squared gradients, a pytree like the parameters.
    """

    sum_of_squares: optax.Updates


def scale_by_adagrad(
    initial_accumulator_value: chex.Numeric = 0.0,
    eps: chex.Numeric = 1e-7,
    *,
    eps_in_sqrt: bool = True,
    accumulate: str = "current",
    exponent: chex.Numeric = -0.5,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformation:
    """The gradient over the root of the sum of its squares, the formula of the module.

    `optax.scale_by_rss` starts the sum at 0.1, so that gradients much below 0.3 are not adapted
    to for a long time; here it starts at the paper's 0.

    Args:
        initial_accumulator_value: Start of the sum, >= 0.
        eps: Guard against division by zero, >= 0.
        eps_in_sqrt: Whether `eps` stands inside the root, as in optax, or is added to it, as in
            the paper and torch.
        accumulate: "current" to divide by the sum with the current gradient, "previous" for the
            lecture's sum without it.
        exponent: Power of the sum that multiplies the gradient.
        accumulator_dtype: Dtype of the sum; None for that of the parameters, at least float32.

    Returns:
        A transformation with an `AdaGradState`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> rule = scale_by_adagrad(eps=0.0)
        >>> rule.update(jnp.array([3.0, -0.1]), rule.init(jnp.zeros(2)))[0].round(3)
        Array([ 1., -1.], dtype=float32)
    """
    check_non_negative(initial_accumulator_value=initial_accumulator_value, eps=eps)
    check_finite(exponent=exponent)
    check_inexact_dtype(accumulator_dtype=accumulator_dtype, optional=True)
    check_one_of(("current", "previous"), accumulate=accumulate)
    check_flag(eps_in_sqrt=eps_in_sqrt)

    def init(params):
        return AdaGradState(
            full_like_squares(params, initial_accumulator_value, dtype=accumulator_dtype)
        )

    def update(updates, state, params=None):
        del params

        def step(gradient, old):
            wide, previous = widen(gradient), widen(old)
            current = abs_square(wide) + previous
            squares = current if accumulate == "current" else previous
            factor = inverse_root(squares, eps, eps_in_sqrt=eps_in_sqrt, exponent=exponent)
            return cast(factor * wide, gradient.dtype), cast(current, old.dtype)

        updates, sum_of_squares = map_leaves(step, updates, state.sum_of_squares)
        return updates, AdaGradState(sum_of_squares)

    return optax.GradientTransformation(init, update)


def adagrad(
    learning_rate: optax.ScalarOrSchedule,
    initial_accumulator_value: chex.Numeric = 0.0,
    eps: chex.Numeric = 1e-7,
    *,
    eps_in_sqrt: bool = True,
    accumulate: str = "current",
    exponent: chex.Numeric = -0.5,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdaGrad, the formula of the module; every keyword as in `scale_by_adagrad`.

    `adagrad(rate, eps=1e-10, eps_in_sqrt=False)` is `torch.optim.Adagrad`;
    `adagrad(rate, initial_accumulator_value=0.1)` is `optax.adagrad`.

    Args:
        learning_rate: A number >= 0 or a schedule.
        initial_accumulator_value: Start of the sum, >= 0 (optax starts at 0.1).
        eps: Guard against division by zero, >= 0.
        eps_in_sqrt: Whether `eps` stands inside the root.
        accumulate: "current" or the lecture's "previous".
        exponent: Power of the sum that multiplies the gradient.
        accumulator_dtype: Dtype of the sum; None for that of the parameters, at least float32.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = adagrad(0.5, eps=0.0)
        >>> optimizer.update(jnp.array([3.0, -0.1]), optimizer.init(jnp.zeros(2)))[0].round(3)
        Array([-0.5,  0.5], dtype=float32)
    """
    return optax.chain(
        scale_by_adagrad(
            initial_accumulator_value,
            eps,
            eps_in_sqrt=eps_in_sqrt,
            accumulate=accumulate,
            exponent=exponent,
            accumulator_dtype=accumulator_dtype,
        ),
        scale_by_learning_rate(learning_rate),
    )
