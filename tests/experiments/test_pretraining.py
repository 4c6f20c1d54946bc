import jax
import numpy as np
import pytest
from flax import nnx

from experiments import pretraining
from experiments.lab import data
from experiments.pretraining import _transfer
from jaxopt_course.nn import MLP, functional_view
from tests.experiments.refuting import unrefuted

CONFIG = pretraining.Config(
    seeds=3, hidden=(32, 32), epochs=8, labels=(1, 5), learning_rates=(0.03, 0.1), steps=60
)


@pytest.fixture(scope="module")
def dataset():
    return pretraining.run(CONFIG)


def failed(dataset):
    return [claim.statement for claim in pretraining.claims(dataset) if not claim.holds]


def test_pretraining_learns_and_fine_tuning_starts_at_guessing(dataset):
    assert [s for s in failed(dataset) if "succeeds" in s] == []
    assert abs(dataset.source_accuracy.sel(pretrained=_transfer.SHUFFLED).mean() - 0.2) < 0.15
    accuracy = pretraining.at_best_rate(dataset)
    assert (accuracy.isel(step=0).mean("seed") < 0.45).all()
    assert (accuracy.isel(step=-1, labels=-1) > 0.6).all()


def test_gains_are_judged_by_their_sign(dataset):
    expected = [s for s in failed(dataset) if "gained" in s]
    for shift, number in ((-1.0, 3), (1.0, 0)):
        wrong = dataset.copy(deep=True)
        trained = list(_transfer.STARTS[1:])
        wrong.accuracy.loc[{"start": trained}] = dataset.accuracy.sel(start=trained) + shift
        assert len([s for s in failed(wrong) if "gained" in s]) == number, expected


def test_shuffled_labels_that_are_learned_are_noticed(dataset):
    wrong = dataset.copy(deep=True)
    wrong.source_accuracy.loc[{"pretrained": _transfer.SHUFFLED}] = 1.0
    assert any("shuffled labels learns nothing" in statement for statement in failed(wrong))


def test_nan_holds_nothing(dataset):
    wrong = dataset.map(lambda values: values * np.nan)
    assert len(failed(wrong)) == len(pretraining.claims(dataset))


def test_halves_share_no_class_and_begin_with_as_many_of_each():
    loaded = data.load("digits")
    first, second = _transfer.halve(loaded, seed=3)
    for half in (first, second):
        np.testing.assert_array_equal(half.train.labels[:10], [0, 1, 2, 3, 4] * 2)
        assert np.ptp(np.bincount(half.train.labels)) == 0
    images = [{image.tobytes() for image in half.train.images} for half in (first, second)]
    assert not images[0] & images[1]

    def original_labels(half):
        label_of = {
            image.tobytes(): label
            for image, label in zip(loaded.train.images, loaded.train.labels, strict=True)
        }
        return [
            {label_of[image.tobytes()] for image in half.train.images[half.train.labels == new]}
            for new in range(5)
        ]

    labels = original_labels(first) + original_labels(second)
    assert all(len(of_class) == 1 for of_class in labels)
    assert set.union(*labels) == set(range(10))


@pytest.mark.parametrize("layers", [1, 2])
def test_first_layers_are_transferred_and_the_others_stay_fresh(layers):
    def build(key):
        return MLP((4, 3, 3, 2), rngs=nnx.Rngs(key))

    pretrained = functional_view(build(jax.random.key(1))).params
    fresh = functional_view(build(jax.random.key(2))).params
    params = _transfer._transferred(build, jax.random.key(2), pretrained, layers)
    for index in range(3):
        source = pretrained if index < layers else fresh
        np.testing.assert_array_equal(
            params["blocks"][index]["layer"]["kernel"], source["blocks"][index]["layer"]["kernel"]
        )


def test_the_learning_rate_is_each_start_s_best(dataset):
    best = pretraining.at_best_rate(dataset).isel(step=-1).mean("seed")
    every = dataset.accuracy.isel(step=-1).mean("seed")
    np.testing.assert_allclose(best, every.max("learning_rate"))


def test_the_figure_tells_the_gain(dataset):
    figure = pretraining.plot(dataset)
    assert "points" in figure.get_suptitle()
    assert len(figure.axes) == 3


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("seeds", 1, "seeds must be at least 2"),
        ("labels", (3, 1), "labels must be at least two increasing"),
        ("steps", 30, "steps must be a multiple of 20"),
    ],
)
def test_arguments_out_of_range_are_refused(argument, value, message):
    with pytest.raises(ValueError, match=message):
        pretraining.Config(**{argument: value})


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(pretraining.claims, dataset) == []
