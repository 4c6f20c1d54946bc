"""A training from its checkpoints, and from those of shorter ones in the same folder.

    FOLDER/epochs-5     a training of 5 epochs, over or interrupted
    FOLDER/epochs-10    the one that continues it

A shorter training that was interrupted is finished first. Its folder is removed when the longer one
is over.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxopt_course._engine import _batch as batch
from jaxopt_course._engine import _checkpoints as checkpoints
from jaxopt_course._engine._batch import Execution
from jaxopt_course._engine._crews import Drawn, Engine, Progress, Rows, concatenate
from jaxopt_course._progress import Bar
from jaxopt_course._tracing import row_of
from jaxopt_course.training._program import Epochs, TrainingProgram, capacity, newest
from jaxopt_course.training._starts import Continued, Fresh, Starts

_PREFIX = "epochs-"


def held(checkpoint: str | os.PathLike[str] | None) -> contextlib.AbstractContextManager[Any]:
    """A block in which no other process works in the folder of the checkpoints, if there is one."""
    return contextlib.nullcontext() if checkpoint is None else checkpoints.own_folder(checkpoint)


def default_lanes(
    runs: int,
    devices: tuple[jax.Device, ...],
    checkpoint: str | os.PathLike[str] | None,
) -> int:
    """How many runs a device trains together: as its checkpoint says, or its even share."""
    for epochs in reversed(_stored_epochs(checkpoint)):
        folder = _folder(checkpoint, epochs)
        about = None if folder is None else checkpoints.stored_about(folder)
        if about is not None:
            return about["lanes"]
    return -(-runs // (jax.process_count() * len(devices)))


def check_epochs(epochs: int, checkpoint: str | os.PathLike[str] | None) -> None:
    """Raise ValueError if there is a checkpoint of a longer training."""
    longest = max(_stored_epochs(checkpoint), default=0)
    if longest > epochs:
        raise ValueError(
            f"epochs must be at least the {longest} of checkpoint {checkpoint}, got {epochs}"
        )


def train(
    program: TrainingProgram,
    fresh: Fresh,
    *,
    runs: int,
    about: Callable[[], dict[str, Any]],
    execution: Execution,
) -> Rows:
    """Train every run, in all processes together.

    Args:
        program: What runs do, with the number of epochs asked for.
        fresh: Starts of new runs.
        runs: How many runs there are.
        about: Returns what tells this training from others, as JSON.
        execution: How it is executed, checked.

    Returns:
        What is kept of every run, in their order.
    """
    devices, _, checkpoint, checkpoint_every, callback, one_first = execution
    numbers = batch.share(runs, jax.process_index())
    epochs = int(program.epochs)
    shorter = [stored for stored in _stored_epochs(checkpoint) if stored < epochs]
    starts: Starts = fresh
    for target in [*shorter, epochs]:
        room = capacity(target)
        engine = Engine(
            dataclasses.replace(program, epochs=np.int32(target), capacity=room),
            Drawn(
                jax.tree.map(row_of, starts(numbers.start, 1, capacity=room)),
                partial(starts, capacity=room),
            ),
            numbers,
            devices,
            at_leisure=checkpoint is None and callback is None,
            one_first=one_first,
            long_steps=True,
            observe=None if callback is None else newest,
        )
        parts = batch.complete(
            engine,
            checkpoint=_folder(checkpoint, target),
            every=checkpoint_every,
            about=lambda: (
                {"lanes": program.lanes} | fresh.about() | about() | batch.circumstances(devices[0])
            ),
            always=True,
            callback=None if callback is None else _telling(callback),
        )
        # A process whose share is empty has no parts; `gather` wants its rows all the same.
        rows = concatenate(list(parts) or [engine.no_rows()])
        starts = Continued(fresh, rows, numbers)
    for stored in shorter:
        if (over := _folder(checkpoint, stored)) is not None:
            checkpoints.forget(over)
    return batch.gather(rows, runs)


def _telling(callback: Callable[[Epochs], Any]) -> Callable[[Progress, Any], None]:
    """The engine's callback that tells a callback of `fit`: see `Engine.work`."""

    def tell(progress: Progress, moved: Any) -> None:
        if isinstance(callback, Bar):
            callback.batch(progress)
        if moved is None:
            return
        run, epoch, record = moved
        if run.size:
            callback(Epochs(run, epoch, record, progress.ended, progress.runs))

    return tell


def _folder(checkpoint: str | os.PathLike[str] | None, epochs: int) -> Path | None:
    return None if checkpoint is None else Path(checkpoint) / f"{_PREFIX}{epochs}"


def _stored_epochs(checkpoint: str | os.PathLike[str] | None) -> list[int]:
    """Return the epochs of the trainings that have a checkpoint, in order."""
    if checkpoint is None:
        return []
    folders = Path(checkpoint).glob(f"{_PREFIX}*")
    return sorted(
        int(folder.name.removeprefix(_PREFIX))
        for folder in folders
        if folder.name.removeprefix(_PREFIX).isdecimal() and checkpoints.is_stored(folder)
    )
