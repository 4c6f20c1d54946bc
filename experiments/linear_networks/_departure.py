"""The time that gradient descent needs to leave W = 0 in linear networks of any depth."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate

from jaxopt_course import problems, saddle, transforms

from ..lab import resumable

LEARNING_RATE = 0.02


def chain_time(depth: int, delta: float) -> float:
    """Return how long gradient flow on a chain takes until half the loss is gone.

    A chain is a network of width 1; all its weights are w, and start at delta.
    """
    end = (1 - math.sqrt(0.5)) ** (1 / depth)
    # Integrated over u = ln w: over w the integrand is a spike at the start.
    time, _ = integrate.quad(
        lambda u: math.exp((2 - depth) * u) / (1 - math.exp(depth * u)),
        math.log(delta),
        math.log(end),
        limit=200,
    )
    return time


def chain_times(depth: int, deltas: np.ndarray) -> np.ndarray:
    """Measure the time of `chain_time` for each delta."""
    chain = problems.linear_network([1.0], widths=(1,) * (depth + 1))
    equal = (jnp.asarray(deltas)[:, None, None],) * depth
    return _times(chain, equal, 2 * chain_time(depth, deltas.min()) + 50)


def network_times(depth: int, deltas: np.ndarray, keys: jax.Array) -> np.ndarray:
    """Measure times for weights of width 2, `delta` times the same random ones for each delta.

    Returns:
        Shape `(deltas, keys)`; infinite where it took five times as long as the chain.
    """
    network = problems.linear_network([1.0, 0.4], widths=(2,) * (depth + 1))
    directions = jax.vmap(network.init)(keys)
    scaled = jax.tree.map(
        lambda leaf: jnp.concatenate([delta * leaf for delta in deltas]), directions
    )
    # Some first come nearer to W = 0, and take several times as long.
    longest = 5 * chain_time(depth, deltas.min()) + 50
    return _times(network, scaled, longest).reshape(deltas.size, -1)


def _times(problem: problems.Problem, starts: Any, longest: float) -> np.ndarray:
    """Return when half the way from the loss at W = 0 to the minimum is done."""
    origin, minimum = problem.stationary_points[-1].value, problem.minimum_value
    assert minimum is not None
    runs = resumable.escape(
        problem.fun,
        transforms.gradient_descent(LEARNING_RATE),
        starts,
        max_steps=round(longest / LEARNING_RATE),
        target_value=(origin + minimum) / 2,
    )
    left = np.asarray(runs.reason) == saddle.Stop.TARGET_VALUE
    return np.where(left, np.asarray(runs.steps) * LEARNING_RATE, np.inf)


def slope(depth: int, deltas: np.ndarray, times: np.ndarray) -> float:
    """Return how time grows from the second smallest to the smallest delta.

    Returns:
        At depth 2 the time per unit of ln(1 / delta), else the power of 1 / delta; NaN where a time
        is infinite.
    """
    nearest, second = np.argsort(deltas)[:2]
    nearer, farther = times[nearest], times[second]
    if not np.isfinite(nearer + farther):
        return math.nan
    rise = nearer - farther if depth == 2 else math.log(nearer / farther)
    return float(rise / math.log(deltas[second] / deltas[nearest]))
