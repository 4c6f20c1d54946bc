r"""Perturbed accelerated gradient descent with negative-curvature exploitation.

    x[t] += noise from the ball of `radius`     if |grad f(x[t])| <= gradient_threshold
                                                and none was added in the last `interval` steps
    y[t]   = x[t] + (1 - theta) v[t]
    x[t+1] = y[t] - learning_rate * grad f(y[t])
    v[t+1] = x[t+1] - x[t]

    if f(x[t]) <= f(y[t]) + <grad f(y[t]), x[t] - y[t]> - (gamma / 2) |x[t] - y[t]|^2:
        x[t+1] = x[t]                                     if |v[t]| >= nce_radius
                 argmin of f over x[t] +- d               otherwise, d = nce_radius v[t] / |v[t]|
        v[t+1] = 0

The condition says that f curves down between x and y by more than gamma: momentum could then raise
the Hamiltonian f(x[t]) + |v[t]|^2 / (2 learning_rate), so it is dropped, and the curvature that
was found is used instead. In all other steps without noise the Hamiltonian falls. With the paper's
constants an epsilon-second-order stationary point is reached in O(log^6 / epsilon^(7/4)) steps,
against O(log^4 / epsilon^2) without momentum.

Two guards are ours. The condition must hold by more than the rounding of f: at v = 0 it holds with
equality, and near a minimum it is decided by noise. And where neither x[t] + d nor x[t] - d is
below f(x[t]), which rounding or a `gamma` below the paper's can cause, x[t] is kept.

Jin, Netrapalli, Jordan (2018), algorithms 2 and 3, https://arxiv.org/abs/1711.10456.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import theory
from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_arrays,
    check_key,
    check_non_negative,
    check_number,
    check_positive,
    check_real_floating,
    is_concrete_number,
)
from jaxopt_course.transforms._leaves import global_norm, sum_of_squares, widen
from jaxopt_course.transforms._perturbation import perturb_at_saddle
from jaxopt_course.transforms._second_order import is_empty, objective, scalar_dtype


class PerturbedAcceleratedState(NamedTuple):
    """What perturbed accelerated gradient descent remembers between steps.

    Attributes:
        velocity: v[t], a pytree like the parameters.
        count: Scalar int32; steps taken, the argument of a learning-rate schedule.
        num_exploitations: Scalar int32; steps in which negative curvature was exploited.
        perturbation: The `PerturbAtSaddleState` of the noise.
    """

    velocity: optax.Updates
    count: Any
    num_exploitations: jax.typing.ArrayLike
    perturbation: Any


def perturbed_accelerated_gradient_descent(
    learning_rate: chex.Numeric | optax.Schedule,
    momentum: chex.Numeric,
    gamma: chex.Numeric,
    nce_radius: chex.Numeric,
    radius: chex.Numeric,
    gradient_threshold: chex.Numeric,
    interval: chex.Numeric,
    key: jax.Array,
) -> optax.GradientTransformationExtraArgs:
    """Perturbed accelerated gradient descent, the formula of the module.

    The parameters are x, so every step takes a second gradient, at y; `update` needs `params` and
    `value_fn`, as `optax.lbfgs` does. The gradient at x is `grad` if given, else the updates.

    Args:
        learning_rate: A number > 0 or a schedule; 1 / (4 L) in the paper.
        momentum: theta in (0, 1]: the share of the velocity that is LOST at each step.
        gamma: Curvature beyond which momentum gives way to exploitation, >= 0; theta^2 /
            learning_rate in the paper. inf switches exploitation off.
        nce_radius: Length of the move along negative curvature, > 0; gamma / (4 rho).
        radius: Radius of the ball of the noise, >= 0, in the units of the parameters.
        gradient_threshold: The largest gradient norm at which noise is added, >= 0; epsilon.
        interval: Steps that must pass between two perturbations, >= 0.
        key: Typed PRNG key of the noise; give each run of a batch its own.

    Returns:
        The complete optimizer; its state is a `PerturbedAcceleratedState`.
        `perturbed_accelerated_gradient_descent.from_smoothness` has the paper's constants.

    Raises:
        ValueError: if a number is out of range, or `update` gets no params or value_fn.
        TypeError: if `key` is not a typed key.

    Example:
        >>> fun = lambda x: x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2
        >>> import functools
        >>> optimizer = perturbed_accelerated_gradient_descent(
        ...     0.1, 0.2, gamma=0.4, nce_radius=0.1, radius=1e-3, gradient_threshold=1e-3,
        ...     interval=50, key=jax.random.key(0),
        ... )
        >>> update = jax.jit(functools.partial(optimizer.update, value_fn=fun))
        >>> x = jnp.zeros(2)
        >>> state = optimizer.init(x)
        >>> for _ in range(100):
        ...     updates, state = update(jax.grad(fun)(x), state, x)
        ...     x = optax.apply_updates(x, updates)
        >>> print(abs(x).round(2))
        [0. 1.]
    """
    check_number(momentum=momentum)
    if is_concrete_number(momentum) and not 0 < momentum <= 1:
        raise ValueError(f"momentum must lie in (0, 1], got {brief(momentum)}")
    check_positive(nce_radius=nce_radius)
    if not callable(learning_rate):
        check_positive(learning_rate=learning_rate)
    check_non_negative(gamma=gamma)
    check_key(key=key)
    noise = perturb_at_saddle(radius, gradient_threshold, interval, key)

    def init(params):
        check_real_floating("params", params)
        check_arrays("params", params)
        zero = jnp.zeros([], jnp.int32)
        return PerturbedAcceleratedState(
            velocity=jax.tree.map(jnp.zeros_like, params),
            count=zero,
            num_exploitations=zero,
            perturbation=noise.init(params),
        )

    def update(updates, state, params=None, *, grad=None, value_fn=None, **extra_args):
        fun = objective(
            "perturbed_accelerated_gradient_descent", updates, params, value_fn, extra_args
        )
        if is_empty(updates):
            return updates, state
        dtype = scalar_dtype(params)
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate

        # Noise where the gradient is small, then the look-ahead point and Nesterov's step from it.
        perturbation, perturbation_state = noise.update(
            jax.tree.map(jnp.zeros_like, params),
            state.perturbation,
            grad=updates if grad is None else grad,
        )
        x = _axpy(1, perturbation, params)
        y = _axpy(1 - momentum, state.velocity, x)
        value_at_x = jnp.asarray(fun(x), dtype)
        value_at_y, gradient_at_y = jax.value_and_grad(fun)(y)
        value_at_y = jnp.asarray(value_at_y, dtype)
        accelerated = _axpy(-jnp.asarray(rate), gradient_at_y, y)

        # Whether f is so far from convex between the two points that its curvature can be used.
        back = jax.tree.map(jnp.subtract, x, y)
        tangent = value_at_y + jnp.asarray(_vdot(gradient_at_y, back), dtype)
        allowed = jnp.asarray(gamma, dtype) / 2 * sum_of_squares(back).astype(dtype)
        rounding = 4 * jnp.finfo(dtype).eps * (jnp.abs(value_at_x) + jnp.abs(value_at_y))
        # At v = 0 the two sides are equal, and inf * 0 is NaN: strict, and false for NaN.
        exploit = value_at_x < tangent - allowed - rounding

        # If so, negative curvature is exploited along the velocity, which is then forgotten.
        speed = global_norm(state.velocity).astype(dtype)
        scale = jnp.asarray(nce_radius, dtype) / jnp.where(speed > 0, speed, 1)

        def along_velocity() -> Any:
            """Take the lowest of x, x + d and x - d."""
            sides = [_axpy(sign * scale, state.velocity, x) for sign in (1, -1)]
            ahead, behind = (jnp.asarray(fun(side), dtype) for side in sides)
            best = jax.tree.map(lambda a, b: jnp.where(ahead <= behind, a, b), *sides)
            lower = jnp.minimum(ahead, behind) < value_at_x
            return jax.tree.map(lambda b, old: jnp.where(lower, b, old), best, x)

        # Both branches are computed under vmap; the costlier one is two evaluations of f.
        following = jax.lax.cond(
            exploit,
            lambda: jax.lax.cond(speed >= nce_radius, lambda: x, along_velocity),
            lambda: accelerated,
        )
        velocity = jax.tree.map(
            lambda new, old: jnp.where(exploit, jnp.zeros_like(old), new - old), following, x
        )
        step = jax.tree.map(jnp.subtract, following, params)
        return step, PerturbedAcceleratedState(
            velocity=velocity,
            count=optax.safe_increment(state.count),
            num_exploitations=state.num_exploitations + exploit,
            perturbation=perturbation_state,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def perturbed_accelerated_gradient_descent_from_smoothness(
    *,
    smoothness: float,
    hessian_lipschitz: float,
    epsilon: float,
    failure_probability: float,
    function_gap: float,
    dimension: int,
    key: jax.Array,
    c: float = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """Perturbed accelerated gradient descent with the constants of its theorem.

    Args:
        smoothness: Lipschitz constant of the gradient.
        hessian_lipschitz: Lipschitz constant of the Hessian.
        epsilon: Gradient norm wanted; the curvature wanted is `-sqrt(hessian_lipschitz * epsilon)`.
        failure_probability: Probability with which the run may miss such a point.
        function_gap: Value at the start minus the minimum.
        dimension: Number of parameters.
        key: Typed PRNG key of the noise.
        c: The absolute constant of the theorem.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: as `theory.perturbed_agd_parameters`.
        TypeError: if `key` is not a typed key.

    Example:
        >>> optimizer = perturbed_accelerated_gradient_descent.from_smoothness(
        ...     smoothness=2.0, hessian_lipschitz=1.0, epsilon=1e-2, failure_probability=0.1,
        ...     function_gap=1.0, dimension=2, key=jax.random.key(0))

    Reference:
        Jin, Netrapalli, Jordan (2018), algorithm 2 and equation 3.
    """
    constants = theory.perturbed_agd_parameters(
        smoothness=smoothness,
        hessian_lipschitz=hessian_lipschitz,
        epsilon=epsilon,
        failure_probability=failure_probability,
        function_gap=function_gap,
        dimension=dimension,
        c=c,
    )
    return perturbed_accelerated_gradient_descent(*constants, key=key)


# pyrefly: ignore[missing-attribute]
perturbed_accelerated_gradient_descent.from_smoothness = (
    perturbed_accelerated_gradient_descent_from_smoothness
)


def _vdot(one: Any, other: Any) -> jax.Array:
    """Return the inner product over all leaves, in at least float32.

    No dot product: over leaves sharded on explicit axes it would need an annotation.
    """
    products = jax.tree.map(lambda a, b: widen(a) * widen(b), one, other)
    return jnp.asarray(optax.tree.sum(products))


def _axpy(factor: Any, direction: Any, base: Any) -> Any:
    """Return `base + factor * direction` in the dtypes of `base`."""
    return jax.tree.map(lambda b, d: b + jnp.asarray(factor, b.dtype) * d, base, direction)
