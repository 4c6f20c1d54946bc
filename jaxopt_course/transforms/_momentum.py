r"""Polyak's heavy ball and Nesterov's accelerated gradient.

Heavy ball keeps a velocity, the decaying sum of past descent directions (the lecture's form):

    v[t+1] = decay * v[t] - g(x[t])
    x[t+1] = x[t] + learning_rate(t) * v[t+1]

Polyak's own form has the learning rate inside the velocity, which then is the last displacement,
`v[t+1] = decay * v[t] - learning_rate(t) * g(x[t])`, `x[t+1] = x[t] + v[t+1]`. The two agree while
the learning rate is constant; when it varies, the first rescales the history with it.

Nesterov takes the gradient at the look-ahead point `y`:

    x[t+1] = y[t] - learning_rate(t) * g(y[t])
    y[t+1] = x[t+1] + decay * (x[t+1] - x[t])

A transformation is given the gradient at the parameters, so the parameters are `y`, and
`nesterov_eval_params` gives the iterate `x`. The decay may vary, as in Nesterov's paper, by
`optax.inject_hyperparams`.

On a quadratic with curvature in `[mu, L]` and `q = sqrt(L / mu)` the best constant parameters
contract the error by `(q - 1) / (q + 1)` a step for heavy ball and `1 - 1 / q` for Nesterov
(`decay = (q - 1) / (q + 1)`, learning rate `1 / L`).

Polyak (1964), https://doi.org/10.1016/0041-5553(64)90137-5. Nesterov (1983), Soviet Math. Dokl. 27;
Sutskever et al. (2013), https://proceedings.mlr.press/v28/sutskever13.html, equations 1 to 4.
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
    check_number,
    check_one_of,
)
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._leaves import cast, map_leaves, widen, zeros_like


class HeavyBallState(NamedTuple):
    """What heavy ball remembers between steps.

    Attributes:
        velocity: Decaying sum of past descent directions, a pytree like the parameters.
    """

    velocity: optax.Updates


class NesterovState(NamedTuple):
    """What Nesterov's method remembers between steps.

    Attributes:
        look_ahead: `decay * v`, how far the parameters are ahead of the iterate, a pytree like the
            parameters.
    """

    look_ahead: optax.Updates


class StepVelocityState(NamedTuple):
    """A mark in the state of a chain: its velocity sums up steps, in the units of the parameters.

    A velocity that sums up gradients has no such mark: the iterate is then found with the learning
    rate, which the state does not hold.
    """


def scale_by_heavy_ball(
    decay: chex.Numeric = 0.9, *, accumulator_dtype: Any = None
) -> optax.GradientTransformation:
    """The negative velocity in place of the gradient, the formula of the module.

    The velocity has the lecture's sign, `v = decay * v - gradient`; the update is `-v`, so that
    a learning rate with its sign flip follows, as after any gradient. `optax.trace` keeps `-v`.

    Args:
        decay: Share of the velocity that survives a step, in [0, 1).
        accumulator_dtype: Dtype of the velocity; None for that of the parameters.

    Returns:
        A transformation with a `HeavyBallState`.

    Raises:
        ValueError: if `decay` lies outside [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> momentum = scale_by_heavy_ball(0.5)
        >>> _, state = momentum.update(jnp.array(1.0), momentum.init(jnp.array(0.0)))
        >>> momentum.update(jnp.array(1.0), state)
        (Array(1.5, dtype=float32...), HeavyBallState(velocity=Array(-1.5, dtype=float32...)))
    """
    check_fraction(decay=decay)
    check_inexact_dtype(accumulator_dtype=accumulator_dtype, optional=True)

    def init(params):
        return HeavyBallState(velocity=zeros_like(params, accumulator_dtype))

    def update(updates, state, params=None):
        del params

        def step(gradient, velocity):
            new = decay * widen(velocity) - widen(gradient)
            return cast(-new, gradient.dtype), cast(new, velocity.dtype)

        updates, velocity = map_leaves(step, updates, state.velocity)
        return updates, HeavyBallState(velocity=velocity)

    return optax.GradientTransformation(init, update)


def heavy_ball(
    learning_rate: optax.ScalarOrSchedule,
    decay: chex.Numeric = 0.9,
    *,
    learning_rate_in_velocity: bool = False,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with Polyak's momentum, the formula of the module.

    Under a schedule the default (also `optax.sgd`'s and torch's) rescales the whole history with
    the current learning rate; `learning_rate_in_velocity=True` is Polyak's
    `x[t+1] = x[t] - learning_rate(t) g[t] + decay (x[t] - x[t-1])`.

    Args:
        learning_rate: A number >= 0 or a schedule.
        decay: Share of the velocity that survives a step, in [0, 1).
        learning_rate_in_velocity: Whether the velocity sums up steps instead of gradients.
        accumulator_dtype: Dtype of the velocity; None for that of the parameters.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if `decay` lies outside [0, 1) or `learning_rate` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = heavy_ball(0.1, decay=0.5)
        >>> optimizer.update(jnp.array([1.0]), optimizer.init(jnp.zeros(1)))[0]
        Array([-0.1], dtype=float32)
    """
    check_flag(learning_rate_in_velocity=learning_rate_in_velocity)
    momentum = scale_by_heavy_ball(decay, accumulator_dtype=accumulator_dtype)
    return _with_learning_rate(learning_rate, momentum, learning_rate_in_velocity)


def scale_by_nesterov(
    decay: chex.Numeric = 0.9, *, accumulator_dtype: Any = None
) -> optax.GradientTransformation:
    """Nesterov's `g - decay * v` with `v = decay * v - g`, in place of the gradient.

    Args:
        decay: Share of the velocity that survives a step, in [0, 1).
        accumulator_dtype: Dtype of the velocity; None for that of the parameters.

    Returns:
        A transformation with a `NesterovState`.

    Raises:
        ValueError: if `decay` lies outside [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> momentum = scale_by_nesterov(0.5)
        >>> momentum.update(jnp.array([1.0]), momentum.init(jnp.zeros(1)))[0]
        Array([1.5], dtype=float32)
    """
    check_fraction(decay=decay)
    check_inexact_dtype(accumulator_dtype=accumulator_dtype, optional=True)

    def init(params):
        return NesterovState(look_ahead=zeros_like(params, accumulator_dtype))

    def update(updates, state, params=None):
        del params

        def step(gradient, look_ahead):
            wide = widen(gradient)
            # Not decay * (look_ahead - wide): XLA computes a product by a scalar twice, once from
            # the old look-ahead, which it then copies before the new one takes its place.
            new = decay * widen(look_ahead) - decay * wide
            return cast(wide - new, gradient.dtype), cast(new, look_ahead.dtype)

        updates, look_ahead = map_leaves(step, updates, state.look_ahead)
        return updates, NesterovState(look_ahead=look_ahead)

    return optax.GradientTransformation(init, update)


def nesterov(
    learning_rate: optax.ScalarOrSchedule,
    decay: chex.Numeric = 0.9,
    *,
    learning_rate_in_velocity: bool = True,
    look_ahead: str = "scaled",
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Nesterov's accelerated gradient, the formula of the module; the parameters are `y`.

    `learning_rate_in_velocity=False` is the form of `optax.sgd(nesterov=True)` and torch: equal
    at a constant learning rate, not Nesterov's method under a schedule.

    The lecture prints the look-ahead point `x + decay * v` with the velocity of gradients,
    `1 / learning_rate` times too far: `look_ahead="raw"`, which needs
    `learning_rate_in_velocity=False`, diverges wherever the curvature exceeds
    `(1 + decay) / decay`, however small the learning rate.

    Args:
        learning_rate: A number >= 0 or a schedule.
        decay: Share of the velocity that survives a step, in [0, 1).
        learning_rate_in_velocity: Whether the velocity sums up steps instead of gradients.
        look_ahead: "scaled" for `x + learning_rate * decay * v`, "raw" for `x + decay * v` where
            `v` sums up gradients.
        accumulator_dtype: Dtype of the velocity; None for that of the parameters.

    Returns:
        The complete optimizer. `nesterov_eval_params` turns its parameters into the iterate.

    Raises:
        ValueError: if `decay` lies outside [0, 1), `learning_rate` is negative, or "raw" is
            combined with `learning_rate_in_velocity=True`.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = nesterov(0.1, decay=0.5)
        >>> optimizer.update(jnp.array([1.0]), optimizer.init(jnp.zeros(1)))[0]
        Array([-0.15], dtype=float32)
    """
    check_one_of(("scaled", "raw"), look_ahead=look_ahead)
    check_flag(learning_rate_in_velocity=learning_rate_in_velocity)
    momentum = scale_by_nesterov(decay, accumulator_dtype=accumulator_dtype)
    if look_ahead == "scaled":
        return _with_learning_rate(learning_rate, momentum, learning_rate_in_velocity)
    if learning_rate_in_velocity:
        raise ValueError('look_ahead="raw" needs learning_rate_in_velocity=False, got True')
    return _with_raw_look_ahead(learning_rate, decay, accumulator_dtype)


def nesterov_eval_params(
    state: optax.OptState, params: optax.Params, *, learning_rate: chex.Numeric = 1.0
) -> optax.Params:
    """The iterate `x` at which to evaluate, from the look-ahead point `y` that is trained.

        x = params - learning_rate * look_ahead

    Args:
        state: State of `nesterov`, or any state (of a chain, of injected hyperparameters) that
            holds exactly one `NesterovState`.
        params: The parameters that `state` belongs to.
        learning_rate: What multiplied the velocity in the last step. 1 for `nesterov` as it is by
            default and with `look_ahead="raw"`; the learning rate itself for
            `learning_rate_in_velocity=False`.

    Returns:
        The iterate, with the structure and dtypes of `params`.

    Raises:
        ValueError: if `state` does not hold exactly one `NesterovState`.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = nesterov(0.1)
        >>> nesterov_eval_params(optimizer.init(jnp.array([2.0])), jnp.array([2.0]))
        Array([2.], dtype=float32)
    """
    check_number(learning_rate=learning_rate)
    check_arrays("params", params)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, NesterovState))
    found = [node for node in nodes if isinstance(node, NesterovState)]
    if len(found) != 1:
        raise ValueError(f"state must hold exactly one NesterovState, got {len(found)}")
    (ahead,) = found[0]

    def is_masked(node):
        return isinstance(node, optax.MaskedNode)

    def step_back(v, y):
        if is_masked(v):
            return y
        return (widen(y) - learning_rate * widen(v)).astype(y.dtype)

    try:
        iterate = jax.tree.map(step_back, ahead, params, is_leaf=is_masked)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"params must be those that state belongs to: {error}") from error
    for y, x in zip(jax.tree.leaves(params), jax.tree.leaves(iterate), strict=True):
        if x.shape != y.shape:
            raise ValueError(f"params must have the shapes of state, got {y.shape} for {x.shape}")
    return iterate


def _with_learning_rate(
    learning_rate: optax.ScalarOrSchedule,
    momentum: optax.GradientTransformation,
    learning_rate_in_velocity: bool,
) -> optax.GradientTransformationExtraArgs:
    """Chain `momentum` with the learning rate, which comes first where the velocity holds it."""
    if not learning_rate_in_velocity:
        return optax.chain(momentum, scale_by_learning_rate(learning_rate))
    rate = scale_by_learning_rate(learning_rate, flip_sign=False)
    return optax.chain(rate, momentum, _descend())


def _descend() -> optax.GradientTransformation:
    """Flip the sign of steps, and say in the state that the velocity before it sums them up."""

    def init(params):
        del params
        return StepVelocityState()

    def update(updates, state, params=None):
        del params
        return jax.tree.map(jnp.negative, updates), state

    return optax.GradientTransformation(init, update)


def _with_raw_look_ahead(
    learning_rate: optax.ScalarOrSchedule, decay: chex.Numeric, accumulator_dtype: Any
) -> optax.GradientTransformationExtraArgs:
    """Nesterov as the lecture prints it: `y = x + decay * v`, `x += learning_rate * v`.

    In terms of the parameters `y` alone:
    `y[t+1] = y[t] + learning_rate * v[t+1] + decay * (v[t+1] - v[t])`.
    """
    rate = scale_by_learning_rate(learning_rate, flip_sign=False)

    def init(params):
        return NesterovState(zeros_like(params, accumulator_dtype)), rate.init(params)

    def update(updates, state, params=None):
        del params
        momentum, rate_state = state

        def accelerate(gradient, old):
            return widen(old) - widen(gradient), old

        velocity, old = map_leaves(accelerate, updates, momentum.look_ahead)
        steps, rate_state = rate.update(velocity, rate_state)

        def look_ahead(step, velocity, old):
            new = decay * velocity
            return step + (new - widen(old)), velocity, cast(new, old.dtype)

        shifts, _, ahead = map_leaves(look_ahead, steps, velocity, old)
        updates = optax.tree.cast_like(shifts, updates)
        return updates, (NesterovState(ahead), rate_state)

    return optax.with_extra_args_support(optax.GradientTransformation(init, update))
