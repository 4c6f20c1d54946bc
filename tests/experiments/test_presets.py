"""Every experiment's quick preset runs whole, by the command that a user types.

What fails only at the preset's own names and sizes fails here: a rule that raises in its first
step, data that no longer fit a claim, a figure that cannot be drawn. Nightly, since compiling a
preset takes half a minute: at any size each experiment has the same programs.
"""

import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.lab import cli, registry, runner, store
from experiments.lab.claims import Claim


def cut_off(figure):
    """Titles that go over the edge of a figure, where they are cut off."""
    FigureCanvasAgg(figure).draw()
    headings = [figure._suptitle, *(axis.title for axis in figure.axes)]
    headings += [
        getattr(axis, f"_{side}_title") for axis in figure.axes for side in ("left", "right")
    ]
    boxes = {text.get_text(): text.get_window_extent() for text in headings if text is not None}
    edge = figure.bbox
    return [
        words
        for words, box in boxes.items()
        if words and not (box.x0 >= edge.x0 and box.x1 <= edge.x1 and box.y1 <= edge.y1)
    ]


def run_quick(name, out, package=registry.PACKAGE):
    """Run a quick preset; whether its claims hold is not asked, whether it is all there is."""
    code = cli.main(["run", name, "--preset", "quick", "--out", str(out)], package=package)
    assert code in (0, 1), f"{name} failed, see above"
    config = registry.make_preset(registry.find(name, package).load().Config, "quick")
    result = store.read(store.folder_of(out, name, config))
    assert result is not None
    judged = result.claims()
    # What a preset leaves out on purpose is not measured, but never all of it.
    assert any(claim.holds is not None for claim in judged), f"{name} measured nothing"
    with matplotlib.style.context(runner.STYLE):
        figure = registry.find(name, package).load().plot(result.dataset())
    assert cut_off(figure) == []
    numbers = [x for x in result.dataset().data_vars.values() if x.dtype.kind == "f"]
    assert not numbers or any(np.isfinite(x).any() for x in numbers)


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(registry.experiments()))
def test_the_quick_preset_runs_whole(name, tmp_path):
    run_quick(name, tmp_path)


def test_a_quick_preset_that_runs_passes(toys, tmp_path):
    run_quick("toy", tmp_path, toys)


@pytest.mark.parametrize("broken", ["run", "claims", "plot"])
def test_a_broken_quick_preset_is_noticed(broken, toys, tmp_path, monkeypatch):
    monkeypatch.setattr(registry.find("toy", toys).load(), broken, lambda *_: 1 / 0)
    with pytest.raises(AssertionError, match="toy failed"):
        run_quick("toy", tmp_path, toys)


def test_a_quick_preset_that_measures_nothing_is_noticed(toys, tmp_path, monkeypatch):
    unmeasured = [Claim("the sum is right", "arithmetic", "3", "nan", None)]
    monkeypatch.setattr(registry.find("toy", toys).load(), "claims", lambda _: unmeasured)
    with pytest.raises(AssertionError, match="toy measured nothing"):
        run_quick("toy", tmp_path, toys)


def test_a_title_wider_than_its_figure_is_noticed():
    figure = Figure(figsize=(3, 2))
    figure.subplots().set_title("short", loc="left")
    figure.suptitle("short, too")
    assert cut_off(figure) == []
    long = "a title of many more words than there is room for in three inches"
    figure.suptitle(long)
    figure.axes[0].set_title(long[2:], loc="left")
    assert cut_off(figure) == [long, long[2:]]
