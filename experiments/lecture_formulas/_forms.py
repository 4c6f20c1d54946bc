"""The lecture's and the papers' forms of each rule, run where they differ.

Every function returns an array whose axis `form` is (paper, lecture). In double precision where the
caller enables it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course import nn, transforms

DECAY = 0.9
"""Momentum decay beta of heavy ball and Nesterov."""
RHO = 0.95
"""Decay of AdaDelta's averages."""


def iterates(
    optimizer: optax.GradientTransformation,
    gradient: Callable[[Any], Any],
    start: jax.Array,
    steps: int,
) -> jax.Array:
    """Return the iterates of one run, the start included."""

    def step(carry, _):
        x, state = carry
        updates, state = optimizer.update(gradient(x), state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    _, path = jax.lax.scan(step, (start, optimizer.init(start)), length=steps)
    return jnp.concatenate([start[None], path])


def _step_sizes(optimizer: Any, gradients: np.ndarray, steps: int) -> np.ndarray:
    """Return the lengths of the steps under constant gradients, shape (gradient, step)."""

    def sizes(gradient):
        return -jnp.diff(iterates(optimizer, lambda _: gradient, jnp.zeros(()), steps))

    return np.asarray(jax.jit(jax.vmap(sizes))(gradients))


def first_steps(gradient: float, eps: float) -> np.ndarray:
    """Return the first step of AdaGrad and RMSProp in learning rates, shape (rule, form).

    The lecture divides by the sum, or average, of the squares up to t - 1, which at first is 0.
    """
    rules = [
        [
            transforms.adagrad(1.0, eps=eps, eps_in_sqrt=False, accumulate=accumulate),
            transforms.rmsprop(1.0, eps=eps, accumulate=accumulate),
        ]
        for accumulate in ("current", "previous")
    ]
    steps = [[_step_sizes(rule, np.array([gradient]), 1) for rule in form] for form in rules]
    return np.squeeze(steps).T


def rootless_steps(gradients: np.ndarray, eps: float) -> np.ndarray:
    """Return RMSProp's 200th step, with the root and without, shape (form, gradient)."""
    rules = [transforms.rmsprop(1.0, eps=eps, exponent=power) for power in (-0.5, -1.0)]
    return np.array([_step_sizes(rule, gradients, 200)[:, -1] for rule in rules])


def adam_steps(gradient: float, eps: float, steps: int) -> np.ndarray:
    """Return Adam's steps in learning rates, corrected and not, shape (form, step)."""
    rules = [
        transforms.adam(1.0, eps=0.0, eps_root=eps, bias_correction=correction)
        for correction in (True, False)
    ]
    return np.concatenate([_step_sizes(rule, np.array([gradient]), steps) for rule in rules])


def momentum_ends() -> np.ndarray:
    """Return where momentum is after 20 steps on `x^2 / 2`, shape (schedule, form).

    The schedules are a constant rate 0.1 and a warm-up to it over 10 steps; the papers' form has
    the rate in the velocity.
    """
    rates = [0.1, optax.linear_schedule(0.0, 0.1, 10)]
    rules = [
        [
            transforms.heavy_ball(rate, DECAY, learning_rate_in_velocity=inside)
            for inside in (True, False)
        ]
        for rate in rates
    ]
    return np.array(
        [[iterates(rule, lambda x: x, jnp.ones(()), 20)[-1] for rule in row] for row in rules]
    )


def look_ahead_growth(rates: Sequence[float], curvatures: Sequence[float]) -> np.ndarray:
    """Return the growth of |x| a step of Nesterov's method, shape (form, rate, curvature)."""

    def growth(form):
        def of_one(rate, curvature):
            rule = transforms.nesterov(
                rate, DECAY, look_ahead=form, learning_rate_in_velocity=False
            )
            size = jnp.abs(iterates(rule, lambda x: curvature * x, jnp.ones(()), 300))
            # The largest of ten iterates: one alone may be near a zero of an oscillation.
            early, late = size[80:90].max(), size[280:290].max()
            return (late / early) ** (1 / 200)

        grid = np.meshgrid(rates, curvatures, indexing="ij")
        return jax.jit(jnp.vectorize(of_one))(*grid)

    return np.array([growth(form) for form in ("scaled", "raw")])


def spectral_radius(form: str, rate: float, curvature: float) -> float:
    """Return the predicted growth a step of Nesterov's method on `curvature x^2 / 2`.

    With `a = rate` for the paper's form and 1 for the lecture's, one step is
    `v' = beta v - curvature (x + a beta v)`, `x' = x + rate v'`.
    """
    ahead = DECAY * (rate if form == "paper" else 1.0)
    velocity = np.array([-curvature, DECAY - curvature * ahead])
    position = np.array([1.0, 0.0]) + rate * velocity
    return float(abs(np.linalg.eigvals(np.stack([position, velocity]))).max())


def adadelta_norms(dimensions: Sequence[int], steps: int) -> np.ndarray:
    """Return ||x|| along AdaDelta on `1/2 ||x||^2` from ones, shape (form, dimension, time)."""

    def norms(form, dimension):
        rule = transforms.adadelta(1.0, rho=RHO, update_average=form)
        return np.linalg.norm(iterates(rule, lambda x: x, jnp.ones(dimension), steps), axis=1)

    return np.array([[norms(form, d) for d in dimensions] for form in ("elementwise", "norm")])


def climbing_values(steps: int) -> np.ndarray:
    """Return `1/2 ||x||^2` along AdaDelta with the printed sign, from (1, 2)."""
    rule = transforms.adadelta(1.0, rho=RHO, flip_sign=False)
    path = iterates(rule, lambda x: x, jnp.array([1.0, 2.0]), steps)
    return np.square(path).sum(axis=1) / 2


def batch_norm_errors(sizes: Sequence[int], num_features: int = 400) -> np.ndarray:
    """Return the relative errors of batch normalization's gradient, shape (form, batch_size).

    Inputs and cotangents are standard normal; the truth is automatic differentiation of the forward
    pass. The lecture's derivative by the variance sums dDiv/du_j where the paper's sums
    dDiv/du_j (z_j - mu).
    """
    epsilon = 1e-5
    generator = np.random.default_rng(0)

    def normalized(x):
        return (x - x.mean(0, keepdims=True)) / jnp.sqrt(x.var(0, keepdims=True) + epsilon)

    def errors(size):
        x, cotangent = generator.normal(size=(2, size, num_features))
        (truth,) = jax.vjp(normalized, x)[1](jnp.asarray(cotangent))
        gradients = nn.batch_norm_backward(
            jnp.asarray(cotangent), jnp.asarray(x), jnp.ones(num_features), epsilon=epsilon
        )
        # The derivative by the variance enters the one by z in one term.
        by_variance = -0.5 * (x.var(0) + epsilon) ** -1.5 * cotangent.sum(0)
        change = (by_variance - np.asarray(gradients.variance)) * 2 / size
        lecture = np.asarray(gradients.x) + change * (x - x.mean(0))
        norm = np.linalg.norm(truth)
        return [np.linalg.norm(found - truth) / norm for found in (gradients.x, lecture)]

    return np.array([errors(size) for size in sizes]).T


def elu_jumps(thresholds: Sequence[float]) -> np.ndarray:
    """Return by how much ELU rises at its threshold, shape (form, threshold)."""

    def jump(threshold, continuous):
        sides = jnp.array([threshold, np.nextafter(threshold, np.inf)])
        below, above = nn.elu(sides, theta=threshold, continuous=continuous)
        return above - below

    return np.array([[jump(theta, form) for theta in thresholds] for form in (True, False)])
