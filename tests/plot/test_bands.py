import numpy as np
import pytest

from jaxopt_course import plot


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_what_is_not_finite_counts_and_is_not_drawn():
    ax = plot.distribution([2.0, np.inf, 1.0, np.nan], label="times")
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[1, 0.25], [2, 0.5]])
    assert labels(ax) == ["times"]


def test_values_of_which_none_is_finite_are_an_empty_curve():
    assert plot.distribution([np.inf, np.nan]).lines[0].get_xydata().size == 0


def test_the_band_is_between_the_quantiles_and_leaves_nan_out():
    values = np.array([[1.0, 4.0, np.nan], [2.0, np.nan, np.nan], [9.0, 6.0, np.nan]])
    ax = plot.band([0, 1, 2], values, quantiles=(0.0, 1.0), label="runs")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2, 5, np.nan])
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == (1, 9)
    assert labels(ax) == ["runs"]
    mean = plot.band([0, 1, 2], values, center="mean", color="black", ax=ax).lines[1]
    np.testing.assert_array_equal(mean.get_ydata(), [4, 5, np.nan])
    assert mean.get_color() == "black"


@pytest.mark.parametrize("shape", [(3,), (2, 4), (0, 3), (2, 3, 1)])
def test_values_that_do_not_fit_their_places_are_refused(shape):
    with pytest.raises(ValueError, match=r"values must have shape \(runs, points\)"):
        plot.band([0, 1, 2], np.zeros(shape))


def test_other_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="center must be"):
        plot.band([0], [[0.0]], center="mode")
    with pytest.raises(ValueError, match="quantiles must be"):
        plot.band([0], [[0.0]], quantiles=(0.5, 2.0))
    with pytest.raises(ValueError, match="values must not be empty"):
        plot.distribution([])
    with pytest.raises(TypeError, match="values must be an array of real numbers"):
        plot.distribution(["a"])
