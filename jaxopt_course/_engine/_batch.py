"""A whole batch of runs: what tells it from others, its share of them, checkpoints, gathering.

Under `jax.distributed` every process has a contiguous share of the runs and works on it alone, with
its own devices, files and checkpoints; they meet once, at the end, to exchange results.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax.experimental import multihost_utils

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_path,
    check_positive,
    is_key,
    is_traced,
)
from jaxopt_course._engine import _preemption as preemption
from jaxopt_course._engine._checkpoints import RunCheckpoints, stored_parts
from jaxopt_course._engine._crews import Engine, Rows, concatenate
from jaxopt_course._engine._loop import (
    Program,
    Queue,
    advance,
    bare_shapes,
    idle_lanes,
    idle_shapes,
    key_layout,
    keyed,
    padded,
    together,
)
from jaxopt_course._engine._meshes import check_off_the_mesh
from jaxopt_course._engine._processes import wait_for_all
from jaxopt_course._equations import digest_of, on_host
from jaxopt_course._tracing import row_of, settings

_FORMAT = 3
"""Format of checkpoints: only the same format continues one."""
_MOST_BYTES = 2**28
"""Bytes of results that are held in memory before they go to disk."""
_WORTH_KEEPING = 1.0
"""Seconds of work whose end is worth a checkpoint, which takes some tenths of a second."""


class Batch:
    """Starts in memory, from which an engine takes.

    Attributes:
        start: The shapes of one.
        runs: How many there are.
    """

    def __init__(self, starts: Any) -> None:
        """Copy them to the host, keys as their data."""
        self.start = jax.tree.map(row_of, starts)
        self._starts = jax.tree.map(on_host, starts)
        self.runs = jax.tree.leaves(self._starts)[0].shape[0]

    def take(self, first: int, size: int) -> Any:
        """The `size` starts from number `first` on; copies of the last one fill them up."""

        def of(leaf: np.ndarray) -> np.ndarray:
            taken = leaf[first : first + size]
            if len(taken) == size:
                return taken
            whole = np.empty((size, *leaf.shape[1:]), leaf.dtype)
            whole[: len(taken)], whole[len(taken) :] = taken, leaf[-1]
            return whole

        return jax.tree.map(of, self._starts)

    def digest(self) -> str:
        """A digest of these starts, by which a checkpoint knows them."""
        leaves, structure = jax.tree.flatten(self._starts)
        generators = [
            key_layout(leaf.dtype)[1] if is_key(leaf) else None
            for leaf in jax.tree.leaves(self.start)
        ]
        return digest_of((leaves, str(structure), str(generators)))


def circumstances(device: jax.Device) -> dict[str, Any]:
    """What the bits of a run depend on besides its program and start, as JSON."""
    return {
        "format": _FORMAT,
        "versions": {"jax": jax.__version__, "jaxlib": jaxlib.__version__},
        "device": device.device_kind,
        "settings": settings(),
    }


def said_of_key(key: jax.Array) -> str:
    """The data of a key as text, for error messages."""
    return str(jax.random.key_data(key).tolist())


def local_devices(devices: Any) -> tuple[jax.Device, ...]:
    """Return the devices that were asked for, by default all of this process."""
    if devices is None:
        return tuple(jax.local_devices())
    if not isinstance(devices, list | tuple) or not all(isinstance(d, jax.Device) for d in devices):
        raise TypeError(f"devices must be a tuple of devices of JAX, got {brief(devices)}")
    if not devices:
        raise ValueError(f"devices must hold at least one device, got {brief(devices)}")
    return tuple(devices)


class Execution(NamedTuple):
    """How a batch is executed. What its runs do does not depend on it, but for last bits (`lanes`).

    Attributes:
        devices: Devices among which the runs of this process are divided, by default all it has.
        lanes: How many runs a device takes through their steps together; None for what the caller
            finds best. The last bits of a run depend on it.
        checkpoint: Folder for checkpoints (of every process, on a disk of its own or a shared one),
            from the newest of which the batch continues; None for none.
        checkpoint_every: Seconds between checkpoints.
        callback: Called with the progress of this process a few times a second, or None.
        one_first: Whether the first device works alone until the others are worth compiling for,
            see `Engine`: so it is unless the caller named the devices.
    """

    devices: tuple[jax.Device, ...]
    lanes: int | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: float
    callback: Callable[..., Any] | None
    one_first: bool


def checked_execution(
    devices: Any, lanes: Any, checkpoint: Any, checkpoint_every: Any, callback: Any
) -> Execution:
    """The `Execution` of these arguments of `escape`, `find` and `fit`, which are checked.

    Raises:
        TypeError: for something of another type.
        ValueError: for no devices, or a number that is not positive.
    """
    check_count(lanes=lanes, optional=True)
    check_path(checkpoint=checkpoint, optional=True)
    check_positive(checkpoint_every=checkpoint_every)
    check_callable(callback=callback, optional=True)
    one_first, devices = devices is None, local_devices(devices)
    return Execution(devices, lanes, checkpoint, checkpoint_every, callback, one_first)


def share(runs: int, process: int) -> range:
    """The numbers of the runs that one process of `jax.distributed` works on."""
    processes = jax.process_count()
    return range(process * runs // processes, (process + 1) * runs // processes)


def run(
    program: Program,
    starts: Any,
    *,
    about: Callable[[], dict[str, Any]],
    execution: Execution,
) -> Rows:
    """Run a batch from starts in memory, in all processes together.

    If a surrounding transformation (`jit`, `vmap`, `grad`) traces any of the arrays, the batch
    becomes a part of its program, without threads, checkpoints and callbacks.

    Args:
        program: What runs do.
        starts: Starts, a pytree with the runs as the first axis of every leaf.
        about: Returns what tells this batch from others with the same starts, as JSON.
        execution: How it is executed, checked.

    Returns:
        What is kept of every run, in their order.

    Raises:
        ValueError: for a checkpoint or a callback within a traced function.
    """
    devices, _, checkpoint, checkpoint_every, callback, one_first = execution
    if is_traced((program, starts)):
        for name, value in (("checkpoint", checkpoint), ("callback", callback)):
            if value is not None:
                raise ValueError(
                    f"{name} must be None within a traced function, got {brief(value)}"
                )
        return _run_inline(program, starts)
    check_off_the_mesh(program)
    source = Batch(starts)
    engine = Engine(
        program,
        source,
        share(source.runs, jax.process_index()),
        devices,
        at_leisure=checkpoint is None and callback is None,
        one_first=one_first,
    )
    parts = complete(
        engine,
        checkpoint=checkpoint,
        every=checkpoint_every,
        about=lambda: about() | circumstances(devices[0]) | {"starts": source.digest()},
        always=False,
        callback=callback,
    )
    # A process whose share is empty brings nothing, but brings it in the right shapes.
    rows = concatenate(list(parts) or [engine.no_rows()])
    return gather(rows, source.runs)


def complete(
    engine: Engine,
    *,
    checkpoint: str | os.PathLike[str] | None,
    every: float,
    about: Callable[[], dict[str, Any]],
    always: bool,
    callback: Callable[..., Any] | None,
) -> list[Rows] | Iterator[Rows]:
    """Work until every run has ended.

    Args:
        engine: A batch of which nothing is done yet.
        checkpoint: Folder for checkpoints, from the newest of which the batch continues.
        every: Seconds between checkpoints.
        about: Returns what must agree between a checkpoint and the batch.
        always: Whether the end leaves a checkpoint even if the whole batch took but a moment.
        callback: Called with the progress.

    Returns:
        What is kept of the runs, part by part, in any order.
    """
    if checkpoint is None:
        engine.work(callback=callback)
        return engine.rows
    with (
        preemption.deferred() as preempted,
        RunCheckpoints(checkpoint, about()) as checkpoints,
    ):
        checkpoints.restore(engine)
        begun = time.monotonic()
        while not (engine.finished or preempted()):
            try:
                engine.work(
                    seconds=every, most_bytes=_MOST_BYTES, stop=preempted, callback=callback
                )
                quick = time.monotonic() - begun < _WORTH_KEEPING
                if always or not (quick and engine.finished) or checkpoints.exist or preempted():
                    checkpoints.save(engine)
            except BaseException:
                if engine.whole and not checkpoints.failed:
                    checkpoints.save(engine)
                raise
        return (
            list(engine.rows)
            if not checkpoints.exist
            else stored_parts(checkpoints.folder, engine.no_rows())
        )


def gather(rows: Rows, runs: int) -> Rows:
    """The rows of all processes, in order, of which each brings those of its `share`."""
    processes = jax.process_count()
    if processes == 1:
        return rows
    wait_for_all("engine.gather")
    most = -(-runs // processes)
    sizes = [len(share(runs, process)) for process in range(processes)]

    def gather_leaf(leaf: np.ndarray) -> np.ndarray:
        missing = most - leaf.shape[0]
        padded = np.concatenate([leaf, np.zeros((missing, *leaf.shape[1:]), leaf.dtype)])
        everyone = multihost_utils.process_allgather(padded)
        return np.concatenate(
            [np.asarray(part)[:size] for part, size in zip(everyone, sizes, strict=True)]
        )

    return jax.tree.map(gather_leaf, rows)


@jax.jit
def _run_inline(program: Program, starts: Any) -> Rows:
    """Run a batch within the program that a surrounding transformation traces, in one loop."""
    runs, lanes = jax.tree.leaves(starts)[0].shape[0], program.lanes
    if 0 < runs <= lanes:
        return together(program, starts)
    if program.in_blocks and runs:
        blocks = -(-runs // lanes)
        starts = jax.tree.map(
            lambda leaf: padded(leaf, blocks * lanes).reshape(blocks, lanes, *leaf.shape[1:]),
            starts,
        )
        rows = jax.lax.map(partial(together, program), starts)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:runs], rows)
    shapes = idle_shapes(program, jax.tree.map(row_of, starts))
    queue = Queue(starts, jnp.int32(0), jnp.int32(0), jnp.int32(runs))
    _, _, ended = advance(
        program,
        keyed(idle_lanes(bare_shapes(shapes)), shapes),
        queue,
        room=runs + lanes,
        budget=jnp.int32(2**31 - 1),
        more=jnp.bool_(False),
    )
    rows = jax.tree.map(lambda leaf: leaf[:runs], ended.rows)
    # Each run's place, without sorting, which compiles slowly for accelerators.
    number = rows.pop("run")
    order = jnp.zeros_like(number).at[number].set(jnp.arange(runs, dtype=number.dtype))
    return jax.tree.map(lambda leaf: leaf[order], rows)
