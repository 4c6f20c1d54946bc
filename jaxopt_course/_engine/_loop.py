"""The compiled loop under the engine: lanes that step together and are refilled.

How long runs take is heavy-tailed: most of a batch end long before the last. So a run that has
ended leaves its lane, and the next of the queue takes it over, within the compiled loop, whenever
more than a sixteenth of the lanes are free. Runs that are recorded go through in whole blocks
instead: then all lanes write their entries in one place.
"""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxopt_course._batching import rank_and_members
from jaxopt_course._engine._lanes import IDLE, RUNNING, Ended, Lanes, Plan, Queue

_WAITING = 16
"""Lanes are refilled when more than one in this many is without a run."""


def advance(
    plan: Plan,
    lanes: Lanes,
    queue: Queue,
    constants: Any,
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
        constants: Arrays that all runs share.
        room: How many runs that have ended can be returned, at least as many as there are lanes.
        budget: Steps after which to return in any case.
        more: Whether there are more runs than the queue holds. If so, this returns as soon as lanes
            ask in vain; if not, when all runs have ended.

    Returns:
        The lanes, the place in the queue whose turn it is, and the runs that have ended.
    """
    crowd = Crowd(plan, constants, queue)
    patience = plan.lanes // _WAITING if plan.record_every is None else plan.lanes - 1
    every_lane = jax.eval_shape(crowd.rows, lanes)
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
        return crowd.step(lanes), taken + 1, patient

    def stretch(carry: tuple[Lanes, jax.Array, jax.Array]) -> Any:
        """Take the steps from one entry of the record to the next, and write that."""
        until = (carry[0].clock // crowd.every + 1) * crowd.every
        lanes, taken, patient = jax.lax.while_loop(
            lambda carry: (carry[0].clock < until) & may_go_on(carry), step, carry
        )
        return crowd.record(lanes), taken, patient

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
        ended = crowd.retire(lanes, ended)
        lanes, head = crowd.refill(lanes, head)
        return lanes, head, ended

    def goes_on(carry: tuple[Lanes, jax.Array, Ended]) -> jax.Array:
        lanes, head, ended = carry
        unfinished = jnp.any(lanes.reason != IDLE) | (head < queue.size)
        asks_in_vain = more & (head >= queue.size) & jnp.any(lanes.reason == IDLE)
        fits = ended.count <= room - plan.lanes
        return unfinished & ~asks_in_vain & fits & (ended.steps < budget)

    return jax.lax.while_loop(goes_on, turn, (lanes, queue.head, ended))


class Crowd:
    """The lanes, what they do and who follows."""

    def __init__(self, plan: Plan, constants: Any, queue: Queue) -> None:
        self.plan, self.queue = plan, queue
        self.every = plan.record_every or 1
        self.program = plan.program(constants, queue.starts)
        axis = self.program.axis
        self.starts = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, axis), queue.starts)

    def step(self, lanes: Lanes) -> Lanes:
        body, reason = self.program.step(lanes.body, lanes.reason)
        clock = lanes.clock + (self.plan.record_every is not None)
        return lanes._replace(body=body, reason=reason, clock=clock)

    def record(self, lanes: Lanes) -> Lanes:
        """Write an entry: one before its time stays if all have ended, or is overwritten."""
        row = -(-lanes.clock // self.every)
        entry = self.program.entry(lanes.body)
        record = jax.tree.map(lambda rows, new: rows.at[row].set(new), lanes.record, entry)
        return lanes._replace(record=record)

    def rows(self, lanes: Lanes) -> dict[str, Any]:
        """Return what is kept of every run, with the lanes as the first axis."""
        axis = self.program.axis
        kept = self.program.row(lanes.body, lanes.reason)
        kept = {"run": lanes.run} | jax.tree.map(lambda leaf: jnp.moveaxis(leaf, axis, 0), kept)
        if self.plan.record_every is None:
            return kept
        # Entries are stacked in front; the last repeats where all runs had ended before.
        written = -(-lanes.clock // self.every)
        entries = jnp.minimum(jnp.arange(self.plan.entries), written)
        last = axis if axis == -1 else axis + 1
        return kept | {
            "record": jax.tree.map(lambda rows: jnp.moveaxis(rows[entries], last, 0), lanes.record)
        }

    def retire(self, lanes: Lanes, ended: Ended) -> Ended:
        """Write the runs that have ended behind those that had before."""
        has_ended = lanes.reason >= 0
        _, members = rank_and_members(has_ended)

        def append(rows: jax.Array, new: jax.Array) -> jax.Array:
            # Behind the ended ones comes what the next to be written overwrites.
            return jax.lax.dynamic_update_slice_in_dim(
                rows, jnp.take(new, members, axis=0, mode="clip"), ended.count, axis=0
            )

        return ended._replace(
            rows=jax.tree.map(append, ended.rows, self.rows(lanes)),
            count=ended.count + jnp.sum(has_ended, dtype=jnp.int32),
        )

    def refill(self, lanes: Lanes, head: jax.Array) -> tuple[Lanes, jax.Array]:
        """Give every lane without a running run the next of the queue, as far as it goes."""
        free = lanes.reason != RUNNING
        number, _ = rank_and_members(free)
        place = head + number - 1
        filled = free & (place < self.queue.size)
        take = partial(jnp.take, indices=place, mode="clip")
        axis = self.program.axis
        body, reason = self.program.begin(
            take(self.queue.keys, axis=0),
            jax.tree.map(lambda leaf: take(leaf, axis=axis), self.starts),
            jnp.where(filled, RUNNING, IDLE),
        )

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            shape = [1] * old.ndim
            shape[axis] = -1
            return jnp.where(filled.reshape(shape), new, old)

        lanes = lanes._replace(
            run=jnp.where(filled, self.queue.first + place, lanes.run),
            reason=jnp.where(free, reason, lanes.reason),
            body=jax.tree.map(choose, body, lanes.body),
            clock=jnp.zeros((), jnp.int32),
        )
        if self.plan.record_every is not None:
            lanes = self.record(lanes)
        return lanes, head + jnp.sum(filled, dtype=jnp.int32)
