"""The starts at a small size, and every claim on data where it must fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import random_init
from jaxopt_course import saddle
from tests.experiments.refuting import unrefuted

RANDOM, MANIFOLD = random_init.STARTS


@pytest.fixture(scope="module")
def dataset():
    # Few enough runs for one block each, which is compiled for one device.
    names = "hyperbola valley", "octopus"
    config = random_init.Config(names, runs=8, distances=(1e-2, 1e-4, 1e-6), delayed_runs=2)
    return random_init.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in random_init.claims(dataset)}


def test_every_claim_holds_at_a_small_size(dataset):
    judged = verdicts(dataset)
    assert len(judged) == 2 + 3 * 2
    assert all(judged.values()), judged


def test_each_step_keeps_a_start_on_the_manifold_to_the_last_bit(x64):
    for case in random_init.cases().values():
        start = case.project(case.problem.init(jax.random.key(3)))
        moved = start - case.learning_rate * jax.jit(jax.grad(case.problem.fun))(start)
        np.testing.assert_array_equal(moved, case.project(moved))
        assert jnp.linalg.norm(moved - start) > 0
        assert np.linalg.norm(case.outwards) == pytest.approx(1)


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    def false_claims(name, at, value):
        wrong = dataset.copy(deep=True)
        wrong[name].loc[at] = value
        return [statement for statement, holds in verdicts(wrong).items() if not holds]

    at = {"problem": "octopus", "start": RANDOM, "run": 3}
    first, second = (
        false_claims("kind", at, saddle.Kind.NOT_STATIONARY),
        false_claims("kind", at, saddle.Kind.STRICT_SADDLE),
    )
    assert first == ["octopus: every random start ends at a global minimum"]
    assert second == ["all problems together: no random start ends at a strict saddle"]
    assert false_claims("value", at, 0.0) == first
    assert false_claims("index", at, 1) == first

    (failed,) = false_claims("curvature", at, 100.0)
    assert failed.startswith("the step times the largest curvature")

    at = {"problem": "hyperbola valley", "start": MANIFOLD, "run": 0}
    (failed,) = false_claims("kind", at, saddle.Kind.MINIMUM)
    assert failed.startswith("hyperbola valley: every start on the stable manifold")

    at = {"problem": "octopus", "distance": 1e-2}
    (failed,) = false_claims("delay", at, 0.0)
    assert failed.startswith("octopus: steps by which")
    assert false_claims("delay", at, np.nan) == [failed]


def test_nothing_seen_in_n_runs_bounds_the_probability_by_about_three_over_n():
    assert (1 - random_init.upper_bound(1000)) ** 1000 == pytest.approx(0.05)
    assert random_init.upper_bound(1000) == pytest.approx(3 / 1000, rel=1e-2)


def test_the_figure_counts_and_measures_each_problem(dataset):
    shares, delays = random_init.plot(dataset).axes
    assert len(shares.containers) == 2
    assert len(delays.lines) == 2 * 2


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(random_init.claims, dataset) == []
