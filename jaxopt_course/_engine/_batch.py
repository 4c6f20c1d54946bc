"""A whole batch of runs: what tells it from others, its share of them, checkpoints, gathering.

Under `jax.distributed` every process has a contiguous share of the runs and works on it alone, with
its own devices, files and checkpoints; they meet once, at the end, to exchange results.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxopt_course import _preemption as preemption
from jaxopt_course._checks import is_key
from jaxopt_course._engine._checkpoints import RunCheckpoints, stored_parts
from jaxopt_course._engine._crews import Engine, Progress, Rows, concatenate
from jaxopt_course._engine._lanes import Plan, Queue, idle_lanes
from jaxopt_course._engine._loop import advance
from jaxopt_course._processes import wait_for_all

_FORMAT = 3
"""Of checkpoints; they are continued by the same only."""
_MOST_BYTES = 2**28
"""Of results held in memory before they go to disk."""
_WORTH_KEEPING = 1.0
"""Seconds of work whose end is worth a checkpoint, which takes some tenths of a second."""


class DescribedPlan(Plan, Protocol):
    """A plan of runs whose starts lie in memory."""

    def describe(self, constants: Any, /) -> dict[str, Any]:
        """Return what, besides starts and keys, tells a batch from others, as JSON."""
        ...


class Batch:
    """Starts and keys in memory, from which an engine takes."""

    def __init__(self, starts: Any, keys: jax.Array) -> None:
        self._typed = is_key(keys)
        self._impl = jax.random.key_impl(keys) if self._typed else None
        keys = jax.random.key_data(keys) if self._typed else keys
        self._arrays = jax.tree.map(np.asarray, (starts, keys))

    def take(self, first: int, size: int) -> tuple[Any, Any]:
        """Return `size` starts and keys; behind the last stand copies of it."""
        runs = self._arrays[1].shape[0]
        numbers = np.minimum(np.arange(first, first + size), runs - 1)
        starts, keys = jax.tree.map(lambda leaf: leaf[numbers], self._arrays)
        return starts, jax.random.wrap_key_data(keys, impl=self._impl) if self._typed else keys

    def digest(self) -> str:
        """Return what tells these starts and keys from all others."""
        digest = hashlib.sha256(str(self._impl).encode())
        for path, leaf in jax.tree.leaves_with_path(self._arrays):
            digest.update(f"{jax.tree_util.keystr(path)}{leaf.dtype}{leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()[:12]


def circumstances(device: jax.Device) -> dict[str, Any]:
    """Return on what the bits of a run depend besides its plan, as JSON."""
    return {"format": _FORMAT, "jax": jax.__version__, "device": device.device_kind}


def local_devices(devices: Any) -> tuple[jax.Device, ...]:
    """Return the devices that were asked for, by default all of this process."""
    devices = tuple(jax.local_devices() if devices is None else devices)
    if not devices:
        raise ValueError("devices must hold at least one device, got ()")
    return devices


def share(runs: int, process: int) -> range:
    """Return the numbers of the runs that are the share of a process."""
    processes = jax.process_count()
    return range(process * runs // processes, (process + 1) * runs // processes)


def run(
    plan: DescribedPlan,
    constants: Any,
    starts: Any,
    keys: jax.Array,
    *,
    traced: bool,
    devices: tuple[jax.Device, ...],
    checkpoint: str | os.PathLike[str] | None,
    checkpoint_every: float,
    callback: Callable[[Progress], Any] | None,
) -> Rows:
    """Run a batch from starts and keys in memory, in all processes together.

    Args:
        plan: What runs do.
        constants: Arrays they share.
        starts: The runs being the first axis.
        keys: Likewise.
        traced: Whether any of these is traced: then all is done within that program.
        devices: Among which the runs of this process are divided.
        checkpoint: Folder for checkpoints, or None.
        checkpoint_every: Seconds between them.
        callback: Called with the progress of this process.

    Returns:
        What is kept of every run, in their order.

    Raises:
        ValueError: for a checkpoint or a callback within a traced function.
    """
    if traced:
        for name, value in (("checkpoint", checkpoint), ("callback", callback)):
            if value is not None:
                raise ValueError(f"{name} must be None within a traced function, got {value!r}")
        return _run_inline(plan, constants, starts, keys)
    runs = keys.shape[0]
    source = Batch(starts, keys)
    engine = Engine(
        plan,
        constants,
        source.take,
        share(runs, jax.process_index()),
        devices,
        at_leisure=checkpoint is None and callback is None,
    )
    parts = complete(
        engine,
        checkpoint=checkpoint,
        every=checkpoint_every,
        about=lambda: (
            plan.describe(constants)
            | circumstances(devices[0])
            | {"starts and keys": source.digest()}
        ),
        always=False,
        callback=callback,
    )
    return gather(joined(engine, parts), runs)


def joined(engine: Engine, parts: Iterable[Rows]) -> Rows:
    """Join what `complete` returned of an engine's runs, in their order."""
    # A process whose share is empty brings nothing, but brings it in the right shapes.
    return concatenate(list(parts) or [engine.no_rows()])


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
        engine: A fresh batch.
        checkpoint: Folder for checkpoints, from the newest of which the batch continues.
        every: Seconds between checkpoints.
        about: Returns what must agree between a checkpoint and the batch.
        always: Whether the end leaves a checkpoint even if it came at once.
        callback: Called with the progress.

    Returns:
        What is kept of the runs, part by part, in any order.
    """
    if checkpoint is None:
        engine.work(callback=callback)
        return engine.rows
    with (
        RunCheckpoints(checkpoint, about()) as checkpoints,
        preemption.deferred(active=True) as preempted,
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
    """Give every process the rows of all, each having had its `share` in order."""
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


@partial(jax.jit, static_argnums=0)
def _run_inline(plan: Plan, constants: Any, starts: Any, keys: jax.Array) -> Rows:
    """Run within somebody's program: on its device, in one loop, without the host."""
    runs = keys.shape[0]
    start = jax.tree.map(lambda leaf: leaf[0], starts)
    queue = Queue(starts, keys, jnp.int32(0), jnp.int32(0), jnp.int32(runs))
    _, _, ended = advance(
        plan,
        idle_lanes(plan, constants, start, keys[0]),
        queue,
        constants,
        room=runs + plan.lanes,
        budget=jnp.int32(2**31 - 1),
        more=jnp.bool_(False),
    )
    rows = jax.tree.map(lambda leaf: leaf[:runs], ended.rows)
    order = jnp.argsort(rows.pop("run"))
    return jax.tree.map(lambda leaf: leaf[order], rows)
