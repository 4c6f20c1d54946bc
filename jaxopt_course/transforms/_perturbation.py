r"""Perturbed gradient descent: noise where the gradient is small, which may be a saddle.

    x[t+1] = x[t] - learning_rate * g[t] + xi[t],
    xi[t] uniform in the ball of `radius` if |g[t]| <= gradient_threshold
                                        and more than `interval` steps passed since the last noise

The paper moves to x[t] + xi[t] first and takes the gradient there, a second evaluation. One
evaluation serves here: the iterates differ by learning_rate * |H| * radius at most in a step that
perturbs, and not at all in any other.

Jin, Ge, Netrapalli, Kakade and Jordan (2017), "How to Escape Saddle Points Efficiently",
Algorithm 2 ("PGD"), https://arxiv.org/abs/1703.00887.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import theory
from jaxopt_course._batching import update_where
from jaxopt_course._checks import check_arrays, check_key, check_non_negative, check_real_floating
from jaxopt_course._streams import stream
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._leaves import global_norm
from jaxopt_course.transforms._noise import add_scaled, draw_noise
from jaxopt_course.transforms._protocol import masked_like


class PerturbAtSaddleState(NamedTuple):
    """What perturbation at small gradients remembers.

    Attributes:
        key: The noise's own stream of the key that was given; the n-th is drawn from
            `fold_in(key, n)`.
        since_last: Steps since the last noise, int32 scalar; the largest int32 before the first.
        num_perturbations: How often noise was added, int32 scalar.
    """

    key: jax.Array
    since_last: jax.Array
    num_perturbations: jax.Array


def perturb_at_saddle(
    radius: chex.Numeric,
    gradient_threshold: chex.Numeric,
    interval: chex.Numeric,
    key: jax.Array,
) -> optax.GradientTransformationExtraArgs:
    """Noise from a ball on the updates where the gradient is small.

    Put it last in a chain, behind the learning rate, so that `radius` is a distance between
    parameters. The gradient whose norm is compared is the extra argument `grad` where `update` gets
    one (as `saddle.escape` passes it), otherwise the incoming updates: behind a rescaling, pass it.

    In a batch under `vmap`, a CPU draws noise only for the members that are due; accelerators draw
    it for all, which is cheaper there.

    Args:
        radius: Radius of the ball, in units of the parameters.
        gradient_threshold: Noise is due where the gradient norm over all leaves is at most this ...
        interval: ... and more than this many steps have passed since the last noise.
        key: A typed key; a batch of keys under `vmap` gives independent noise.

    Returns:
        An `optax.GradientTransformationExtraArgs` with `PerturbAtSaddleState`.

    Raises:
        ValueError: for a negative radius, threshold or interval.
        TypeError: for a key that is not a typed key, or parameters that are not real floats.

    Example:
        >>> perturb = perturb_at_saddle(0.1, 1e-3, 10, jax.random.key(0))
        >>> updates, state = perturb.update(jnp.zeros(2), perturb.init(jnp.zeros(2)))
        >>> bool(0 < jnp.linalg.norm(updates) <= 0.1), int(state.num_perturbations)
        (True, 1)

    Reference:
        Jin et al. (2017), Algorithm 2, line 3 to 5; the constants are
        `theory.perturbed_gd_parameters`.
    """
    check_non_negative(radius=radius, gradient_threshold=gradient_threshold, interval=interval)
    check_key(key=key)

    def init(params):
        check_real_floating("params", params)
        check_arrays("params", params)
        return PerturbAtSaddleState(
            key=stream(key, "perturbation"),
            since_last=jnp.full((), jnp.iinfo(jnp.int32).max, jnp.int32),
            num_perturbations=jnp.zeros((), jnp.int32),
        )

    def update(updates, state, params=None, *, grad=None, **extra_args):
        del params, extra_args
        grad = updates if grad is None else masked_like(grad, updates)
        for name, tree in (("updates", updates), ("grad", grad)):
            check_real_floating(name, tree)
            check_arrays(name, tree)
        norm = global_norm(grad)
        due = (norm <= gradient_threshold) & (state.since_last > interval)

        def perturb(updates, key, number, radius):
            noise = draw_noise(key, number, updates, "ball")
            return add_scaled(updates, radius, noise)

        perturbed = update_where(perturb, cheap=True)(
            due, updates, state.key, state.num_perturbations, jnp.asarray(radius)
        )
        return perturbed, PerturbAtSaddleState(
            key=state.key,
            since_last=jnp.where(due, 1, optax.safe_increment(state.since_last)),
            num_perturbations=state.num_perturbations + due,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def perturbed_gradient_descent(
    learning_rate: optax.ScalarOrSchedule,
    radius: chex.Numeric,
    gradient_threshold: chex.Numeric,
    interval: chex.Numeric,
    key: jax.Array,
) -> optax.GradientTransformationExtraArgs:
    """Perturbed gradient descent: gradient steps, with noise where the gradient is small.

    Args:
        learning_rate: A number or a schedule.
        radius: Radius of the ball, in units of the parameters.
        gradient_threshold: Largest gradient norm at which noise is due.
        interval: Steps that must have passed since the last noise.
        key: A typed key. For a batch of runs use a function of the key,
            `lambda key: perturbed_gradient_descent(..., key=key)`.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: for a negative rate, radius, threshold or interval.
        TypeError: for a key that is not a typed key, or parameters that are not real floats.

    Example:
        >>> optimizer = perturbed_gradient_descent(0.1, 0.01, 1e-3, 10, key=jax.random.key(0))
        >>> updates, _ = optimizer.update(jnp.zeros(2), optimizer.init(jnp.zeros(2)))
        >>> bool(jnp.all(updates != 0))
        True

    Reference:
        Jin et al. (2017), Algorithm 2. `perturbed_gradient_descent.from_smoothness(smoothness=...,
        hessian_lipschitz=..., epsilon=..., failure_probability=..., function_gap=...,
        dimension=..., key=...)` takes the constants of its Theorem 3.
    """
    chain = optax.chain(
        scale_by_learning_rate(learning_rate),
        perturb_at_saddle(radius, gradient_threshold, interval, key),
    )

    def update(updates, state, params=None, **extra_args):
        # What arrives here is the gradient; behind the learning rate it no longer is.
        return chain.update(updates, state, params, **{"grad": updates, **extra_args})

    return optax.GradientTransformationExtraArgs(chain.init, update)


def _from_smoothness(
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
    """Perturbed gradient descent with the constants of its theorem.

    Args:
        smoothness: Lipschitz constant of the gradient.
        hessian_lipschitz: Lipschitz constant of the Hessian.
        epsilon: Gradient norm wanted; the curvature wanted is `-sqrt(hessian_lipschitz * epsilon)`.
        failure_probability: Probability with which the run may miss such a point.
        function_gap: Value at the start minus the minimum.
        dimension: Number of parameters.
        key: A typed key.
        c: The absolute constant of the theorem.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: as `theory.perturbed_gd_parameters`.

    Example:
        >>> optimizer = perturbed_gradient_descent.from_smoothness(
        ...     smoothness=2.0, hessian_lipschitz=1.0, epsilon=1e-2, failure_probability=0.1,
        ...     function_gap=1.0, dimension=2, key=jax.random.key(0))

    Reference:
        Jin et al. (2017), Theorem 3 and Algorithm 2.
    """
    constants = theory.perturbed_gd_parameters(
        smoothness=smoothness,
        hessian_lipschitz=hessian_lipschitz,
        epsilon=epsilon,
        failure_probability=failure_probability,
        function_gap=function_gap,
        dimension=dimension,
        c=c,
    )
    return perturbed_gradient_descent(
        constants.learning_rate,
        constants.radius,
        constants.gradient_threshold,
        constants.interval,
        key=key,
    )


# pyrefly: ignore[missing-attribute]
perturbed_gradient_descent.from_smoothness = _from_smoothness
