import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments import batch_norm
from experiments.batch_norm import _partial_training, _smoothness
from experiments.lab import data
from jaxopt_course.nn import ResNet, functional_view
from tests.experiments.refuting import unrefuted

CONFIG = batch_norm.Config(
    seeds=2,
    layers=3,
    width=16,
    learning_rates=(0.1, 100.0),
    epochs=2,
    measured_epochs=1,
    distances=(0.1, 0.2),
    resnet_width=2,
    resnet_epochs=1,
    batch_size=300,
)


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def dataset():
    return batch_norm.run(CONFIG)


def held(dataset, words):
    (claim,) = [c for c in batch_norm.claims(dataset) if words in c.statement]
    return claim.holds


@pytest.mark.nightly
def test_every_network_is_trained_and_measured(dataset):
    assert dataset.train_loss.shape == (2, 2, 2, 2)
    trained = dataset.train_loss.sel(learning_rate=0.1)
    assert (trained.isel(epoch=1) < trained.isel(epoch=0)).all()
    assert (dataset.loss_range > 0).all()
    assert (dataset.gradient_change > 0).all()
    assert dataset.test_accuracy.shape == (4, 2)


@pytest.mark.nightly
def test_counts_are_those_of_the_parts(dataset):
    # Width 2: layers of 2, 2, 2, 4, 4, 4, 8, 8, 8 channels, a scale and a bias or two weights each.
    assert dataset.parameters.values[:3].tolist() == [84, 84, 90]


def test_published_counts_of_batch_norm_parameters():
    params = functional_view(ResNet(14, width=16, rngs=nnx.Rngs(0))).params
    assert [int(_partial_training.count(trained, params)) for trained in range(4)] == [
        1120,
        1120,
        650,
        sum(leaf.size for leaf in jax.tree.leaves(params)),
    ]


def test_without_epochs_the_resnet_is_counted_and_not_measured():
    config = dataclasses.replace(CONFIG, resnet_epochs=0)
    keys = jax.random.split(jax.random.key(0), 2)
    accuracies, counts = _partial_training.train_parts(config, data.load("digits"), keys)
    assert accuracies.shape == (4, 2)
    assert np.isnan(accuracies).all()
    assert counts[:3] == [84, 84, 90]


def test_only_what_is_named_moves():
    params = {
        "stem": {"normalization": {"scale": jnp.ones(3)}, "layer": {"kernel": jnp.ones((4, 3))}},
        "readout": {"kernel": jnp.ones((3, 2))},
    }
    rule = _partial_training.only(jax.random.key(0))
    moved = []
    for trained in range(4):
        state = optax.tree.set(rule.init(params), trained=jnp.array(trained))
        updates, _ = rule.update(jax.tree.map(lambda leaf: 2 * leaf, params), state)
        moved.append(jax.tree.map(lambda leaf: float(leaf.sum()) / 2, updates))
    for expected, (scale, kernel, readout) in zip(
        moved, [(3, 0, 0), (0, 6, 0), (0, 0, 6), (3, 12, 6)], strict=True
    ):
        assert expected["stem"]["normalization"]["scale"] == scale
        assert expected["stem"]["layer"]["kernel"] == kernel
        assert expected["readout"]["kernel"] == readout


def test_two_weights_are_chosen_in_every_channel():
    mask = _partial_training._two_a_channel(jnp.ones((3, 3, 4, 5)), jax.random.key(0))
    np.testing.assert_array_equal(mask.sum((0, 1, 2)), 2)


def test_the_weights_at_the_start_are_those_without_noise():
    plain, noisy = (
        _smoothness._build(CONFIG, network, 64, jax.random.key(3)).blocks[-1].layer.kernel[...]
        for network in ("batch", "noisy batch")
    )
    np.testing.assert_array_equal(noisy, plain)


@pytest.mark.nightly
def test_a_network_that_never_trains_has_no_largest_rate(dataset):
    made = dataset.copy(deep=True)
    made.train_loss[:] = 0.1
    made.train_loss.loc[{"kind": "none", "learning_rate": 100.0}] = np.nan
    largest = batch_norm.largest_rate(made)
    assert (largest.sel(kind="batch") == 100).all()
    assert (largest.sel(kind="none") == 0.1).all()
    assert held(made, "several times the largest rate")
    made.train_loss.loc[{"kind": "batch", "learning_rate": 100.0}] = 2.3
    assert not held(made, "several times the largest rate")


@pytest.mark.nightly
def test_verdicts_follow_the_measurements(dataset):
    made = dataset.copy(deep=True)
    for name in ("loss_range", "gradient_change"):
        made[name][:] = 1.0
        assert not held(made, "along the gradient" if name == "loss_range" else "along it")
        made[name].loc[{"network": "none", "seed": 0}] = 3.0
        made[name].loc[{"network": "none", "seed": 1}] = 3.1
        assert held(made, "along the gradient" if name == "loss_range" else "along it")
    made.test_accuracy[:] = 0.9
    assert held(made, "learns")
    assert not held(made, "than two weights")
    assert not held(made, "than output layer")


@pytest.mark.parametrize(("output", "holds"), [(0.84, True), (0.85, False)])
@pytest.mark.nightly
def test_half_of_the_trial_runs_lead_is_asked_for(dataset, output, holds):
    made = dataset.copy(deep=True)
    made.test_accuracy[:] = [[0.9, 0.901], [0.5, 0.5], [output, output], [1.0, 1.0]]
    assert held(made, "than output layer") == holds
    assert held(made, "than two weights")
    assert held(made, "learns")


@pytest.mark.nightly
def test_the_figure_tells_the_accuracy(dataset):
    figure = batch_norm.plot(dataset)
    assert "trained alone it reaches" in figure.get_suptitle()
    assert len(figure.axes) == 4


def test_rates_must_rise():
    with pytest.raises(ValueError, match="learning_rates must rise"):
        batch_norm.Config(learning_rates=(0.3, 0.1))


@pytest.mark.nightly
def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(batch_norm.claims, dataset) == []
