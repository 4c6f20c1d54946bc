import numpy as np
import pytest

from experiments import marginal_value
from experiments.lab import data
from experiments.marginal_value import _five_methods, _private_features, separable_example
from tests.experiments.refuting import unrefuted

CONFIG = marginal_value.Config(
    example_seeds=2,
    example_size=60,
    example_steps=2000,
    bridge_seeds=2,
    bridge_examples=60,
    bridge_sizes=(0.0, 3.0),
    bridge_steps=100,
    examples=100,
    hidden=(16,),
    runs=2,
    epochs=10,
)


@pytest.fixture(scope="module")
def dataset():
    return marginal_value.run(CONFIG)


def failed(dataset):
    return [claim.statement for claim in marginal_value.claims(dataset) if not claim.holds]


def test_the_separable_example_is_exact_also_when_small(dataset):
    assert [statement for statement in failed(dataset) if "separable" in statement] == []


def test_methods_under_each_other_s_name_do_not_hold(dataset):
    wrong = dataset.copy(deep=True)
    for name, other in (("SGD", "Adam"), ("Adam", "SGD")):
        wrong.example_error.loc[{"optimizer": name}] = dataset.example_error.sel(optimizer=other)
    statements = [statement for statement in failed(wrong) if "separable" in statement]
    assert len(statements) == 2


def about_private_features(statements):
    return [s for s in statements if "private" in s or "gap" in s]


def test_the_gap_is_between_adaptive_methods_and_the_others(dataset):
    wrong = dataset.copy(deep=True)
    adaptive = wrong.optimizer.isin(_five_methods.ADAPTIVE)
    wrong["bridge_steps"] = 10 + abs(wrong.bridge_rate - 2) + 0 * wrong.bridge_steps.fillna(0)
    wrong["bridge_error"] = 0.05 + 0.02 * adaptive * wrong["size"] + 0 * wrong.bridge_steps
    for by_test in (False, True):
        found = _private_features.gap(wrong, by_test=by_test)
        np.testing.assert_allclose(found.mean("division"), 2 * wrong["size"], rtol=1e-6)
    assert about_private_features(failed(wrong)) == []
    wrong["bridge_error"] = 0.1 - wrong.bridge_error
    assert len(about_private_features(failed(wrong))) == 4


def test_the_rate_of_the_fewest_steps_is_chosen_and_must_be_inside_the_grid(dataset):
    wrong = dataset.copy(deep=True)
    wrong["bridge_steps"] = 10 + abs(wrong.bridge_rate - 2) + 0 * wrong.bridge_steps.fillna(0)
    wrong.bridge_steps.loc[{"bridge_rate": 2, "division": 1}] = np.nan
    assert (_private_features.fastest(wrong) == 1).all()
    wrong.bridge_steps.loc[{"bridge_rate": 0, "optimizer": "Adam", "size": 3.0}] = 1
    assert _private_features.fastest(wrong).sel(optimizer="Adam", size=3.0) == 0
    assert any("inside its grid" in statement for statement in failed(wrong))


def test_training_ends_at_the_level_in_fewer_steps_with_private_features(dataset):
    steps = dataset.bridge_steps.isel(bridge_rate=_private_features.fastest(dataset))
    assert ((steps > 0) & (steps <= CONFIG.bridge_steps)).all()
    means = steps.mean("division")
    assert (means.sel(size=3.0) < means.sel(size=0.0)).all()


def test_the_order_of_figure_1_is_judged_either_way(dataset):
    wrong = dataset.copy(deep=True)
    sgd = wrong.optimizer == "SGD"
    for factor, number in ((-0.5, 0), (0.5, 1)):
        wrong["test_error"] = (1 + factor * sgd) * (0.1 + 0 * dataset.test_error)
        assert sum("Figure 1" in statement for statement in failed(wrong)) == number


def test_rates_are_chosen_by_the_training_loss_and_never_a_diverged_one(dataset):
    wrong = dataset.copy(deep=True)
    wrong["train_loss"] = wrong.train_loss * 0 + np.array([3.0, 1.0, 2.0, 4.0, 5.0])[:, None, None]
    assert (marginal_value.tuned(wrong).learning_rate == dataset.learning_rate[:, 1]).all()
    wrong.train_loss.loc[{"rate": 1, "run": 0}] = np.nan
    assert (marginal_value.tuned(wrong).learning_rate == dataset.learning_rate[:, 2]).all()


def test_nan_holds_nothing(dataset):
    wrong = dataset.map(lambda values: values * np.nan)
    assert len(failed(wrong)) == len(marginal_value.claims(dataset))


def test_the_figure_annotates_every_method_with_its_best(dataset):
    figure = marginal_value.plot(dataset)
    for axis in figure.axes[2:]:
        shown = [text.get_text() for text in axis.get_legend().get_texts()]
        assert [text.split(":")[0] for text in shown] == list(_five_methods.METHODS)
        assert all("±" in text for text in shown)


def test_the_closed_form_is_the_solution_of_least_norm():
    labels = np.where(np.arange(40) % 5 < 3, 1.0, -1.0)
    x = separable_example.features(labels)
    assert x.shape == (40, 3 + 24 + 5 * 16)
    assert x.any(axis=0).all()
    np.testing.assert_allclose(
        separable_example.least_norm_solution(labels), np.linalg.pinv(x) @ labels, atol=1e-13
    )
    # Lemma 3.1 needs this of the sign of X^T y.
    np.testing.assert_array_equal(x @ np.sign(x.T @ labels), 4 * labels)


def test_what_is_not_for_training_is_for_the_test():
    loaded = data.load("digits")
    train, test = _private_features.divide(loaded, 300, seed=1)
    assert train.images.shape == (300, 8, 8, 1)
    assert test.images.shape == (1497, 8, 8, 1)
    together = np.concatenate([train.images, test.images]).sum(axis=(1, 2, 3))
    whole = np.concatenate([loaded.train.images, loaded.test.images]).sum(axis=(1, 2, 3))
    np.testing.assert_array_equal(np.sort(together), np.sort(whole))
    assert _private_features.divide(loaded, None, seed=1)[0] is loaded.train


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": 1}, "runs must be at least 2"),
        ({"adam": (0.001,)}, "as many learning rates"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        marginal_value.Config(**arguments)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(marginal_value.claims, dataset) == []
