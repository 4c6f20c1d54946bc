r"""Gradient descent, and the learning rate that ends every rule of this package.

    x[t+1] = x[t] - learning_rate(t) * g[t]

On a function with `beta`-Lipschitz gradient the step `1 / beta` decreases the value by at least
`||g||^2 / (2 beta)` (the descent lemma).

Cauchy (1847), "Methode generale pour la resolution des systemes d'equations simultanees",
C. R. Acad. Sci. Paris 25; Nesterov (2018), "Lectures on Convex Optimization", section 1.2.3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_course._checks import check_flag, check_non_negative
from jaxopt_course.transforms._leaves import cast, map_leaves, matching, widen


class LearningRateState(NamedTuple):
    """What a scheduled learning rate remembers between steps.

    Attributes:
        count: Number of steps taken, a scalar int32: the argument of the schedule.
    """

    count: jax.typing.ArrayLike


def scale_by_learning_rate(
    learning_rate: optax.ScalarOrSchedule, *, flip_sign: bool = True
) -> optax.GradientTransformation:
    """The updates times `-learning_rate`, the last link of every complete optimizer.

    The product is taken in at least float32 and rounded once to the dtype of the update.
    `optax.scale_by_learning_rate(None)`, and with it optax's default AdaDelta, returns the updates
    without the sign flip, so that they climb; here None is an error.

    Args:
        learning_rate: A number >= 0, or a schedule: a function from the count of steps (an int32
            scalar that starts at 0) to a number.
        flip_sign: Whether to multiply by `-learning_rate` (descent) instead of `learning_rate`.

    Returns:
        A transformation whose state is a `LearningRateState` for a schedule and empty otherwise.

    Raises:
        TypeError: if `learning_rate` is None.
        ValueError: if `learning_rate` is a negative number.

    Example:
        >>> import jax.numpy as jnp
        >>> descent = scale_by_learning_rate(0.1)
        >>> descent.update(jnp.array([1.0, 2.0]), descent.init(jnp.zeros(2)))[0]
        Array([-0.1, -0.2], dtype=float32)
    """
    if learning_rate is None:
        raise TypeError("learning_rate must be a number or a schedule, got None")
    if not callable(learning_rate):
        check_non_negative(learning_rate=learning_rate)
    check_flag(flip_sign=flip_sign)

    def scale(updates: optax.Updates, rate: Any) -> optax.Updates:
        factor = -rate if flip_sign else rate

        def scale_leaf(update):
            wide = widen(update)
            return (cast(matching(factor, wide) * wide, update.dtype),)

        return map_leaves(scale_leaf, updates)[0]

    if callable(learning_rate):

        def init_schedule(params):
            del params
            return LearningRateState(count=jnp.zeros([], jnp.int32))

        def update_schedule(updates, state, params=None):
            del params
            updates = scale(updates, learning_rate(state.count))
            return updates, LearningRateState(count=optax.safe_increment(state.count))

        return optax.GradientTransformation(init_schedule, update_schedule)

    def init_constant(params):
        del params
        return optax.EmptyState()

    def update_constant(updates, state, params=None):
        del params
        return scale(updates, learning_rate), state

    return optax.GradientTransformation(init_constant, update_constant)


def gradient_descent(
    learning_rate: optax.ScalarOrSchedule,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent: steps against the gradient, the formula of the module.

    Args:
        learning_rate: A number >= 0 or a schedule, see `scale_by_learning_rate`.

    Returns:
        The complete optimizer; extra arguments of `update` are ignored.

    Raises:
        TypeError: if `learning_rate` is None.
        ValueError: if `learning_rate` is a negative number.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = gradient_descent(0.1)
        >>> optimizer.update(jnp.array([1.0, 2.0]), optimizer.init(jnp.zeros(2)))[0]
        Array([-0.1, -0.2], dtype=float32)
    """
    return optax.with_extra_args_support(scale_by_learning_rate(learning_rate))
