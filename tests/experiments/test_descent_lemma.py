import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import descent_lemma
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    config = descent_lemma.Config(
        networks=2, trials=4, examples=100, hidden=4, steps=60, estimates=5, margin=2.0
    )
    return descent_lemma.run(config)


def verdicts(dataset):
    return [claim.holds for claim in descent_lemma.claims(dataset)]


def test_the_lemma_holds_at_every_step_and_fails_for_a_smoothness_too_small(dataset):
    assert verdicts(dataset) == [True] * 4


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    wrong = dataset.copy(deep=True)
    wrong.curvature[0, 1, 0] = 1.01 * dataset.attrs["smoothness"]
    wrong.loss[1, 30] += 1.0
    wrong.gradient_norm[1] = 1e3
    wrong.control_loss[:] = -1e3 * wrong.step
    wrong.control_gradient_norm[:] = 1e-3
    assert verdicts(wrong) == [False] * 4


@pytest.mark.parametrize(("name", "failing"), [("curvature", 0), ("loss", 1), ("gradient_norm", 2)])
def test_a_single_nan_does_not_hold(dataset, name, failing):
    wrong = dataset.copy(deep=True)
    wrong[name][0, -2] = np.nan
    assert not verdicts(wrong)[failing]


def test_beta_is_that_of_other_networks(dataset):
    beta = dataset.attrs["smoothness"]
    assert dataset.trial_curvature.max() <= beta
    assert not np.isin(dataset.trial_curvature, dataset.curvature).any()


def test_the_curvature_is_looked_at_where_the_run_passes(x64):
    data = descent_lemma._load(50)
    iterates = [descent_lemma._init(jax.random.key(0), 3)]
    step = jax.jit(descent_lemma._step)
    for _ in range(4):
        iterates.append(step(iterates[-1], 0.1, data)[0])
    before, middle = descent_lemma._visit(iterates[0], 0.1, data, jnp.array([0, 3]))
    for i, at in enumerate((0, 3)):
        for name, here in iterates[at].items():
            between = (here + iterates[at + 1][name]) / 2
            np.testing.assert_allclose(before[name][i], here, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(middle[name][i], between, rtol=1e-12, atol=1e-15)


def test_the_figure_has_three_panels(dataset):
    assert len(descent_lemma.plot(dataset).axes) == 3


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(descent_lemma.claims, dataset) == []
