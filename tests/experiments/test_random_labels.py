import numpy as np
import pytest

from experiments import random_labels
from experiments.lab import data
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    config = random_labels.Config(seeds=2, corruptions=(0.0, 1.0), hidden=(256,), epochs=80)
    return random_labels.run(config)


def failed(dataset):
    return [claim.statement for claim in random_labels.claims(dataset) if not claim.holds]


def test_everything_is_fitted_and_only_the_truth_generalizes(dataset):
    assert [s for s in failed(dataset) if "5 times" not in s] == []
    fit = random_labels.epochs_to_fit(dataset)
    assert (fit.sel(condition="1") > 4 * fit.sel(condition="0")).all()


def test_a_run_that_does_not_fit_holds_nothing_about_fitting(dataset):
    wrong = dataset.copy(deep=True)
    wrong.train_error.loc[{"condition": "1", "seed": 1}] = 0.01
    assert len(failed(wrong)) >= 3


def test_true_labels_in_place_of_random_ones_do_not_hold(dataset):
    wrong = dataset.copy(deep=True)
    for name in ("train_error", "test_error"):
        wrong[name].loc[{"condition": "1"}] = wrong[name].sel(condition="0")
    statements = failed(wrong)
    assert any("several times" in statement for statement in statements)
    assert any("that of guessing" in statement for statement in statements)


def test_conditions_change_what_they_say():
    images = np.arange(40, dtype=np.float32).reshape(10, 4)
    split = data.Split(images, np.arange(10, dtype=np.int32))
    loaded = data.Dataset("toy", split, split)
    train, test = random_labels._make("shuffled pixels", loaded, 0)
    np.testing.assert_array_equal(np.sort(train.images, axis=1), images)
    np.testing.assert_array_equal(train.images, test.images)
    assert not np.array_equal(train.images, images)
    train, _ = random_labels._make("random pixels", loaded, 0)
    np.testing.assert_array_equal(np.sort(train.images, axis=1), images)
    orders = (train.images - images[:, :1]).astype(int)
    assert len({tuple(order) for order in orders}) > 1  # each image has its own
    train, _ = random_labels._make("0", loaded, 0)
    np.testing.assert_array_equal(train.labels, split.labels)
    train, test = random_labels._make("1", loaded, 0)
    assert not np.array_equal(train.labels, split.labels)
    np.testing.assert_array_equal(test.labels, split.labels)


def test_the_figure_tells_the_factor(dataset):
    figure = random_labels.plot(dataset)
    assert "times the epochs" in figure.get_suptitle()
    assert len(figure.axes) == 3


def test_corruptions_must_span_the_range():
    with pytest.raises(ValueError, match="corruptions must begin with 0 and end with 1"):
        random_labels.Config(corruptions=(0.2, 1.0))


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(random_labels.claims, dataset) == []
