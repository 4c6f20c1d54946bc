import numpy as np
import pytest

from experiments import adaptive
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    return adaptive.run(adaptive.Config(max_steps=12_000))


def verdicts(dataset):
    return [claim.holds for claim in adaptive.claims(dataset)]


def test_conditioning_matters_only_across_the_axes(dataset):
    assert verdicts(dataset) == [True] * 13


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    exchanged = dataset.copy(deep=True)
    exchanged["steps"] = dataset.steps.isel(axes=[1, 0]).assign_coords(axes=dataset.axes)
    exchanged.scaled_path[0, 0, -1] += 1e-15
    exchanged["step_size"] = 1.01 * dataset.step_size * dataset.t**0.1
    assert verdicts(exchanged) == [False] * 13


def test_a_rule_that_never_arrives_does_not_count_as_independent_of_conditioning(dataset):
    stuck = dataset.copy(deep=True)
    stuck.steps[:] = dataset.attrs["max_steps"]
    assert not any(verdicts(stuck)[:8])


def test_the_turned_quadratic_has_the_same_curvatures_and_start():
    for angle in adaptive.ANGLES.values():
        hessian, start = map(np.asarray, adaptive._quadratic(9.0, angle))
        values, vectors = np.linalg.eigh(hessian)
        np.testing.assert_allclose(values, [1.0, 9.0], rtol=1e-5)
        np.testing.assert_allclose(abs(vectors.T @ start), [1.0, 1.0], rtol=1e-5)


def test_the_figure_has_four_panels(dataset):
    assert len(adaptive.plot(dataset).axes) == 4


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(adaptive.claims, dataset) == []
