"""One smooth and one piecewise linear activation, and every claim on data where it must fail."""

import numpy as np
import pytest

from experiments import bad_minima
from tests.experiments.refuting import unrefuted

SIGMOID, RELU = "sigmoid", "relu"


@pytest.fixture(scope="module")
def dataset():
    # Eight runs are one block, which is compiled for one device.
    config = bad_minima.Config((SIGMOID, RELU), perturbations=50, returns=8, steps=1000, starts=8)
    return bad_minima.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in bad_minima.claims(dataset)}


def test_every_claim_holds_at_a_small_size(dataset):
    judged = verdicts(dataset)
    assert len(judged) == 2 * 6
    assert all(judged.values()), judged


def test_the_path_back_falls_to_a_third_and_not_further(dataset):
    path = dataset.path.values
    assert np.all(np.diff(path, axis=-1) <= bad_minima.ROUNDING)
    assert np.all(path >= bad_minima.BAD_VALUE - bad_minima.ROUNDING)
    np.testing.assert_array_equal(path[..., -1], dataset.returned)


@pytest.mark.parametrize(
    ("name", "value", "statement"),
    [
        ("value", 0.3, "stationary, with value 1/3"),
        ("gradient_norm", 1e-6, "stationary, with value 1/3"),
        ("kind", "MINIMUM", "positive semidefinite"),
        ("perturbed", 1 / 3 - 1e-9, "no perturbation"),
        ("perturbed", np.nan, "no perturbation"),
        ("returned", 0.1, "descent from perturbations"),
        ("returned", np.nan, "descent from perturbations"),
        ("elsewhere", 1 / 3, "not global"),
    ],
)
def test_each_claim_fails_when_its_data_are_wrong(dataset, name, value, statement):
    wrong = dataset.copy(deep=True)
    wrong[name].loc[{"activation": RELU}] = value
    (failed,) = [claim for claim, holds in verdicts(wrong).items() if not holds]
    assert failed.startswith(RELU)
    assert statement in failed


def test_spectra_are_held_against_the_closed_form_and_against_numbers_by_hand(dataset):
    wrong = dataset.copy(deep=True)
    wrong.eigenvalues.loc[{"activation": RELU, "method": "automatic"}] *= 1 + 1e-9
    # Both ways of computing may share a mistake; then the numbers by hand tell.
    wrong.eigenvalues.loc[{"activation": SIGMOID}] *= 1.001
    failed = [claim for claim, holds in verdicts(wrong).items() if not holds]
    assert [claim.split(":")[0] for claim in failed] == [SIGMOID, RELU]
    assert all("eigenvalues are" in claim for claim in failed)


def test_the_figure_shows_every_activation_around_back_and_elsewhere(dataset):
    around, back, elsewhere = bad_minima.plot(dataset).axes
    assert len(around.containers) == len(back.lines) == len(elsewhere.lines) - 1 == 2


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(bad_minima.claims, dataset) == []
