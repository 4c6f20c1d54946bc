import numpy as np
import pytest

from experiments import exponential_rate
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    return exponential_rate.run(exponential_rate.Config(seeds=2, hidden=(16,), steps=60))


def failed(dataset):
    return [claim.statement for claim in exponential_rate.claims(dataset) if not claim.holds]


def test_both_trainings_go_through_the_same_functions(dataset):
    # Epsilon needs more than 60 steps to show, which its own test does not ask for.
    assert [s for s in failed(dataset) if "epsilon" not in s] == []
    assert float(dataset.difference.sel(rule=exponential_rate.EXACT).max()) > 0


def test_rules_under_each_other_s_name_do_not_hold(dataset):
    control = "momentum from zero"
    swapped = dataset.copy(deep=True)
    swapped.difference.loc[{"rule": control}] = dataset.difference.sel(rule=exponential_rate.EXACT)
    swapped.difference.loc[{"rule": exponential_rate.EXACT}] = dataset.difference.sel(rule=control)
    wrong = set(failed(swapped)) - set(failed(dataset))
    assert len(wrong) == 2


def test_nan_holds_nothing(dataset):
    wrong = dataset.map(lambda values: values * np.nan)
    assert len(failed(wrong)) == len(exponential_rate.claims(dataset))


def test_the_figure_shows_every_rule(dataset):
    (axis,) = exponential_rate.plot(dataset).axes
    shown = [text.get_text() for text in axis.get_legend().get_texts()]
    assert shown == [exponential_rate.EXACT, *exponential_rate.CONTROLS]


def test_a_complex_alpha_is_refused():
    with pytest.raises(ValueError, match="weight_decay times learning_rate must be at most"):
        exponential_rate.Config(learning_rate=1.0)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(exponential_rate.claims, dataset) == []
