"""Progress bars that an experiment can use without knowing whether anyone looks.

    with progress.bar("runs", total=config.runs) as update:
        saddle.escape(..., callback=lambda state: update(state.ended))

`update(completed)` says how far the work is and may be called from any chunked loop between chunks;
library functions take it as a callback, and `epochs(total)` is one for `training.fit`. Outside
`display()`, in a notebook or a test, bars show nothing and cost nothing.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:  # It brings jax, and `list` does not need it.
    from jaxopt_course import training

Item = TypeVar("Item")
Update = Callable[[float], None]

_display: ContextVar[Progress | None] = ContextVar("display", default=None)


@contextlib.contextmanager
def display(console: Console) -> Iterator[None]:
    """Show the bars that are opened within the block, and clear them at its end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # A log file gets no bars: without a terminal each refresh would be another line.
    shown = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with shown:
        token = _display.set(shown)
        try:
            yield
        finally:
            _display.reset(token)


@contextlib.contextmanager
def bar(description: str, total: float | None = None) -> Iterator[Update]:
    """Open a bar for the length of the block.

    Args:
        description: What is being done.
        total: How much there is to do; None if that is not known.

    Yields:
        A function that takes how much is done so far.

    Example:
        >>> with bar("steps", total=100) as update:
        ...     update(50)
    """
    shown = _display.get()
    if shown is None:
        yield lambda _completed: None
        return
    task = shown.add_task(description, total=total)
    try:
        yield lambda completed: shown.update(task, completed=completed)
    finally:
        shown.remove_task(task)


def epochs(total: int) -> "Callable[[training.Epochs], None]":
    """Return a callback for `training.fit` that shows a bar until the last run has ended.

    Args:
        total: Epochs of the training; the bar shows how many of them are done, on average.

    Example:
        >>> from jaxopt_course import training
        >>> callback = epochs(2)
        >>> callback(training.Epochs([0], [1], {"loss": [0.5]}, ended=0, runs=1))
    """
    shown = _display.get()
    if shown is None:
        return lambda _told: None
    # Opened before the first epoch, most of which is compilation.
    task = shown.add_task("epochs", total=total)
    under_way: dict[int, int] = {}

    def callback(told: "training.Epochs") -> None:
        under_way.update(zip(map(int, told.run), map(int, told.epoch), strict=True))
        for run, loss in zip(map(int, told.run), told.record["loss"], strict=True):
            if under_way[run] == total or loss != loss:  # It is through, or has diverged.
                del under_way[run]
        done = total * told.ended + sum(under_way.values())
        if task in shown.task_ids:  # Two devices may both bring the last.
            shown.update(task, completed=done / told.runs)
            if told.ended == told.runs:
                shown.remove_task(task)

    return callback


def track(items: Iterable[Item], description: str, total: float | None = None) -> Iterator[Item]:
    """Iterate with a bar.

    Example:
        >>> [item for item in track("ab", "letters")]
        ['a', 'b']
    """
    if total is None:
        total = len(items) if hasattr(items, "__len__") else None  # pyrefly: ignore
    with bar(description, total) as update:
        for count, item in enumerate(items):
            yield item
            update(count + 1)
