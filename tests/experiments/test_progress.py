import io

from rich.console import Console

from experiments import progress


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


def test_epochs_of_a_training_are_shown_until_the_last():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    progress.epochs(3)(1, {})  # outside a display, nothing
    with progress.display(console):
        callback, shown = progress.epochs(3), progress._display.get()
        for epoch in (1, 2):
            callback(epoch, {})
            (task,) = shown.tasks
            assert (task.description, task.completed, task.total) == ("epochs", epoch, 3)
        callback(3, {})
        assert shown.tasks == []


def test_a_log_file_gets_no_bars():
    console = Console(file=io.StringIO())
    with progress.display(console):
        list(progress.track("abc", "letters"))
    assert console.file.getvalue() == ""
