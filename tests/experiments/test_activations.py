import numpy as np
import pytest

from experiments import activations
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    config = activations.Config(
        seeds=2,
        hidden_layers=2,
        width=32,
        learning_rates=(0.003, 0.1),
        epochs=5,
        thresholds=(0.4, 0.2),
    )
    return activations.run(config)


def failed(dataset):
    return [claim.statement for claim in activations.claims(dataset) if not claim.holds]


def with_epochs(dataset, epochs):
    """Return the dataset with losses that fall below the threshold at these epochs."""
    made = dataset.copy(deep=True)
    for name, needed in epochs.items():
        below = made.epoch >= needed
        made.train_loss.loc[{"activation": name}] = np.where(below, 0.0, 1.0)
    return made


def test_an_order_must_hold_at_every_threshold(dataset):
    made = with_epochs(dataset, {**ORDERED, "silu": 1})
    # tanh and ReLU reach 0.4 together, and 0.2 one after the other.
    made.train_loss.loc[{"activation": "tanh"}] = np.where(made.epoch >= 3, 0.0, 0.3)
    (statement,) = failed(made)
    assert statement.startswith("tanh")


ORDERED = {"sigmoid": 5, "tanh": 3, **dict.fromkeys(("relu", "leaky_relu", "elu", "gelu"), 1)}


def test_slopes_are_derivatives_of_the_values(dataset):
    numeric = np.gradient(dataset.value.values, dataset.x.values, axis=1)
    away = np.abs(dataset.x.values) > 0.05  # ReLU bends at 0.
    np.testing.assert_allclose(dataset.slope.values[:, away], numeric[:, away], atol=5e-3)


def test_the_order_of_the_lecture_holds_where_it_is_there(dataset):
    # Two seeds of equal ratio make an interval of width 0.
    assert failed(with_epochs(dataset, {**ORDERED, "silu": 1})) == []


def test_each_claim_fails_where_it_is_false(dataset):
    assert len(failed(with_epochs(dataset, {**ORDERED, "silu": 5}))) == 1
    assert len(failed(with_epochs(dataset, {**ORDERED, "silu": 1, "tanh": 1}))) == 1
    assert len(failed(with_epochs(dataset, {**ORDERED, "silu": 1, "sigmoid": 1}))) == 2


def test_a_run_that_never_learns_counts_with_more_epochs_than_there_were(dataset):
    made = with_epochs(dataset, {"relu": 99})
    made.train_loss.loc[{"activation": "elu"}] = np.nan
    needed = activations.epochs_needed(made)
    assert (needed.sel(activation=["relu", "elu"]) == 6).all()


def test_the_figure_shows_functions_derivatives_and_training(dataset):
    assert len(activations.plot(dataset).axes) == 3


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(activations.claims, dataset) == []
