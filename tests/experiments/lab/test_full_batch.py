"""Losses written out, features that are those of the outputs, and data from files."""

import dataclasses
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lab import data, registry
from experiments.lab.full_batch import IMAGES, centred_images, full_batch


@pytest.mark.parametrize("activation", ["tanh", "ReLU", "linear"])
def test_losses_and_features_are_those_of_the_matrices(activation):
    square = full_batch("digits", 20, (6, 5), activation=activation)
    entropy = full_batch("digits", 20, (6, 5), activation=activation, loss="cross-entropy")
    weights = square.init(jax.random.key(0))
    assert [matrix.shape for matrix in weights] == [(64, 6), (6, 5), (5, 10)]
    features, outputs = square.features(weights)
    np.testing.assert_allclose(features @ weights[-1], outputs, rtol=1e-6)
    onehot = np.eye(10)[square.labels]
    by_hand = ((np.asarray(outputs) - onehot) ** 2).sum(1).mean() / 2
    np.testing.assert_allclose(square.fun(weights), by_hand, rtol=1e-5)
    shares = np.asarray(jax.nn.log_softmax(outputs))[np.arange(20), square.labels]
    np.testing.assert_allclose(entropy.fun(weights), -shares.mean(), rtol=1e-5)


def test_the_gain_scales_the_start_and_the_images_are_centred():
    one, half = (full_batch("digits", 30, (4,), gain=gain) for gain in (1.0, 0.5))
    weights, smaller = one.init(jax.random.key(1)), half.init(jax.random.key(1))
    np.testing.assert_allclose(weights[0], 2 * smaller[0], rtol=1e-5)
    inputs = one.fun.args[0]
    assert abs(float(jnp.mean(inputs))) < 1e-6


def write_mnist(folder, count):
    """Files of MNIST with so many images to train, and as many to test."""
    images = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(
                f">{array.ndim}I", *array.shape
            )
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    return images


def test_images_are_read_from_the_folder_of_published_files(tmp_path):
    images = write_mnist(tmp_path, 7)
    network = full_batch("mnist", 10, (3,), folder=str(tmp_path))
    assert network.labels.tolist() == [*range(7), *range(3)]
    rows = np.concatenate([images, images])[:10].reshape(10, -1) / 255
    np.testing.assert_allclose(network.fun.args[0], rows - rows.mean(), atol=1e-6)
    with pytest.raises(ValueError, match="images must be at most 14, of mnist, got 15"):
        centred_images("mnist", 15, str(tmp_path))
    with pytest.raises(ValueError, match="folder must be given for 'mnist'"):
        centred_images("mnist", 5)


def test_every_data_set_has_its_number_of_images():
    assert tuple(IMAGES) == data.NAMES
    for name in ("digits", "mnist5k"):
        loaded = data.load(name)
        assert IMAGES[name] == len(loaded.train.labels) + len(loaded.test.labels)


def test_every_experiment_that_takes_a_data_set_takes_all_of_them_and_their_folder():
    taking = 0
    for experiment in registry.experiments().values():
        config = experiment.load().Config
        fields = {field.name for field in dataclasses.fields(config)}
        if "dataset" not in fields:
            continue
        taking += 1
        assert "data_folder" in fields, experiment.name

        for name in data.NAMES:
            made = config(dataset=name, data_folder="somewhere")
            assert made.data_folder == "somewhere"
    assert taking >= 17
