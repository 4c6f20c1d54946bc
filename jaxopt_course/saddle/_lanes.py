"""What the engine under `saddle.escape` handles: a plan, a queue of runs, lanes, ended runs."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course._batching import lane_axis

Objective = Callable[[Any], jax.Array]
Optimizer = optax.GradientTransformation | Callable[[jax.Array], optax.GradientTransformation]

RUNNING, IDLE = -1, -2
"""Reasons of lanes whose run has not ended, and of lanes without a run."""

_FEW = 16
"""So many parameters leave a step's fixed cost noticeable with 512 lanes."""


class Plan(NamedTuple):
    """What the compiled program depends on: equal plans share one program."""

    fun: Objective
    optimizer: Optimizer
    max_steps: int
    record_every: int | None
    record_params: bool
    record_min_eigenvalue: bool
    lanes: int


class Limits(NamedTuple):
    """When a run has arrived; None where that does not end it."""

    target_value: chex.Numeric | None
    epsilon: chex.Numeric | None
    hessian_lipschitz: chex.Numeric | None


class Queue(NamedTuple):
    """Runs that wait for a lane.

    Attributes:
        starts: Leaves of shape `(places, ...)`.
        keys: Shape `(places,)`.
        first: Number of the run in the first place; the others count on from it.
        head: The place whose turn it is.
        size: How many of the places hold a run.
    """

    starts: Any
    keys: jax.Array
    first: jax.Array
    head: jax.Array
    size: jax.Array


class Lanes(NamedTuple):
    """Where all lanes stand; `clock` is common to them, everything else has the lane axis.

    Attributes:
        run: Number of the run, int32.
        keys: Its key.
        params: Its parameters ...
        state: ... and optimizer state ...
        value: ... and value, None where nothing asks for it ...
        grads: ... and gradient ...
        gradient_norm: ... and its norm.
        steps: Steps it has taken, int32.
        reason: Why it has ended, or that it runs, or that there is none, int32.
        record: Its entries, the entries being the first axis.
        clock: Steps since the lanes were filled, int32.
    """

    run: jax.Array
    keys: jax.Array
    params: Any
    state: optax.OptState
    value: jax.Array | None
    grads: Any
    gradient_norm: jax.Array
    steps: jax.Array
    reason: jax.Array
    record: dict[str, Any]
    clock: jax.Array


class Ended(NamedTuple):
    """Runs that have ended, in the order in which they did, the runs being the first axis.

    Attributes:
        rows: `run` and what `EscapeRuns` and `EscapeRecord` (without `step`) hold.
        count: How many of the rows are filled, int32.
        steps: How many steps the lanes have taken, int32.
    """

    rows: dict[str, Any]
    count: jax.Array
    steps: jax.Array


def default_lanes(runs: int, starts: Any, platform: str) -> int:
    """Return how many runs (the first axis of `starts`) to take together, a power of two.

    A step on a CPU has a fixed cost of some ten microseconds and is cheapest per run at about 4,000
    lanes of ten numbers or 500 of a hundred; with more, the lanes outgrow the cache. Half as many
    lanes as runs leave work for a second device. An accelerator wants all of them at once. Runs
    whose parameters hold matrices have work enough within themselves.
    """
    vectors = lane_axis(starts) == -1
    few = sum(math.prod(jnp.shape(leaf)[1:]) for leaf in jax.tree.leaves(starts)) <= _FEW
    if platform == "cpu":
        least, most = (8, 2048 if few else 512) if vectors else (1, 8)
        wanted = runs // 2
    else:
        least, most = (64, 16_384) if vectors else (1, 256)
        wanted = 2 * runs - 1
    power = 2 ** max(wanted.bit_length() - 1, 0)
    return min(max(power, least), most)


def places(plan: Plan, starts: Any) -> tuple[int, int]:
    """Return how many runs a queue holds, and how many that have ended can be held at once.

    Enough that control seldom leaves the compiled loop, few enough to cost little memory.
    """
    if plan.record_every is not None or lane_axis(starts) == 0:
        return plan.lanes, plan.lanes
    return 8 * plan.lanes, 4 * plan.lanes
