"""Which saddles stochastic gradients leave, and every claim on data where it must fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import sgd_saddles
from jaxopt_course import problems
from tests.experiments.refuting import unrefuted

# The experiment itself, minutes of compilation in all of these.
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def dataset():
    return sgd_saddles.run(sgd_saddles.Config(runs=8, steps=500))


def verdicts(dataset):
    return [claim.holds for claim in sgd_saddles.claims(dataset)]


def test_every_claim_holds_at_a_small_size(dataset):
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
