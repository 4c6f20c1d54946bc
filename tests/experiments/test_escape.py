"""The race at a small size, and every claim on data where it must fail."""

import numpy as np
import pytest

from experiments import escape
from jaxopt_course import saddle
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    config = escape.Config(
        dimensions=(2, 10),
        ratio_attractions=(1.0,),
        runs=8,
        steps=400,
        ratio_steps=500,
    )
    return escape.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in escape.claims(dataset)}


def test_every_claim_holds_at_a_small_size(dataset):
    judged = verdicts(dataset)
    assert len(judged) == 1 + 2 + 3
    assert all(judged.values()), judged


def test_the_first_exits_are_those_of_both_methods(dataset):
    """Until the second saddle no noise has been added, and both methods take the same steps."""
    plain, perturbed = (dataset.exit.sel(optimizer=method) for method in escape.METHODS)
    at = {"dimension": 10, "saddle": 1}
    np.testing.assert_array_equal(plain.sel(at), perturbed.sel(at))
    assert (plain.sel(dimension=10, saddle=3) > perturbed.sel(dimension=10, saddle=3)).all()


def test_values_fall_by_one_step_of_the_staircase_a_saddle(dataset):
    race = dataset.sel(dimension=10, attraction=1.5, optimizer=escape.METHODS[1], quantile=0.5)
    np.testing.assert_allclose(race.value[-1], race.minimum, atol=0.05)


def test_an_exit_after_underflow_does_not_count(dataset):
    late = dataset.copy(deep=True)
    late["long_exit"] = late.long_exit + escape.HALVINGS_TO_ZERO
    ratio, _, runs = escape.exit_ratio(late, 1.0)
    assert np.isnan(ratio)
    assert runs == 0


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    def false_claims(wrong):
        return [statement for statement, holds in verdicts(wrong).items() if not holds]

    linear = dataset.copy(deep=True)
    linear["long_exit"] = 20.0 * linear.long_saddle + 0 * linear.long_exit
    (failed,) = false_claims(linear)
    assert "constant factor" in failed

    bent = dataset.copy(deep=True)
    bent["exit"] = 3.0**bent.saddle + 0 * bent.exit
    assert all("same time for each saddle" in claim for claim in false_claims(bent))
    assert len(false_claims(bent)) == 1  # through two saddles a line always fits

    stuck = dataset.copy(deep=True)
    stuck["kind"][{"run": 0}] = saddle.Kind.STRICT_SADDLE
    assert sum("ends at a minimum" in claim for claim in false_claims(stuck)) == 2

    lucky = dataset.copy(deep=True)
    lucky["kind"][{"run": 0}] = saddle.Kind.MINIMUM
    (failed,) = false_claims(lucky)
    assert "gradient descent is at no minimum" in failed


def test_the_figure_has_a_panel_for_each_dimension_and_one_for_the_exits(dataset):
    figure = escape.plot(dataset)
    titles = [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["d = 2, L = 1.5", "d = 10, L = 1.5", "exits, d = 10, L = 1.5"]


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(escape.claims, dataset) == []
