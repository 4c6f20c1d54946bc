"""Batches of runs in an experiment that go on where they were when the experiment is run again.

    with resumable.into(folder):
        runs = resumable.escape(fun, optimizer, starts, keys, max_steps=1000)

An experiment calls its batches in the same order every time, so their checkpoints are numbered.
Outside `into`, in a notebook or a test, `escape` is `saddle.escape` with a bar, `find` is
`saddle.find` and `fit` is `training.fit`.
"""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from . import progress

_folders: ContextVar[Iterator[Path] | None] = ContextVar("folders", default=None)


@contextlib.contextmanager
def into(folder: Path) -> Iterator[None]:
    """Keep the checkpoints of the block in a folder, made when there is anything to write."""
    token = _folders.set(folder / f"{number:03}" for number in itertools.count())
    try:
        yield
    finally:
        _folders.reset(token)


def forget(folder: Path) -> None:
    """Remove a folder of checkpoints, if there is one, because its results are stored."""
    shutil.rmtree(folder, ignore_errors=True)


def folder() -> Path | None:
    """Return the folder for the checkpoints of the next batch, or None outside `into`."""
    folders = _folders.get()
    return None if folders is None else next(folders)


def escape(
    fun: Any, optimizer: Any, starts: Any, keys: Any = None, *, title: str = "runs", **options: Any
):
    """Call `saddle.escape` with checkpoints and a bar that is called `title`."""
    from jaxopt_course import saddle

    with _watched(title, starts) as more:
        return saddle.escape(fun, optimizer, starts, keys, **more, **options)


def find(fun: Any, starts: Any, *, title: str = "searches", **options: Any):
    """Call `saddle.find` with checkpoints and a bar that is called `title`."""
    from jaxopt_course import saddle

    # Without a method every start is searched from twice.
    runs_a_start = 2 if options.get("method") is None else 1
    with _watched(title, starts, runs_a_start) as more:
        return saddle.find(fun, starts, **more, **options)


def fit(*arguments: Any, epochs: int, **options: Any):
    """Call `training.fit` with checkpoints and a bar of the epochs."""
    from jaxopt_course import training

    return training.fit(
        *arguments,
        epochs=epochs,
        checkpoint=folder(),
        callback=progress.epochs(epochs),
        **options,
    )


@contextlib.contextmanager
def _watched(title: str, starts: Any, runs_a_start: int = 1) -> Iterator[dict[str, Any]]:
    """Open a bar for a batch; yield what shows it there and where the checkpoints go."""
    import jax

    (count, *_) = jax.tree.leaves(starts)[0].shape
    with progress.bar(title, total=runs_a_start * count) as update:
        yield {"checkpoint": folder(), "callback": lambda state: update(state.ended)}
