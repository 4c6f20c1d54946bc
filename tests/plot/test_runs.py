import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import plot, saddle, transforms


@pytest.fixture(scope="module")
def runs():
    """Three runs, of which the one that starts at the maximum stays there."""

    def fun(x):
        return (x**2 - 1) ** 2

    starts = jnp.array([0.5, 0.0, 0.9])
    return saddle.escape(
        fun, optax.sgd(0.05), starts, max_steps=40, target_value=1e-4, record_every=10
    )


def test_the_curve_ends_at_the_share_that_arrived(runs):
    (line,) = plot.escape_times(runs).lines
    x, y = line.get_data()
    assert y[-1] == pytest.approx(2 / 3)
    assert x[-1] == 40
    np.testing.assert_array_equal(x[1:3], np.sort(np.delete(runs.steps, 1)))


def test_the_legend_says_how_many_arrived(runs):
    legend = plot.escape_times(runs, label="sgd").get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["sgd: 2 of 3"]


def test_the_line_of_a_record_is_the_median(runs):
    ax = plot.record(runs, quantiles=(0.0, 1.0))
    x, y = ax.lines[0].get_data()
    np.testing.assert_array_equal(x, runs.record.step)
    np.testing.assert_allclose(y, np.median(runs.record.value, axis=0), rtol=1e-6)
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(float(np.max(runs.record.value)), rel=1e-6)


def test_what_was_observed_is_drawn_by_its_name():
    def fun(x):
        return jnp.sum(x**2)

    observe = {"twice": lambda params, state, fun: 2 * params, "all": lambda *seen: {"a": seen[0]}}
    starts = jnp.array([[1.0, 3.0], [2.0, 0.0]])
    rule = optax.sgd(0.25)
    runs = saddle.escape(fun, rule, starts, max_steps=4, record_every=2, observe=observe)
    line, *_ = plot.record(runs, "twice", quantiles=(0.0, 1.0)).lines
    np.testing.assert_allclose(line.get_ydata(), [5, 1.25, 0.3125])

    path = transforms.path(fun, rule, starts[0], 4, every=2, observe=observe)
    ax = plot.record(path, "twice", color="black")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 6], [2, 1.5], [4, 0.375]])
    assert (ax.get_ylabel(), ax.get_legend()) == ("twice", None)
    with pytest.raises(ValueError, match="'all' is a tree"):
        plot.record(path, "all")


def test_what_was_not_recorded_is_refused_by_name(runs):
    with pytest.raises(ValueError, match="record_min_eigenvalue=True"):
        plot.record(runs, "min_eigenvalue")
    with pytest.raises(ValueError, match="record_every"):
        plot.record(runs.replace(record=None))
    with pytest.raises(ValueError, match="'gradient_norm'\\], got 'loss'"):
        plot.record(runs, "loss")
    with pytest.raises(ValueError, match="quantiles must be in order"):
        plot.record(runs, quantiles=(0.9, 0.1))
    with pytest.raises(TypeError, match="runs must be an EscapeRuns, got int"):
        plot.escape_times(3)
