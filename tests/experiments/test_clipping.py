import jax
import numpy as np
import pytest

from experiments import clipping
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    """The cliff in earnest; the networks too short to learn, so their losses are made up below."""
    config = clipping.Config(cliff_starts=60, resolution=100, networks=3, steps=120, units=8)
    return clipping.run(config)


@pytest.fixture
def learnt(dataset):
    """The same with losses as the quick preset gives them."""
    complete = dataset.isel(network=[0, 1, 2] * 3 + [0]).copy(deep=True)
    complete.loss.loc[{"clipping": clipping.CLIPPING[0]}] = clipping.BASELINE
    complete.loss[0, 0] = np.nan
    complete.loss.loc[{"clipping": clipping.CLIPPING[1]}] = 0.05
    return complete


def verdicts(dataset):
    return [claim.holds for claim in clipping.claims(dataset)]


def test_clipping_carries_descent_past_the_cliff(learnt):
    assert verdicts(learnt) == [True] * 7


def test_each_claim_fails_when_its_data_are_wrong(learnt):
    exchanged = learnt.isel(clipping=[1, 0]).assign_coords(clipping=clipping.CLIPPING)
    exchanged["slope"] = exchanged.slope * 0 + 1
    assert verdicts(exchanged) == [False] * 7


def test_a_network_that_diverges_at_the_last_step_has_not_learnt(learnt):
    learnt.loss[1, 0, -1] = np.nan
    assert clipping.claims(learnt)[-1].measured.startswith("9 of 10")
    assert verdicts(learnt) == [True] * 6 + [False]  # most, not every one
    # Half of the networks may fail by accident.
    learnt.loss[1, :5, -1] = np.nan
    assert verdicts(learnt) == [True] * 5 + [False] * 2


def test_the_networks_start_alike_and_see_the_same_data(dataset):
    np.testing.assert_array_equal(dataset.loss[0, :, 0], dataset.loss[1, :, 0])
    assert not np.array_equal(dataset.loss[0, 0], dataset.loss[1, 0])


def test_the_mean_has_the_error_that_the_baseline_says():
    _, sums = clipping._adding_batch(jax.random.key(1), 20_000, 10)
    assert abs(np.var(sums) - clipping.BASELINE) < 0.005
    assert abs(np.mean(sums) - 1) < 0.02


def test_clipped_steps_are_never_longer_than_rate_times_norm(dataset):
    longest = dataset.largest_step.sel(clipping="with clipping").max()
    assert longest <= 0.1 * (1 + 1e-12)


def test_the_figure_has_three_panels(learnt):
    assert len(clipping.plot(learnt).axes) == 3


def test_every_claim_is_refuted_by_some_wrong_measurement(learnt):
    assert unrefuted(clipping.claims, learnt, but=["without clipping"]) == []
