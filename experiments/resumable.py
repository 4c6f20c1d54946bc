"""Batches of runs in an experiment that go on where they were when the experiment is run again.

    with resumable.into(folder):
        runs = resumable.escape(fun, optimizer, starts, keys, max_steps=1000)

An experiment calls its batches in the same order every time, so their checkpoints are numbered.
Outside `into`, in a notebook or a test, `escape` is `saddle.escape` with a bar.
"""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from experiments import progress

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
    import jax

    from jaxopt_course import saddle

    (count, *_) = jax.tree.leaves(starts)[0].shape
    with progress.bar(title, total=count) as update:
        return saddle.escape(
            fun,
            optimizer,
            starts,
            keys,
            checkpoint=folder(),
            callback=lambda state: update(state.ended),
            **options,
        )
