"""The loop of a batch as it is compiled: for which shapes, what it needs of memory, its call."""

import contextlib
import functools
import time
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxopt_course._engine._loop import (
    Ended,
    Lanes,
    Program,
    Queue,
    advance,
    bare,
    bare_shapes,
    idle_lanes,
    idle_shapes,
    keyed,
    places,
)
from jaxopt_course._memory import free_bytes
from jaxopt_course._platforms import chosen, traced_for
from jaxopt_course._tracing import settings

_KEPT = 64
"""How many compiled loops are kept."""
_NEGLIGIBLE = 2**24
"""Bytes that are taken to be free: to ask takes longer than to fill them."""


class Needs(NamedTuple):
    """What a compiled program needs.

    Attributes:
        bytes: Of memory, for arguments, results and temporary arrays; None if it is not known.
        seconds: What it took to compile it.
    """

    bytes: int | None
    seconds: float


def check_that_it_fits(
    needed: int | None, lanes: int, device: jax.Device, free: float | None = None
) -> None:
    """Raise MemoryError if a program needs more memory than is free.

    All it needs is counted as growing with the lanes, so what is said to fit does fit.

    Args:
        needed: What it needs in bytes, None if that is not known.
        lanes: How many lanes it has.
        device: The device that it runs on.
        free: Free memory in bytes; by default asked of the device, if it takes that much.

    Raises:
        MemoryError: With the number of lanes that would fit.
    """
    if needed is None:
        return
    if free is None and needed > _NEGLIGIBLE:
        free = free_bytes(device)
    if free is None or needed <= free:
        return
    fitting = int(lanes * free / needed)
    cure = (
        f"lanes={2 ** (fitting.bit_length() - 1)} would fit"
        if fitting
        else "not even one lane would fit: record less, or evaluate the objective in batches"
    )
    raise MemoryError(
        f"lanes={lanes} need {needed / 2**30:.3g} GiB on {device}, of which {free / 2**30:.3g} GiB "
        f"are free; {cure}"
    )


