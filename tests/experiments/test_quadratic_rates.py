import numpy as np
import pytest

from experiments import quadratic_rates
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    config = quadratic_rates.Config(condition_numbers=(1e1, 1e2, 1e3), records=40)
    return quadratic_rates.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in quadratic_rates.claims(dataset)}


def test_measured_rates_meet_the_prediction(dataset):
    assert all(verdicts(dataset).values())
    assert len(verdicts(dataset)) == 7


@pytest.mark.parametrize("name", [method.name for method in quadratic_rates.METHODS])
def test_a_rate_that_is_off_by_three_percent_does_not_hold(dataset, name):
    wrong = dataset.copy(deep=True)
    wrong.predicted_rate.loc[{"optimizer": name, "condition_number": 100}] **= 1.03
    failed = [statement for statement, holds in verdicts(wrong).items() if not holds]
    assert [statement.startswith(f"{name}: measured slope") for statement in failed] == [True]


def test_a_method_that_diverges_does_not_hold(dataset):
    wrong = dataset.copy(deep=True)
    wrong.error.loc[{"optimizer": "heavy ball"}] = np.nan
    failed = [statement for statement, holds in verdicts(wrong).items() if not holds]
    assert len(failed) == 2


def test_the_figure_shows_every_method(dataset):
    _, right = quadratic_rates.plot(dataset).axes
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert labels == [method.name for method in quadratic_rates.METHODS]


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(quadratic_rates.claims, dataset) == []
