import numpy as np
import pytest

from experiments import gradient_flow
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    return gradient_flow.run(gradient_flow.Config(seeds=4, layers=6, width=128, examples=50))


def failed(dataset):
    return [claim.statement for claim in gradient_flow.claims(dataset) if not claim.holds]


def test_the_prediction_is_exact_for_relu():
    config = gradient_flow.Config(layers=6, width=128)
    for initializer, factor in (("Kaiming", 1.0), ("twice Kaiming", 2.0), ("Xavier", 0.5**0.5)):
        predicted = gradient_flow.predict(config, initializer, "relu", 64)
        np.testing.assert_allclose(predicted, factor ** np.arange(5.0, -1, -1), rtol=1e-4)


def test_measured_gradients_meet_the_prediction(dataset):
    seen, predicted = gradient_flow.decades(dataset)
    np.testing.assert_allclose(seen.mean("seed"), predicted, atol=0.06)


def test_another_initializer_s_numbers_do_not_hold(dataset):
    wrong = dataset.copy(deep=True)
    wrong.delta.loc[{"initializer": "Kaiming"}] = wrong.delta.sel(initializer="twice Kaiming")
    assert any("relu, Kaiming" in statement for statement in failed(wrong))
    assert any("predicts the change" in statement for statement in failed(wrong))


def test_nan_holds_nothing(dataset):
    wrong = dataset.copy(deep=True)
    wrong.delta[:] = np.nan
    wrong.delta[0, 0] = 1.0
    assert len(failed(wrong)) == len(gradient_flow.claims(wrong))


def test_the_figure_has_a_panel_for_every_initializer(dataset):
    assert len(gradient_flow.plot(dataset).axes) == len(gradient_flow.INITIALIZERS)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(gradient_flow.claims, dataset) == []
