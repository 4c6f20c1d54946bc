"""The search at a small size, the parts it is made of, and claims on data that are wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import index_against_loss
from experiments.index_against_loss import _search_starts
from experiments.lab.digit_network import Network, descend, slow_places
from tests.experiments.refuting import unrefuted


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def dataset():
    config = index_against_loss.Config(
        inputs=3, hidden=2, classes=3, images=30, starts=6, steps=500, max_steps=30
    )
    return index_against_loss.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in index_against_loss.claims(dataset)}


def test_units_at_zero_have_no_gradient(x64):
    problem = Network(inputs=3, hidden=3, images=20, classes=3).problem()
    params = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 2))
    alive = jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    crippled = _search_starts.without_units(params, alive)
    gradient = jax.vmap(jax.grad(problem.fun))(crippled)
    kept = _search_starts.without_units(gradient, alive)
    jax.tree.map(np.testing.assert_array_equal, gradient, kept)
    assert all(bool(jnp.any(leaf)) for leaf in jax.tree.leaves(gradient))


def test_descent_records_what_a_loop_gives(x64):
    starts = jnp.array([[1.0, 2.0], [3.0, -1.0]])
    params, values, norms = descend(lambda x: jnp.sum(x**2), starts, 0.25, 4, every=2)
    expected = starts[:, None] * jnp.array([0.25, 0.0625])[None, :, None]
    np.testing.assert_allclose(params, expected)
    np.testing.assert_allclose(values, np.sum(expected**2, -1))
    np.testing.assert_allclose(norms, 2 * np.sqrt(np.sum(expected**2, -1)))


def test_slow_places_are_the_local_minima_of_the_gradient_norm():
    norms = np.array([[3.0, 2.0, 4.0, 1.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0]])
    path, step = slow_places(norms, most=5)
    assert path.tolist() == [0, 0]
    assert step.tolist() == [3, 1]
    assert len(slow_places(norms, most=1)[0]) == 1


def test_rank_correlation_is_scipys_and_its_interval_covers_independence():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 40))
    y[:20] += x[:20]
    middle, low, high = index_against_loss.rank_correlation(x, y)
    assert middle == pytest.approx(index_against_loss.stats.spearmanr(x, y).statistic)
    assert low < middle < high
    _, low, high = index_against_loss.rank_correlation(x, rng.normal(size=40))
    assert low < 0 < high
    assert np.isnan(index_against_loss.rank_correlation(x, np.ones(40))).all()


@pytest.mark.nightly
def test_a_small_census_has_the_saddle_without_units_and_minima(dataset):
    assert dataset.attrs["zero_index"] == 4
    assert 4 in dataset["index"]
    assert 0 in dataset["index"]
    assert float(dataset.gradient_norm.max()) < 1e-8


@pytest.mark.nightly
def test_each_claim_holds_where_it_should_and_fails_when_its_data_are_wrong(dataset):
    places = np.resize(np.arange(dataset.sizes["place"]), 20)
    height = np.arange(20)
    good = dataset.isel(place=places).assign(value=("place", 1.0 + height))
    good["index"] = ("place", np.minimum(height, 4))
    good["eigenvalues"] = good.eigenvalues * 0 - good.value
    good["found_by"] = good.found_by | True
    assert all(verdicts(good).values())

    def failed(wrong):
        return [statement for statement, holds in verdicts(wrong).items() if not holds]

    upside_down = good.assign(value=-good.value)
    assert len(failed(upside_down)) == 4
    assert any("stationary" in what for what in failed(good.assign(gradient_norm=good.value)))
    constructed = good.assign(found_by=good.found_by & (good.family == "units at zero"))
    assert ["without the points" in what for what in failed(constructed)] == [True]


@pytest.mark.nightly
def test_the_figure_has_three_panels(dataset):
    assert len(index_against_loss.plot(dataset).axes) == 3


@pytest.mark.nightly
def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(index_against_loss.claims, dataset) == []
