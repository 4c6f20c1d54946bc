"""What the engine handles: a plan and its program, a queue of runs, lanes, ended runs."""

import math
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

RUNNING, IDLE = -1, -2
"""Reasons of lanes whose run has not ended, and of lanes without a run."""

_QUEUE_BYTES = 2**25
"""Of starts; where more would lie in a queue, it holds as many runs as there are lanes."""


class Program(Protocol):
    """What lanes do together.

    Every leaf of a `body` has the lanes as its axis `axis`; reasons have shape `(lanes,)`. What
    becomes of one lane does not depend on the others. A lane that is not RUNNING is to stay what it
    is, at no cost.

    Attributes:
        axis: The axis of the lanes in bodies and starts, 0 or -1.
    """

    axis: int

    def idle(self, start: Any, key: jax.Array) -> Any:
        """Return the body of lanes without runs; start and key are those of any run."""
        ...

    def begin(self, keys: jax.Array, starts: Any, reason: jax.Array) -> tuple[Any, jax.Array]:
        """Return the body of lanes at their starts, and which of them have ended there."""
        ...

    def step(self, body: Any, reason: jax.Array) -> tuple[Any, jax.Array]:
        """Take a step in every lane that runs."""
        ...

    def row(self, body: Any, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every lane's run, `reason` and `steps` in any case.

        Every leaf has the lanes as its axis `axis`. Keys are kept as their data.
        """
        ...

    def entry(self, body: Any) -> dict[str, Any]:
        """Return what is recorded of every lane; called if the plan has `record_every`."""
        ...


class Plan(Hashable, Protocol):
    """What a compiled program depends on: equal plans share one."""

    @property
    def lanes(self) -> int:
        """How many runs take their steps together."""
        ...

    @property
    def record_every(self) -> int | None:
        """Steps from entry to entry of the record; None for no record."""
        ...

    @property
    def entries(self) -> int:
        """How many entries a record has."""
        ...

    def program(self, constants: Any, starts: Any) -> Program:
        """Return the program.

        Args:
            constants: Arrays that all runs share: when they end, data.
            starts: Starts (or their shapes), the runs being the first axis.
        """
        ...


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
    """Where all lanes stand; `clock` is common to them.

    Attributes:
        run: Number of the run, int32.
        reason: Why it has ended, or that it runs, or that there is none, int32.
        body: What the program keeps of it.
        record: Its entries, the entries being the first axis.
        clock: Steps since the lanes were filled, int32; counted if there is a record.
    """

    run: jax.Array
    reason: jax.Array
    body: Any
    record: dict[str, Any]
    clock: jax.Array


class Ended(NamedTuple):
    """Runs that have ended, in the order in which they did, the runs being the first axis.

    Attributes:
        rows: `run`, what the program keeps of it, and its `record` if there is one.
        count: How many of the rows are filled, int32.
        steps: How many steps the lanes have taken, int32.
    """

    rows: dict[str, Any]
    count: jax.Array
    steps: jax.Array


def idle_lanes(plan: Plan, constants: Any, start: Any, key: jax.Array) -> Lanes:
    """Return lanes without runs; `start` and `key` are those of any run, which shape them."""
    program = plan.program(constants, jax.tree.map(lambda leaf: leaf[None], start))
    body = program.idle(start, key)
    record = {}
    if plan.record_every is not None:
        entry = jax.eval_shape(program.entry, body)
        # One row more than is kept: what is written after the last whole stretch of steps.
        record = jax.tree.map(
            lambda leaf: jnp.zeros((plan.entries + 1, *leaf.shape), leaf.dtype), entry
        )
    return Lanes(
        run=jnp.zeros(plan.lanes, jnp.int32),
        reason=jnp.full(plan.lanes, IDLE, jnp.int32),
        body=body,
        record=record,
        clock=jnp.zeros((), jnp.int32),
    )


def places(plan: Plan, start: Any) -> tuple[int, int]:
    """Return how many runs a queue holds, and how many that have ended can be held at once.

    Enough that control seldom leaves the compiled loop, few enough to cost little memory.
    """
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(start))
    if plan.record_every is not None or 8 * plan.lanes * size > _QUEUE_BYTES:
        return plan.lanes, plan.lanes
    return 8 * plan.lanes, 4 * plan.lanes
