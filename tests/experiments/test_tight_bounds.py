"""Bounds that are attained, and every claim on data where it must fail."""

import jax
import numpy as np
import pytest

from experiments import tight_bounds
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    config = tight_bounds.Config(steps=250, epsilons=(2**-1, 2**-3), smoothnesses=(1.0, 4.0))
    return tight_bounds.run(config)


def verdicts(dataset):
    return [claim.holds for claim in tight_bounds.claims(dataset)]


def test_every_bound_holds_and_is_attained(dataset):
    assert verdicts(dataset) == [True] * 9


@pytest.mark.parametrize(
    ("name", "at", "change", "broken"),
    [
        ("value", {"start": 1, "step": 2}, lambda x: 1.001 * x, [0, 1]),
        ("distance", {"rate": 3, "step": 7}, lambda x: 1.001 * x, [2]),
        ("distance", {"rate": 3, "start": 0, "step": 7}, lambda x: 0.999 * x, [3]),
        ("distance", {"rate": -1}, lambda x: 0 * x, [4]),
        ("huber", {"length": 2}, lambda x: 0.99 * x, [5]),
        ("sawtooth", {"epsilon": 1}, lambda x: x / 2, [6, 8]),
        ("sawtooth", {"beta": 1}, lambda x: x * 1.1, [7, 8]),
    ],
)
def test_each_claim_fails_on_data_that_refute_it(dataset, name, at, change, broken):
    wrong = dataset.copy(deep=True)
    wrong[name][at] = change(wrong[name][at])
    assert [i for i, holds in enumerate(verdicts(wrong)) if not holds] == broken


def test_the_sawtooth_s_slope_changes_by_beta_and_is_epsilon_at_its_grid(x64):
    slope = jax.vmap(jax.grad(tight_bounds.sawtooth), (0, None, None, None))
    x = np.linspace(0, 1.25, 1001)
    found = np.asarray(slope(x, 4.0, 0.5, 8))
    np.testing.assert_allclose(found[[0, 100, 400, 800]], -0.5)
    np.testing.assert_allclose(np.abs(np.diff(found)), 5e-3, atol=1e-12)
    np.testing.assert_allclose(found[900], 0, atol=1e-12)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(tight_bounds.claims, dataset) == []


def test_the_figure_has_a_panel_for_every_bound(dataset):
    assert len(tight_bounds.plot(dataset).axes) == 4
