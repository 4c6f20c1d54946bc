"""The loop of a batch as it is compiled: for which shapes, what it needs, a call of it."""

import functools
from typing import Any

import jax
import numpy as np

from jaxopt_course._engine._loop import (
    IDLE,
    Ended,
    Lanes,
    Program,
    Queue,
    advance,
    idle_shapes,
    places,
    zeros,
)
from jaxopt_course._engine._memory import Needs, check_that_it_fits, needs_of

_KEPT = 64
"""How many compiled loops are kept."""


class CompiledLoop:
    """The loop of a program.

    Attributes:
        program: The program.
        size: How many runs a queue holds.
    """

    def __init__(self, program: Program, starts: Any, *, long_steps: bool) -> None:
        """Trace nothing yet.

        Args:
            program: What runs do.
            starts: Those of any runs, the runs being the first axis.
            long_steps: Whether no more runs are to wait, or to be returned, than there are lanes.
        """
        self.program = program
        self._start = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), starts
        )
        self.size, self._room = places(program, self._start)
        if long_steps:
            self.size, self._room = program.lanes, program.lanes
        self._compiled = _compiled(jax.tree.structure(program), self._room)

    def idle_lanes(self) -> Lanes:
        """Return lanes without runs, on the host."""
        leaves, structure = jax.tree.flatten(_on(None, (self.program, self._start)))
        lanes = jax.tree.map(zeros, _idle(structure, tuple(leaves)))
        return lanes._replace(reason=np.full_like(lanes.reason, IDLE))

    def no_rows(self) -> dict[str, Any]:
        """Return what is kept of no runs at all."""
        lanes, queue = self._shapes(None)
        _, _, ended = self._compiled.eval_shape(self.program, lanes, queue, **_CONTROL)
        return jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), ended.rows)

    def __call__(
        self, program: Program, lanes: Lanes, queue: Queue, *, budget: int, more: bool
    ) -> tuple[Lanes, jax.Array, Ended]:
        """Let the lanes, which are given away, step on the device where all lies; see `advance`."""
        return self._compiled(program, lanes, queue, budget=np.int32(budget), more=np.bool_(more))

    def _shapes(self, device: jax.Device | None) -> tuple[Lanes, Queue]:
        """Return lanes and queue on a device, as far as shapes go."""
        starts = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.size, *leaf.shape), leaf.dtype), self._start
        )
        number: Any = jax.ShapeDtypeStruct((), np.int32)
        queue = Queue(starts, first=number, head=number, size=number)
        return _on(device, (self.idle_lanes(), queue))

    def needs(self, device: jax.Device) -> Needs:
        """Return what it needs on a device; compiled here, it is not compiled again when called."""
        arguments = (_on(device, self.program), *self._shapes(device))
        leaves, structure = jax.tree.flatten(arguments)
        return _needs(self._compiled, structure, tuple(leaves))

    def check_memory(self, device: jax.Device) -> None:
        """Raise MemoryError if the lanes do not fit, before any are made."""
        check_that_it_fits(self.needs(device).bytes, self.program.lanes, device)


_CONTROL = {"budget": np.int32(0), "more": np.bool_(False)}


@functools.lru_cache(maxsize=_KEPT)
def _compiled(structure: Any, room: int) -> Any:
    """Return the compiled loop of all programs of this structure, which is to be equal."""
    del structure  # What is forgotten of this goes with everything that was compiled for it.
    return jax.jit(functools.partial(advance, room=room), donate_argnums=1)


@functools.lru_cache(maxsize=_KEPT)
def _idle(structure: Any, leaves: tuple[Any, ...]) -> Lanes:
    return idle_shapes(*jax.tree.unflatten(structure, leaves))


@functools.lru_cache(maxsize=_KEPT)
def _needs(compiled: Any, structure: Any, leaves: tuple[Any, ...]) -> Needs:
    lowered = compiled.lower(*jax.tree.unflatten(structure, leaves), **_CONTROL)
    return needs_of(lowered.compile())


def _on(device: jax.Device | None, tree: Any) -> Any:
    """Return the shapes of arrays as they will be on a device."""
    place = None if device is None else jax.sharding.SingleDeviceSharding(device)

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        # A type or place not quite that of the array would have the program compiled twice.
        weak = getattr(leaf, "weak_type", False)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place, weak_type=weak)

    return jax.tree.map(shape, tree)
