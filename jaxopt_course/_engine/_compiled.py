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
    idle_lanes,
    idle_shapes,
    places,
)
from jaxopt_course._memory import free_bytes
from jaxopt_course._platforms import chosen, traced_for
from jaxopt_course._tracing import row_of

_KEPT = 64
"""How many compiled loops are kept."""


class Needs(NamedTuple):
    """What a compiled program needs.

    Attributes:
        bytes: Of memory, for arguments, results and temporary arrays; None if it is not known.
        every_core: Whether it is to run on one CPU device only. LAPACK's batches are divided among
            the threads that all CPU devices of a process share, and each waits, in one of them, for
            its parts: with as many devices at work as there are threads, all wait for ever.
        seconds: What it took to compile it.
    """

    bytes: int | None
    every_core: bool
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
        free: Free memory in bytes; by default asked of the device.

    Raises:
        MemoryError: With the number of lanes that would fit.
    """
    free = free_bytes(device) if free is None else free
    if needed is None or free is None or needed <= free:
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


class CompiledLoop:
    """The loop of a program.

    Attributes:
        program: The program.
        size: How many runs a queue holds.
    """

    def __init__(self, program: Program, starts: Any, *, long_steps: bool) -> None:
        """Settle the sizes; nothing is traced before the first call.

        Args:
            program: What runs do.
            starts: Starts of any runs, which show the shapes; the runs are the first axis.
            long_steps: Whether a step takes long: then the queue, and the rows returned by a call,
                have room for no more runs than there are lanes.
        """
        self.program = program
        self._start = jax.tree.map(row_of, starts)
        self.size, self._room = places(program, self._start)
        if long_steps:
            self.size, self._room = program.lanes, program.lanes
        self._compiled = _compiled(jax.tree.structure(program), self._room)
        self._chosen = chosen()

    def idle_lanes(self) -> Lanes:
        """Lanes without runs, on the host."""
        return idle_lanes(self.program, self._start)

    def no_rows(self) -> dict[str, Any]:
        """Rows of no runs: of the right structure, with 0 along the first axis."""
        lanes, queue = self._shapes(None)
        _, _, ended = self._compiled.eval_shape(self.program, lanes, queue, **_CONTROL)
        return jax.tree.map(lambda leaf: np.zeros((0, *leaf.shape[1:]), leaf.dtype), ended.rows)

    def __call__(
        self, program: Program, lanes: Lanes, queue: Queue, *, budget: int, more: bool
    ) -> tuple[Lanes, jax.Array, Ended]:
        """Call `advance` on the device where the arrays are; `lanes` are donated."""
        control = {"budget": np.int32(budget), "more": np.bool_(more)}
        (device,) = queue.size.devices()
        with self._traced_for(device):
            return self._compiled(program, lanes, queue, **control)

    def _traced_for(self, device: jax.Device) -> Any:
        """The context in which to trace for a device; a thread does not inherit the caller's."""
        return traced_for(self._chosen or device.platform)

    def _shapes(self, device: jax.Device | None) -> tuple[Lanes, Queue]:
        """Shapes of lanes and queue, placed on a device."""
        starts = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.size, *leaf.shape), leaf.dtype), self._start
        )
        number: Any = jax.ShapeDtypeStruct((), np.int32)
        queue = Queue(starts, first=number, head=number, size=number)
        return _on(device, (idle_shapes(self.program, self._start), queue))

    def needs(self, device: jax.Device) -> Needs:
        """What the loop needs on a device. It is compiled for this, and not again when called.

        Raises:
            MemoryError: where the compiler refuses what the device has no memory for, as a TPU's.
        """
        leaves, structure = self._signature(device)
        name = (self._compiled, structure, leaves)
        if (known := _known.get(name)) is not None:
            return known
        with self._traced_for(device), _named_by_lanes(self.program.lanes, device):
            found = _needs(self._compiled, structure, leaves)
        _known[name] = found
        if len(_known) > _KEPT:
            _known.pop(next(iter(_known)), None)
        return found

    def is_compiled_for(self, device: jax.Device) -> bool:
        """Whether `needs` has been asked of a device."""
        leaves, structure = self._signature(device)
        return (self._compiled, structure, leaves) in _known

    def _signature(self, device: jax.Device) -> tuple[tuple[Any, ...], Any]:
        """Leaves and structure of the arguments of a call on a device."""
        leaves, structure = jax.tree.flatten((_on(device, self.program), *self._shapes(device)))
        return tuple(leaves), structure


_CONTROL = {"budget": np.int32(0), "more": np.bool_(False)}


@functools.lru_cache(maxsize=_KEPT)
def _compiled(structure: Any, room: int) -> Any:
    """The jitted loop of all programs of one structure (static parts included)."""
    # The structure is the cache's key alone: with its entry go all programs compiled for it.
    del structure
    return jax.jit(functools.partial(advance, room=room), donate_argnums=1)


_known: dict[Hashable, Needs] = {}
"""What compiled programs need, by the loop and the leaves and structure of its arguments."""


def _needs(compiled: Any, structure: Any, leaves: tuple[Any, ...]) -> Needs:
    """What the compiled loop of a program needs, as its compiler says, on the leaves' device."""
    begun = time.monotonic()
    executable = compiled.lower(*jax.tree.unflatten(structure, leaves), **_CONTROL).compile()
    every_core = 'custom_call_target="lapack_' in (executable.as_text() or "")  # On CPUs only.
    seconds = time.monotonic() - begun
    memory = executable.memory_analysis()
    if memory is None:
        return Needs(None, every_core, seconds)  # Not every platform's compiler says.
    size = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )
    return Needs(size, every_core, seconds)


def _on(device: jax.Device | None, tree: Any) -> Any:
    """The shapes of arrays, placed on a device; None for no place in particular."""
    place = None if device is None else jax.sharding.SingleDeviceSharding(device)

    def shape(leaf: Any) -> jax.ShapeDtypeStruct:
        # Another weak type or sharding than the array's own would be another program.
        weak = getattr(leaf, "weak_type", False)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place, weak_type=weak)

    return jax.tree.map(shape, tree)
