"""The compiled loop under `saddle.escape`: lanes that step together and are refilled.

Times to escape are heavy-tailed: most runs of a batch end long before the last. So a run that has
ended leaves its lane, and the next of the queue takes it over, within the compiled loop, whenever
more than a sixteenth of the lanes are free. Runs that are recorded go through in whole blocks
instead: then all lanes write their entries in one place.
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxopt_course._batching import lane_axis
from jaxopt_course.saddle._lanes import IDLE, RUNNING, Ended, Lanes, Limits, Plan, Queue
from jaxopt_course.saddle._steps import Program

_WAITING = 16
"""Lanes are refilled when more than one in this many is without a run."""


def advance(
    plan: Plan,
    lanes: Lanes,
    queue: Queue,
    limits: Limits,
    *,
    room: int,
    budget: chex.Numeric,
    more: chex.Numeric,
) -> tuple[Lanes, jax.Array, Ended]:
    """Let the lanes step until they want something from the caller.

    Args:
        plan: The program.
        lanes: Where the lanes stand.
        queue: Who waits.
        limits: The values at which runs end.
        room: How many runs that have ended can be returned, at least as many as there are lanes.
        budget: Steps after which to return in any case.
        more: Whether there are more runs than the queue holds. If so, this returns as soon as lanes
            ask in vain; if not, when all runs have ended.

    Returns:
        The lanes, the place in the queue whose turn it is, and the runs that have ended.
    """
    axis = lane_axis(queue.starts)
    program = Program(plan, limits, axis)
    patience = plan.lanes // _WAITING if plan.record_every is None else plan.lanes - 1
    to_lane_axis = partial(jax.tree.map, lambda leaf: jnp.moveaxis(leaf, 0, axis))
    starts = to_lane_axis(queue.starts)
    every = plan.record_every or plan.max_steps
    every_lane = jax.eval_shape(program.row, lanes)
    ended = Ended(
        rows=jax.tree.map(lambda leaf: jnp.zeros((room, *leaf.shape[1:]), leaf.dtype), every_lane),
        count=jnp.zeros((), jnp.int32),
        steps=jnp.zeros((), jnp.int32),
    )

    def vacant(lanes: Lanes) -> jax.Array:
        return jnp.sum(lanes.reason != RUNNING, dtype=jnp.int32)

    def may_go_on(carry: tuple[Lanes, jax.Array, jax.Array]) -> jax.Array:
        lanes, taken, patient = carry
        return (taken < budget) & (vacant(lanes) <= patient)

    def step(carry: tuple[Lanes, jax.Array, jax.Array]) -> Any:
        lanes, taken, patient = carry
        return program.take_step(lanes), taken + 1, patient

    def stretch(carry: tuple[Lanes, jax.Array, jax.Array]) -> Any:
        """Take the steps from one entry of the record to the next, and write that."""
        until = (carry[0].clock // every + 1) * every
        lanes, taken, patient = jax.lax.while_loop(
            lambda carry: (carry[0].clock < until) & may_go_on(carry), step, carry
        )
        return program.record(lanes, every), taken, patient

    def turn(carry: tuple[Lanes, jax.Array, Ended]) -> tuple[Lanes, jax.Array, Ended]:
        lanes, head, ended = carry
        # With nobody to follow, a lane waits for the last that runs.
        patient = jnp.where((head < queue.size) | more, patience, plan.lanes - 1)
        # Entries are written within this loop, in place: a condition would copy the record.
        go_on = step if plan.record_every is None else stretch
        lanes, taken, _ = jax.lax.while_loop(may_go_on, go_on, (lanes, ended.steps, patient))
        ended = ended._replace(steps=taken)
        return jax.lax.cond(
            vacant(lanes) > patient, exchange, lambda *carry: carry, lanes, head, ended
        )

    def exchange(lanes: Lanes, head: jax.Array, ended: Ended) -> tuple[Lanes, jax.Array, Ended]:
        ended = program.retire(lanes, ended)
        lanes, head = program.refill(lanes, starts, queue, head)
        return lanes, head, ended

    def goes_on(carry: tuple[Lanes, jax.Array, Ended]) -> jax.Array:
        lanes, head, ended = carry
        unfinished = jnp.any(lanes.reason != IDLE) | (head < queue.size)
        asks_in_vain = more & (head >= queue.size) & jnp.any(lanes.reason == IDLE)
        fits = ended.count <= room - plan.lanes
        return unfinished & ~asks_in_vain & fits & (ended.steps < budget)

    return jax.lax.while_loop(goes_on, turn, (lanes, queue.head, ended))
