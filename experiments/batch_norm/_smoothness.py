"""Plain SGD with and without batch normalization, and the loss along the gradient on the way.

Santurkar et al. (2018), https://arxiv.org/abs/1805.11604, figure 4, and algorithm 1 for the noise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import training
from jaxopt_course.nn import MLP, ActivationNoise, BatchNorm, functional_view
from jaxopt_course.training import cross_entropy

from ..lab import data, progress
from ._config import Config

KINDS = ("none", "batch")
NETWORKS = (*KINDS, "noisy batch")


def _build(config: Config, network: str, inputs: int, key: jax.Array) -> MLP:
    """Return a network; noise leaves its weights at the start as they are."""
    normalizations = {"batch": BatchNorm, "noisy batch": ActivationNoise.after(BatchNorm)}
    return MLP(
        (inputs, *[config.width] * config.layers, 10),
        normalization=normalizations.get(network),
        rngs=nnx.Rngs(key, noise=jax.random.fold_in(key, 2)),
    )


def _train(config: Config, network: str, epochs: int, measured: bool, images, labels, key, rate):
    """Train by plain SGD; return the loss, its range and the gradient's change at every step."""
    distances = jnp.array([0.0, *(config.distances if measured else ())])
    apply, params, state = functional_view(_build(config, network, images.shape[1], key))

    def step(carry, _):
        params, state, order = carry
        chosen, order = jnp.split(order, [config.batch_size])

        # The state holds the random stream, so that all looks of a step have the same noise.
        def loss(params):
            outputs, new_state = apply(params, state, images[chosen], train=True)
            return cross_entropy(outputs, labels[chosen]).mean(), new_state

        # The gradient is that of the first look, at distance 0: one program of the network for all.
        def look(gradient, distance):
            there = optax.tree.add_scale(params, -distance, gradient)
            (value, new_state), slope = jax.value_and_grad(loss, has_aux=True)(there)
            gradient = optax.tree.where(distance > 0, gradient, slope)
            change = optax.tree.norm(optax.tree.sub(slope, gradient))
            return gradient, (value, change, new_state)

        nothing = jax.tree.map(jnp.zeros_like, params)
        gradient, (values, changes, states) = jax.lax.scan(look, nothing, distances)
        new_state = jax.tree.map(lambda leaf: leaf[0], states)
        record = {"loss": values[0]}
        if measured:
            record |= {"range": jnp.ptp(values[1:]), "change": changes.max()}
        # The examples that were used go to the end, to come again in the same order.
        order = jnp.concatenate([order, chosen])
        return (optax.tree.add_scale(params, -rate, gradient), new_state, order), record

    steps = epochs * (len(labels) // config.batch_size)
    order = jax.random.permutation(jax.random.fold_in(key, 1), len(labels))
    return jax.lax.scan(step, (params, state, order), length=steps)[1]


def train_over_rates(config: Config, train: data.Split, keys: jax.Array) -> dict[str, np.ndarray]:
    """Train the networks, plainly at every rate and with measurements at one.

    Args:
        config: That of the experiment `batch_norm`.
        train: Images.
        keys: One a seed.

    Returns:
        `rates`, the losses over epochs of `KINDS` by rate and seed; and of the measured runs of
        `NETWORKS`, by seed and step, `loss`, `range` and `change`.
    """
    images, labels = train.images.reshape(len(train.labels), -1), train.labels
    grid = training.grid(keys, learning_rate=config.learning_rates)
    by_rate, along = [], {"loss": [], "range": [], "change": []}
    for network in progress.track(NETWORKS, "networks"):
        measured = functools.partial(_train, config, network, config.measured_epochs, True)
        many = jax.jit(jax.vmap(measured, (None, None, 0, None)))
        for name, values in many(images, labels, keys, config.measured_rate).items():
            along[name].append(values)
        if network in KINDS:
            plain = functools.partial(_train, config, network, config.epochs, False)
            many = jax.jit(jax.vmap(plain, (None, None, 0, 0)))
            losses = many(images, labels, grid.keys, grid.hyperparams["learning_rate"])["loss"]
            by_rate.append(losses.reshape(*grid.shape, config.epochs, -1).mean(axis=-1))
    return {"rates": np.array(by_rate)} | {name: np.array(v) for name, v in along.items()}