@contextlib.contextmanager
def _named_by_lanes(lanes: int, device: jax.Device) -> Iterator[None]:
    """Raise MemoryError in place of what a compiler says that plans the device's memory itself."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        said = str(error).partition("\n")[0]
        raise MemoryError(
            f"lanes={lanes} need more memory than {device} has; fewer lanes may fit. Its compiler "
            f"says: {said}"
        ) from error


class _Compiled(NamedTuple):
    """The loop as it is compiled for a device.

    Attributes:
        call: The executable, which takes arrays of the host as well as of the device.
        needs: What it needs.
        asks_every_core: See `CompiledLoop.asks_every_core`.
    """

    call: Any
    needs: Needs
    asks_every_core: bool


class _Loop(NamedTuple):
    """The loop of all programs with the same static parts and shapes.

    Attributes:
        lanes: Shapes of lanes, keys as their data.
        start: Shapes of the start of a run, keys as their data.
        size: How many runs a queue holds.
        jitted: The jitted loop.
        lowered: It, lowered, by the device for which it is yet to be compiled, and whether it
            asks for every core.
        compiled: It, compiled, by the device.
    """

    lanes: Lanes
    start: Any
    size: int
    jitted: Any
    lowered: dict[jax.Device, tuple[Any, bool]]
    compiled: dict[jax.Device, _Compiled]


class CompiledLoop:
    """The loop of a program.

    Attributes:
        program: The program.
        size: How many runs a queue holds.
    """

    def __init__(self, program: Program, start: Any, *, in_blocks: bool, long_steps: bool) -> None:
        """Settle the sizes; nothing is traced before the first call, if it was not before.

        Args:
            program: What runs do.
            start: The shapes of the start of a run.
            in_blocks: Whether lanes are filled all at once, when no run is left in them, and are
                not refilled: so it is best where all runs have a lane.
            long_steps: Whether a step takes long: then the queue, and the rows returned by a call,
                have room for no more runs than there are lanes.
        """
        self.program = program
        self._chosen = chosen()
        leaves, structure = jax.tree.flatten((program, start))
        how = (in_blocks, long_steps, self._chosen, *settings().values())
        name = (structure, *map(_type, leaves), how)
        if (known := _known.get(name)) is None:
            known = _known[name] = _loop_of(program, start, in_blocks, long_steps)
            if len(_known) > _KEPT:
                _known.pop(next(iter(_known)), None)
        self._loop, self.size = known, known.size

    def idle_lanes(self) -> Lanes:
        """Lanes without runs, on the host."""
        return idle_lanes(self._loop.lanes)

    def no_rows(self) -> dict[str, Any]:
        """Rows of no runs: of the right structure, with 0 along the first axis."""
        lanes, queue = self._shapes(None)
        _, _, ended = self._loop.jitted.eval_shape(self.program, lanes, queue, **_CONTROL)
        return jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), ended.rows)

    def __call__(
        self,
        program: Program,
        lanes: Lanes,
        queue: Queue,
        *,
        device: jax.Device,
        budget: int,
        more: bool,
    ) -> tuple[Lanes, jax.Array, Ended]:
        """Call `advance` on a device, where the arrays lie, or on the host; `lanes` are donated.

        In lanes and queue, those that are given and those returned, keys are held as their data.
        """
        control = {"budget": np.int32(budget), "more": np.bool_(more)}
        return self._compiled(device).call(program, lanes, queue, **control)

    def needs(self, device: jax.Device) -> Needs:
        """What the loop needs on a device. It is compiled for this, and not again when called.

        Raises:
            MemoryError: where the compiler refuses what the device has no memory for, as a TPU's.
        """
        return self._compiled(device).needs

    def asks_every_core(self, device: jax.Device) -> bool:
        """Whether it is to run on this CPU device only, of which nothing is compiled to know it.

        LAPACK's batches are divided among the threads that all CPU devices of a process share, and
        each waits, in one of them, for its parts: with as many devices at work as there are
        threads, all wait for ever.
        """
        if (known := self._loop.compiled.get(device)) is not None:
            return known.asks_every_core
        lowered = self._loop.lowered[device] = self._lower(device)
        return lowered[1]

    def is_compiled_for(self, device: jax.Device) -> bool:
        """Whether `needs` has been asked of a device."""
        return device in self._loop.compiled

    def _compiled(self, device: jax.Device) -> _Compiled:
        """The loop, compiled for a device now or before."""
        if (known := self._loop.compiled.get(device)) is not None:
            return known
        lowered = self._loop.lowered.pop(device, None) or self._lower(device)
        with _named_by_lanes(self.program.lanes, device):
            found = self._loop.compiled[device] = _compile(*lowered)
        return found

    def _lower(self, device: jax.Device) -> tuple[Any, bool]:
        """The loop, lowered for a device, and whether it asks for every core of a CPU."""
        arguments = _on(device, (self.program, *self._shapes(device)))
        # A thread does not inherit what the caller traces for.
        with traced_for(self._chosen or device.platform):
            lowered = self._loop.jitted.lower(*arguments, **_CONTROL)
        return lowered, device.platform == "cpu" and "@lapack_" in lowered.as_text()

    def _shapes(self, device: jax.Device | None) -> tuple[Lanes, Queue]:
        """Shapes of lanes and queue, placed on a device."""
        starts = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.size, *leaf.shape), leaf.dtype),
            self._loop.start,
        )
        number: Any = jax.ShapeDtypeStruct((), np.int32)
        queue = Queue(starts, first=number, head=number, size=number)
        return _on(device, (self._loop.lanes, queue))


_CONTROL = {"budget": np.int32(0), "more": np.bool_(False)}

_known: dict[Hashable, _Loop] = {}
"""Loops by the static parts and shapes of their programs and starts, and by how they are traced."""


def _loop_of(program: Program, start: Any, in_blocks: bool, long_steps: bool) -> _Loop:
    """The loop of a program, of which nothing is compiled yet."""
    size = program.lanes if in_blocks or long_steps else places(program, start)
    # Of as many runs as half a queue holds the rows are kept until the call returns.
    room = None if in_blocks else max(size // 2, program.lanes)
    shapes = idle_shapes(program, start)
    jitted = jax.jit(
        functools.partial(_advance, shapes=(shapes, start), room=room), donate_argnums=1
    )
    return _Loop(bare_shapes(shapes), bare_shapes(start), size, jitted, {}, {})


def _advance(
    program: Program,
    lanes: Lanes,
    queue: Queue,
    *,
    shapes: tuple[Lanes, Any],
    room: int | None,
    budget: Any,
    more: Any,
) -> tuple[Lanes, jax.Array, Ended]:
    """`advance`, of lanes and a queue that hold the data of keys; `shapes` says which."""
    lanes = keyed(lanes, shapes[0])
    queue = queue._replace(starts=keyed(queue.starts, shapes[1]))
    lanes, head, ended = advance(program, lanes, queue, room=room, budget=budget, more=more)
    return bare(lanes), head, ended


def _compile(lowered: Any, asks_every_core: bool) -> _Compiled:
    """Compile a loop, and ask its compiler what it needs."""
    begun = time.monotonic()
    executable = lowered.compile()
    seconds = time.monotonic() - begun
    memory, size = executable.memory_analysis(), None
    if memory is not None:  # Not every platform's compiler says.
        size = (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            + memory.temp_size_in_bytes
            - memory.alias_size_in_bytes
        )
    return _Compiled(executable, Needs(size, seconds), asks_every_core)


def _type(leaf: Any) -> Hashable:
    """What tells leaves apart for which a program is not the same."""
    return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)


def _on(device: jax.Device | None, tree: Any) -> Any:
    """The shapes of arrays, placed on a device; None for no place in particular."""
    place = None if device is None else jax.sharding.SingleDeviceSharding(device)

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        # Another weak type or sharding than the array's own would be another program.
        weak = getattr(leaf, "weak_type", False)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place, weak_type=weak)

    return jax.tree.map(shape, tree)
