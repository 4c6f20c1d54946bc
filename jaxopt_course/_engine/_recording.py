"""A program that records another: what it observes of every run, every so many steps.

Its lanes are refilled all at once, so that all of them write their entries in one place. Between
two entries the last one is written again, in place: to write under a condition would copy the
record.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from jaxopt_course._engine._loop import RUNNING, Program

Observe = Callable[[Any, Any], dict[str, Any]]
"""From a program and its state to what is recorded of every lane, which has the program's axis."""


class Recorded(NamedTuple):
    """Where recorded runs stand.

    Attributes:
        state: Of the program that is recorded.
        clock: Steps since the lanes were filled, the same in all, int32, shape `(lanes,)`.
        record: The entries, which come before the lanes where these are the last axis, and after
            them where they are the first.
    """

    state: Any
    clock: jax.Array
    record: dict[str, Any]


@flax.struct.dataclass
class Recorder:
    """Records a program.

    Attributes:
        program: It.
        observe: What is recorded.
        every: Steps from entry to entry.
        entries: How many entries a record has.
    """

    program: Program
    observe: Observe = flax.struct.field(pytree_node=False)
    every: int = flax.struct.field(pytree_node=False)
    entries: int = flax.struct.field(pytree_node=False)
    in_blocks = True

    @property
    def lanes(self) -> int:
        """How many runs take their steps together."""
        return self.program.lanes

    @property
    def axis(self) -> int:
        """The axis of the lanes."""
        return self.program.axis

    def begin(self, starts: Any, reason: jax.Array) -> tuple[Recorded, jax.Array]:
        """Begin, and write the first entry."""
        state, reason = self.program.begin(starts, reason)

        def empty(entry: jax.Array) -> jax.Array:
            shape = list(entry.shape)
            shape.insert(self._place, self.entries + 1)
            return jnp.zeros(shape, entry.dtype)

        entry = self.observe(self.program, state)
        record = jax.tree.map(empty, entry)
        clock = jnp.zeros(self.lanes, jnp.int32)
        return Recorded(state, clock, self._write(record, entry, 0)), reason

    def step(self, recorded: Recorded, reason: jax.Array) -> tuple[Recorded, jax.Array]:
        """Take a step; write an entry where one is due, or where the last run has ended."""
        state, reason = self.program.step(recorded.state, reason)
        clock = recorded.clock + 1
        # Where all have ended before its time, the entry says how they ended.
        row = -(-clock[0] // self.every)
        due = (clock[0] % self.every == 0) | jnp.all(reason != RUNNING)
        entry = jax.lax.cond(
            due,
            lambda: self.observe(self.program, state),
            lambda: jax.tree.map(lambda record: self._read(record, row), recorded.record),
        )
        return Recorded(state, clock, self._write(recorded.record, entry, row)), reason

    def row(self, recorded: Recorded, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every run, the record among it."""
        written = -(-recorded.clock[0] // self.every)
        # The last entry repeats where all runs had ended before.
        entries = jnp.minimum(jnp.arange(self.entries), written)

        def chosen(record: jax.Array) -> jax.Array:
            return jnp.take(record, entries, axis=self._place, mode="clip")

        record = jax.tree.map(chosen, recorded.record)
        return self.program.row(recorded.state, reason) | {"record": record}

    @property
    def _place(self) -> int:
        """The axis of the entries."""
        return 0 if self.axis == -1 else 1

    def _read(self, record: jax.Array, row: jax.Array) -> jax.Array:
        return jax.lax.dynamic_index_in_dim(record, row, self._place, keepdims=False)

    def _write(self, record: Any, entry: Any, row: Any) -> Any:
        return jax.tree.map(
            lambda record, new: jax.lax.dynamic_update_index_in_dim(record, new, row, self._place),
            record,
            entry,
        )
