import io

import numpy as np
from rich.console import Console

from experiments.lab import progress
from jaxopt_course import training


def test_bars_outside_a_display_do_nothing():
    with progress.bar("steps", total=3) as update:
        update(1)
    assert list(progress.track([1, 2], "items")) == [1, 2]


def test_a_bar_shows_how_far_the_work_is():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress.display(console), progress.bar("falling", total=8) as update:
        update(5)
        progress._display.get().refresh()
    text = console.file.getvalue()
    assert "falling" in text
    assert "5/8" in text


def told(epochs, losses, ended):
    """Of three runs, the first ones."""
    return training.Epochs(
        np.arange(len(epochs)), np.array(epochs), {"loss": np.array(losses)}, ended=ended, runs=3
    )


def test_epochs_of_a_training_are_shown_until_the_last_run_has_ended():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    progress.epochs(6)(told([1], [0.5], 0))  # outside a display, nothing
    with progress.display(console):
        callback, shown = progress.epochs(6), progress._display.get()
        for epochs, losses, ended, done in (
            ([1, 1, 1], [0.5] * 3, 0, 1),
            ([3, 3], [0.5] * 2, 0, (3 + 3 + 1) / 3),
            ([4, 4], [0.5, np.nan], 1, (4 + 6 + 1) / 3),  # the second has diverged
            ([6], [0.5], 2, (6 + 6 + 1) / 3),
        ):
            callback(told(epochs, losses, ended))
            (task,) = shown.tasks
            assert (task.description, task.completed, task.total) == ("epochs", done, 6)
        for _ in range(2):  # two devices may bring the last of their runs
            callback(told([6], [0.5], 3))
        assert shown.tasks == []


def test_a_log_file_gets_no_bars():
    console = Console(file=io.StringIO())
    with progress.display(console):
        list(progress.track("abc", "letters"))
    assert console.file.getvalue() == ""
