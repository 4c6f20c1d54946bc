"""Which saddles stochastic gradients leave, and every claim on data where it must fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments import sgd_saddles
from jaxopt_course import problems
from tests.experiments.refuting import unrefuted


@pytest.fixture
def dataset():
    """What a run gives where noise along negative curvature decides, and no run is unlucky."""
    names = ["README", "{}", "{1}", "{2}", "{3}", "{1, 3}", "{2, 3}"]
    negative = np.array([0, 0, 0, 0.5, 0.5, 0, 0.5])
    runs = np.arange(8)
    left = np.empty((3, 7, 8))
    left[0] = np.where(negative > 0, 300.0, np.inf)[:, None] + runs
    left[1] = np.where(negative > 0, 100.0, np.inf)[:, None] + runs
    left[2] = 50.0 + runs
    end = np.where(np.isfinite(left), 0.01, 1.0)
    end[:2, 3:5] = 0.5
    return xr.Dataset(
        {
            "left": (("rule", "saddle", "run"), left),
            "end": (("rule", "saddle", "run"), end),
            "total": ("saddle", np.array([0.0, 0, 1, 1, 1, 1, 1])),
            "weakest": ("saddle", np.zeros(7)),
            "lowest": ("saddle", negative * [0, 0, 0, 0, 1, 0, 1]),
            "negative": ("saddle", negative),
            "height": ("saddle", np.ones(7)),
        },
        coords={"rule": list(sgd_saddles.RULES), "saddle": names},
        attrs={"seed": 0, "steps": 500, "batch_size": 2},
    )


def verdicts(dataset):
    return [claim.holds for claim in sgd_saddles.claims(dataset)]


def test_all_claims_hold_where_noise_along_negative_curvature_decides(dataset):
    assert verdicts(dataset) == [True] * 7


@pytest.mark.nightly
def test_every_claim_holds_at_a_small_size():
    dataset = sgd_saddles.run(sgd_saddles.Config(runs=8, steps=500))
    assert verdicts(dataset)[:3] == [True] * 3
    assert verdicts(dataset)[4:] == [True] * 3


def test_the_network_on_all_inputs_is_the_one_whose_saddles_are_known(x64):
    network = problems.linear_network(sgd_saddles.SINGULAR_VALUES, widths=(3, 2, 3))
    place = sgd_saddles.places()[4]
    weights = network.init(jax.random.key(0))
    np.testing.assert_allclose(place.fun(weights), network.fun(weights), rtol=1e-12)
    for one in sgd_saddles.places():
        gradient = jax.grad(one.fun)(one.params)
        assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))
        np.testing.assert_allclose(one.fun(one.params), one.value)
    np.testing.assert_allclose(network.minimum_value, one.minimum)


def test_the_noise_is_that_of_the_batches_drawn(x64):
    place = sgd_saddles.places()[-1]
    draws = np.random.default_rng(0).integers(0, 8, (4000, 2))

    def gradient(numbers):
        batch = jax.tree.map(lambda leaf: leaf[numbers], place.fun.data)
        return jnp.concatenate(
            [leaf.ravel() for leaf in jax.grad(place.fun.loss)(place.params, batch)]
        )

    spread = np.asarray(jax.vmap(gradient)(jnp.asarray(draws)))
    total = sgd_saddles.noise(place, 2)["total"]
    np.testing.assert_allclose(np.mean(np.sum(spread**2, axis=1)), total, rtol=0.05)


@pytest.mark.parametrize(
    ("name", "at", "value", "broken"),
    [
        ("left", {"rule": 0, "saddle": 1, "run": 0}, 5.0, 0),
        ("left", {"rule": 1, "saddle": 6, "run": 0}, np.inf, 1),
        ("lowest", {"saddle": slice(None)}, 1.0, 2),
        ("left", {"rule": 1, "saddle": 6}, 400.0, 3),
        ("left", {"rule": 2, "saddle": 0, "run": 0}, np.inf, 4),
        ("weakest", {"saddle": 4}, 1e-3, 5),
        ("end", {"rule": 2}, 1.0, 6),
    ],
)
def test_each_claim_fails_on_data_that_refute_it(dataset, name, at, value, broken):
    wrong = dataset.copy(deep=True)
    wrong[name][at] = value
    assert verdicts(wrong)[broken] is False


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(sgd_saddles.claims, dataset) == []


def test_the_figure_has_a_row_for_every_saddle(dataset):
    where, _ = sgd_saddles.plot(dataset).axes
    assert [text.get_text() for text in where.get_yticklabels()] == list(dataset.saddle.values)
