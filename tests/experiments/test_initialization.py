import numpy as np
import pytest

from experiments import initialization
from experiments.initialization import _deep_relu
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    config = initialization.Config(
        seeds=2, width=300, deep_layers=12, deep_width=64, epochs=2, learning_rate=3e-3
    )
    return initialization.run(config)


def failed(dataset):
    return [claim.statement for claim in initialization.claims(dataset) if not claim.holds]


def test_signals_keep_or_lose_their_size_as_predicted(dataset):
    # At width 300 and after two epochs only these can be asked for.
    kept = ("standard initialization", "all hidden units", "control", "variance 1")
    assert [s for s in failed(dataset) if any(part in s for part in kept)] == []
    slopes = _deep_relu.halvings(dataset).mean("seed")
    np.testing.assert_allclose(slopes.sel(deep="Xavier"), -1, atol=0.15)
    np.testing.assert_allclose(slopes.sel(deep="Kaiming"), 0, atol=0.15)


def test_the_same_weights_under_both_names_hold_for_neither(dataset):
    wrong = dataset.copy(deep=True)
    for name in ("second_moment", "train_loss", "test_accuracy"):
        wrong[name].loc[{"deep": "Xavier"}] = wrong[name].sel(deep="Kaiming")
    statements = failed(wrong)
    assert any("Xavier: log2" in statement for statement in statements)
    assert any("exceeds Xavier" in statement for statement in statements)


def test_lsuv_is_judged_by_its_worst_layer_and_its_training(dataset):
    wrong = dataset.copy(deep=True)
    wrong.output_variance.loc[{"deep": "LSUV", "seed": 1, "deep_layer": 7}] = 1.01
    wrong.train_loss.loc[{"deep": "LSUV", "seed": 0}] = 2.3
    statements = failed(wrong)
    assert any("variance 1" in statement for statement in statements)
    assert any("LSUV: the same SGD" in statement for statement in statements)


def test_distances_within_classes_are_those_of_all_pairs_written_out():
    vectors = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    labels = np.arange(12) % 3
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - directions @ directions.T
    others = ~np.eye(12, dtype=bool)
    same = (labels[:, None] == labels) & others
    np.testing.assert_allclose(
        _deep_relu.class_distance(vectors, labels),
        distances[same].mean() / distances[others].mean(),
        rtol=1e-5,
    )


def test_the_explanation_of_lsuv_needs_kaiming_to_keep_classes_together(dataset):
    wrong = dataset.copy(deep=True)
    wrong.class_distance.loc[{"deep": "LSUV"}] = 0.99
    for kaiming, holds in ((0.9, True), (0.995, False)):
        wrong.class_distance.loc[{"deep": "Kaiming"}] = kaiming
        assert any("no nearer than any two" in s for s in failed(wrong)) != holds


def test_units_that_differ_break_the_claim_of_symmetry(dataset):
    wrong = dataset.copy(deep=True)
    wrong.unit_spread.loc[{"symmetry": "zero"}] = 1e-7
    assert len(failed(wrong)) == len(failed(dataset)) + 1


def test_runs_that_diverge_hold_nothing(dataset):
    wrong = dataset.map(lambda values: values * np.nan)
    assert len(failed(wrong)) == len(initialization.claims(dataset))


def test_the_figure_shows_every_initializer(dataset):
    axes = initialization.plot(dataset).axes
    titles = {axis.get_title(loc=where) for axis in axes for where in ("left", "center")}
    assert set(initialization.SHALLOW) <= titles


def test_one_seed_is_refused():
    with pytest.raises(ValueError, match="seeds must be at least 2, got 1"):
        initialization.Config(seeds=1)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(initialization.claims, dataset) == []
