"""The networks at a small size, and every claim on data where it must fail."""

import jax
import numpy as np
import pytest

from experiments import linear_networks
from experiments.linear_networks import _departure as _linear_departure
from experiments.linear_networks import _landscape as _linear_landscape
from jaxopt_course import saddle
from tests.experiments.refuting import unrefuted


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def dataset():
    config = linear_networks.Config(
        depths=(3,), runs=16, searches=8, directions=4, times=(20.0, 60.0)
    )
    return linear_networks.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in linear_networks.claims(dataset)}


@pytest.mark.nightly
def test_every_claim_holds_at_a_small_size(dataset):
    judged = verdicts(dataset)
    assert len(judged) == 5 + 3
    assert all(judged.values()), judged


def test_the_time_of_a_chain_is_that_of_the_flow():
    # N = 2: u = w**2 has du/dt = 2 u (1 - u), a logistic curve.
    delta, end = 1e-3, 1 - 0.5**0.5
    logit = np.log(end / (1 - end)) - np.log(delta**2 / (1 - delta**2))
    assert _linear_departure.chain_time(2, delta) == pytest.approx(logit / 2)
    # Far below 1 it is a power of delta.
    for depth in (3, 4, 5):
        time = _linear_departure.chain_time(depth, 1e-4)
        assert time == pytest.approx(1e-4 ** (2 - depth) / (depth - 2), rel=1e-3)


def test_the_slope_is_that_of_the_smallest_two_distances():
    deltas = np.array([1e-1, 1e-3, 1e-2])
    assert _linear_departure.slope(2, deltas, 7 - 2 * np.log(deltas)) == pytest.approx(2)
    assert _linear_departure.slope(4, deltas, np.array([1.0, 4e6, 4e4])) == pytest.approx(2)
    assert np.isnan(_linear_departure.slope(4, deltas, np.array([1, np.inf, 4e4])))


def test_a_change_of_basis_keeps_the_product_and_not_the_balance():
    weights = _linear_landscape.network(3, seed=0).stationary_points[0].params
    changed = _linear_landscape._changed_basis(weights, jax.random.key(0))
    for point in (weights, changed):
        product = point[2] @ point[1] @ point[0]
        np.testing.assert_allclose(product, weights[2] @ weights[1] @ weights[0], atol=1e-12)
    difference = changed[1] @ changed[1].T - changed[2].T @ changed[2]
    assert np.linalg.norm(difference) > 0.1


def test_what_is_all_but_the_origin_is_the_origin():
    weights = tuple(np.array([[[1e-9]], [[size]], [[0.0]]]) for size in (2e-7, 1e-3))
    first, second = _linear_landscape._snapped(weights)
    np.testing.assert_array_equal(first.ravel(), [0, 2e-7, 0])
    np.testing.assert_array_equal(second.ravel(), [0, 1e-3, 0])


@pytest.mark.nightly
def test_each_claim_fails_when_its_data_are_wrong(dataset):
    def false_claims(name, at, value):
        wrong = dataset.copy(deep=True)
        wrong[name].loc[{"depth": 3} | at] = value
        return [statement for statement, holds in verdicts(wrong).items() if not holds]

    (failed,) = false_claims("reason", {"run": 2}, saddle.Stop.MAX_STEPS)
    assert failed.startswith("3 layers: gradient descent")

    part = dataset.sel(depth=3)
    searched = part.source < 2
    minimum = {"point": int(np.argmax((searched & (part.kind == saddle.Kind.MINIMUM)).values))}
    (failed,) = false_claims("value", minimum, 9.0)
    assert failed == "3 layers: every minimum found is global"
    for kind in (saddle.Kind.MAXIMUM, saddle.Kind.DEGENERATE):
        (failed,) = false_claims("kind", minimum, kind)
        assert failed.startswith("3 layers: every other stationary point")
    (failed,) = false_claims("hidden_rank", {}, _linear_landscape.BOTTLENECK)
    assert failed.startswith("3 layers: every other stationary point")

    origin = {"point": int(np.argmax(part.origin.values))}
    failed = false_claims("kind", origin, saddle.Kind.STRICT_SADDLE)
    assert [name.split(" are ")[0].split(" is ")[0] for name in failed] == [
        "3 layers: known points",
        "3 layers: W = 0",
    ]
    assert false_claims("order", origin, 2) == failed[1:]

    (law, time) = sorted(false_claims("chain_time", {"distance": 1}, 30.0))
    assert law.startswith("3 layers: power of 1/delta")
    assert time.startswith("3 layers: time to leave")
    (failed,) = false_claims("network_time", {"distance": 1}, np.inf)
    assert failed.startswith("3 layers: power of 1/delta")
    assert linear_networks.NETWORK in failed


@pytest.mark.nightly
def test_the_figure_draws_the_points_of_each_depth_and_the_times(dataset):
    *points, times = linear_networks.plot(dataset).axes
    assert [axes.get_title() or axes.get_title(loc="left") for axes in points] == ["3 layers"]
    drawn = sum(np.size(line.get_xdata()) for line in points[0].lines[:3])
    assert drawn == dataset.sizes["point"]
    assert len(times.lines) == 3 + 2


@pytest.mark.nightly
def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(linear_networks.claims, dataset) == []
