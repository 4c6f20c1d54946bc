"""Barriers of known lines, verdicts on made results, the whole at a small size, nightly."""

import numpy as np
import pytest
import xarray as xr

from experiments import barriers
from tests.experiments.refuting import unrefuted

WIDTHS, PAIRS, PATHS = (4, 12, 48), 6, 5


def made():
    """A result as the claims say it is."""
    rng = np.random.default_rng(0)
    step = np.linspace(0, 1, 51)
    bump = 4 * step * (1 - step)
    shape = (len(WIDTHS), PAIRS, 2)
    height = np.stack([rng.uniform(0.5, 1, shape[:2]), rng.uniform(0.5, 1, shape[:2])], axis=-1)
    height[..., 1] *= np.array([0.3, 0.01, 0.001])[:, None]
    image = np.linspace(0, 1, 21)
    rise = rng.uniform(0.02, 0.04, (PATHS, 2, 1))
    path = 0.08 + rise * 4 * image * (1 - image)
    # The last matched pair is one minimum.
    apart, found = np.ones((PATHS, 2)), np.ones((PATHS, 2), bool)
    apart[-1, 1], found[-1, 1], path[-1, 1] = 1e-15, False, np.nan
    where = ("path_pair", "how")
    return xr.Dataset(
        {
            "line": (("width", "pair", "how", "step"), 0.08 + height[..., None] * bump),
            "path": ((*where, "image"), path),
            "apart": (where, apart),
            "found": (where, found),
            "saddle_value": (where, np.where(found, 0.0801 + rise[..., 0], np.nan)),
            "saddle_index": (where, np.where(found, 1.0, np.nan)),
            "distance": (where, np.where(found, 0.3, np.nan)),
            "gradient_norm": ("seed", np.full(2 * PAIRS, 1e-16)),
            "is_minimum": ("seed", np.ones(2 * PAIRS, bool)),
        },
        coords={"width": list(WIDTHS), "how": list(barriers.HOW), "step": step},
    )


def refuted(dataset):
    return [claim.statement[:40] for claim in barriers.claims(dataset) if not claim.holds]


def test_every_claim_holds_of_what_it_describes_and_can_be_refuted():
    dataset = made()
    assert len(barriers.claims(dataset)) == 7
    assert refuted(dataset) == []
    assert unrefuted(barriers.claims, dataset.isel(step=slice(None, None, 10))) == []


def test_a_barrier_is_the_height_above_the_mean_of_the_ends():
    line = xr.DataArray([0.0, 5.0, 1.0], dims="step")
    assert barriers.line_barriers(xr.Dataset({"line": line})) == 4.5


@pytest.mark.parametrize(
    ("name", "value"),
    [("saddle_index", 2.0), ("saddle_value", 0.07), ("saddle_value", 0.2), ("found", False)],
)
def test_what_is_no_pass_between_two_minima_is_not_counted(name, value):
    """Another index, a point below an end, one far above the top, and none."""
    dataset = made()
    assert barriers.certified(dataset).sum() == 2 * PATHS - 1
    dataset[name][0, 0] = value
    assert barriers.certified(dataset).sum() == 2 * PATHS - 2
    dataset[name][:] = value
    (most,) = refuted(dataset)
    assert most.startswith("from the top of most paths")


def test_one_minimum_has_no_pass():
    dataset = made()
    dataset.apart[:] = 0
    assert barriers.certified(dataset).sum() == 0


def test_the_figure_has_lines_by_width_one_pair_and_all_heights():
    axes = barriers.plot(made()).axes
    assert len(axes) == 3
    assert len(axes[1].lines) == 4
    # Of one minimum no mark is drawn.
    (matched,) = [line for line in axes[2].lines if line.get_label() == "line, matched"]
    assert np.isfinite(matched.get_ydata()).sum() == PATHS - 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"widths": (12, 4)}, "widths must be two or more"),
        ({"path_pairs": 9}, "path_pairs must be"),
    ],
)
def test_a_config_that_cannot_be_measured_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        barriers.Config(**fields)


@pytest.mark.nightly
def test_permuting_keeps_the_loss_and_matching_lowers_the_line_at_a_small_size():
    config = barriers.Config(
        widths=(3, 16), pairs=2, path_pairs=2, images=60, steps=300, string_images=7,
        string_steps=50, search_steps=20,
    )  # fmt: skip
    dataset = barriers.run(config)
    assert len(barriers.claims(dataset)) == 7
    first, *_ = barriers.claims(dataset)
    assert first.holds
    lines = barriers.line_barriers(dataset).isel(width=-1).mean("pair")
    assert lines.sel(how="matched") < lines.sel(how="as they are")
