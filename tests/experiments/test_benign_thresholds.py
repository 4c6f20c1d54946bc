"""One problem whose threshold is known exactly, and every claim on data where it must fail."""

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import benign_thresholds as thresholds
from tests.experiments.refuting import unrefuted


@pytest.fixture
def dataset():
    """One draw a level of the problem with a known threshold, all as its theorem says."""
    amount = np.array(thresholds.FAMILIES["two by two"].amounts)
    end = np.full((1, amount.size, 1, 12), thresholds.GLOBAL)
    end[0, amount > 0.5, 0, ::2] = thresholds.BAD
    return xr.Dataset(
        {
            "end": (("family", "level", "draw", "run"), end),
            "value": (("family", "level", "draw", "run"), 0.75 * (end == thresholds.BAD)),
            "amount": (("family", "level"), amount[None]),
        },
        coords={"family": ["two by two"]},
    )


def verdicts(dataset):
    return [claim.holds for claim in thresholds.claims(dataset)]


@pytest.mark.nightly
def test_bad_minima_are_there_exactly_where_delta_exceeds_a_half():
    config = thresholds.Config(families=("two by two",), draws=1, runs=12, steps=5000)
    dataset = thresholds.run(config)
    part = dataset.sel(family="two by two")
    np.testing.assert_array_equal(thresholds.bad_draws(part) > 0, part.amount > 0.5)
    at_bad = dataset.value.values[dataset.end.values == thresholds.BAD]
    np.testing.assert_allclose(at_bad, 0.75, rtol=1e-6)
    assert all(verdicts(dataset))


@pytest.mark.parametrize(
    ("end", "level", "broken"),
    [
        (thresholds.GLOBAL, slice(0, 3), [False, True, True, True]),
        (thresholds.BAD, 5, [True, False, False, True]),
        (thresholds.BAD, 3, [True, True, False, True]),
        (thresholds.UNDECIDED, 2, [True, True, True, False]),
    ],
)
def test_each_claim_fails_on_data_that_refute_it(dataset, end, level, broken):
    other = dataset.copy(deep=True)
    other.end[0, level] = end
    assert verdicts(other) == broken


def test_the_network_s_condition_is_the_theorem_s():
    family = thresholds.FAMILIES["quadratic network"]
    assert family.enough == np.sqrt(2 * 18)
    problem = family.problem(2, jax.random.key(0))
    assert jax.eval_shape(problem.init, jax.random.key(0)).shape == (2, 8)


def test_a_single_unit_has_nothing_to_rotate():
    family = thresholds.FAMILIES["quadratic network"]
    assert jax.eval_shape(family.null_space, np.zeros((1, 8))).shape == (0, 1, 8)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(thresholds.claims, dataset) == []
