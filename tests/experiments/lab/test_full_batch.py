"""Losses written out, and features that are those of the outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lab.full_batch import full_batch


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
