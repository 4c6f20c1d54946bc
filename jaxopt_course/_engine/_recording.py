"""A program that records another: what it observes of every run, every so many steps.

Its lanes are refilled all at once, so that all of them write an entry at the same step, into the
same row of the record. At steps between two entries the next row is written with what it holds: a
write under a condition would copy the whole record.
"""

from typing import Any, NamedTuple, Protocol

import flax.struct
import jax
import jax.numpy as jnp

from jaxopt_course._engine._loop import RUNNING, Program


class Observe(Protocol):
    """What is recorded of every lane: a pytree that is called. Results have the program's axis."""

    def begin(self, program: Any, state: Any) -> Any:
        """Return what is remembered before the first entry."""
        ...

    def __call__(self, program: Any, state: Any, memory: Any) -> tuple[dict[str, Any], Any]:
        """Return an entry, and what is remembered after it."""
        ...


class Recorded(NamedTuple):
    """Where recorded runs stand.

    Attributes:
        state: Of the program that is recorded.
        clock: Steps since the lanes were filled, the same in all, int32, shape `(lanes,)`.
        record: The entries, which come before the lanes where these are the last axis, and after
            them where they are the first.
        memory: What one entry leaves to the next.
    """

    state: Any
    clock: jax.Array
    record: dict[str, Any]
    memory: Any


@flax.struct.dataclass
class Recorder:
    """A program that takes the steps of another and records its runs.

    Attributes:
        program: The program that is recorded.
        observe: What is recorded.
        every: Steps from entry to entry.
        entries: How many entries a record has.
    """

    program: Program
    observe: Observe
    every: int = flax.struct.field(pytree_node=False)
    entries: int = flax.struct.field(pytree_node=False)
    in_blocks = True
    is_quick = False

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

        memory = self.observe.begin(self.program, state)
        entry, memory = self._observe(state, memory, reason)
        record = jax.tree.map(empty, entry)
        clock = jnp.zeros(self.lanes, jnp.int32)
        return Recorded(state, clock, self._write(record, entry, 0), memory), reason

    def step(self, recorded: Recorded, reason: jax.Array) -> tuple[Recorded, jax.Array]:
        """Take a step; write an entry where one is due, or where the last run has ended."""
        state, reason = self.program.step(recorded.state, reason)
        clock = recorded.clock + 1
        # Where all runs end between two entries, the next entry shows how they ended.
        row = -(-clock[0] // self.every)
        due = (clock[0] % self.every == 0) | jnp.all(reason != RUNNING)
        entry, memory = jax.lax.cond(
            due,
            lambda memory: self._observe(state, memory, reason),
            lambda memory: (
                jax.tree.map(lambda record: self._read(record, row), recorded.record),
                memory,
            ),
            recorded.memory,
        )
        return Recorded(state, clock, self._write(recorded.record, entry, row), memory), reason

    def row(self, recorded: Recorded, reason: jax.Array) -> dict[str, Any]:
        """Return what the recorded program keeps of every run, and the record."""
        written = -(-recorded.clock[0] // self.every)
        # Rows that were never written repeat the last entry.
        entries = jnp.minimum(jnp.arange(self.entries), written)

        def chosen(record: jax.Array) -> jax.Array:
            return jnp.take(record, entries, axis=self._place, mode="clip")

        record = jax.tree.map(chosen, recorded.record)
        return self.program.row(recorded.state, reason) | {"record": record}

    def _observe(self, state: Any, memory: Any, reason: jax.Array) -> tuple[dict[str, Any], Any]:
        """Observe all lanes, and keep what is remembered of runs that have ended as it was.

        So later entries of an ended run repeat its last one to the bit.
        """
        entry, new = self.observe(self.program, state, memory)

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            shape = [1] * old.ndim
            shape[self.axis] = -1
            return jnp.where((reason == RUNNING).reshape(shape), new, old)

        return entry, jax.tree.map(choose, new, memory)

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
