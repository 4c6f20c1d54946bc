"""Plain SGD with and without batch normalization, and the loss along the gradient on the way.

Behind every normalization noise can be put: each unit j of example i becomes `s_ij a_ij + m_ij`,
with means and deviations of s and m that are drawn for each unit anew at every step,

    mu_j ~ U(-1/2, 1/2), sigma_j ~ U(1, 5/4), m_ij ~ U(mu_j +- 1/10), s_ij ~ N(sigma_j, 1/10).

Santurkar et al. (2018), https://arxiv.org/abs/1805.11604, figure 4 and algorithm 1.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import training
from jaxopt_course.nn import MLP, BatchNorm
from jaxopt_course.training import cross_entropy

from ..lab import data, progress
from ._config import Config

KINDS = ("none", "batch")
NETWORKS = (*KINDS, "noisy batch")


def draw_noise(key: jax.Array, layers: int, batch: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Return factors and offsets of every unit, layers x examples x units, by the formula above."""
    keys = jax.random.split(key, 4)
    units, shape = (layers, 1, width), (layers, batch, width)
    mu = jax.random.uniform(keys[0], units, minval=-0.5, maxval=0.5)
    sigma = jax.random.uniform(keys[1], units, minval=1.0, maxval=1.25)
    offset = mu + jax.random.uniform(keys[2], shape, minval=-0.1, maxval=0.1)
    return sigma + 0.1 * jax.random.normal(keys[3], shape), offset


def _train(config: Config, network: str, epochs: int, measured: bool, images, labels, key, rate):
    """Train by plain SGD; return the loss, its range and the gradient's change at every step."""
    model = MLP(
        (images.shape[1], *[config.width] * config.layers, 10),
        normalization=None if network == "none" else BatchNorm,
        rngs=nnx.Rngs(key),
    )
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def step(carry, step_keys):
        params, order = carry
        chosen, order = jnp.split(order, [config.batch_size])
        noise = None
        if network == "noisy batch":
            noise = draw_noise(step_keys, config.layers, config.batch_size, config.width)

        def loss(params):
            # A copy, because the module's running averages are written to.
            copied = jax.tree.map(lambda leaf: leaf, (params, rest))
            *blocks, readout = nnx.merge(graph, *copied).blocks
            x = images[chosen]
            for index, block in enumerate(blocks):
                x = block.layer(x)
                x = x if block.normalization is None else block.normalization(x)
                if noise is not None:
                    x = noise[0][index] * x + noise[1][index]
                x = block.activation(x)
            return cross_entropy(readout(x), labels[chosen]).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        record = {"loss": value}
        if measured:

            def look(distance):
                there, slope = jax.value_and_grad(loss)(
                    optax.tree.add_scale(params, -distance, gradient)
                )
                return there, optax.tree.norm(optax.tree.sub(slope, gradient))

            # One after the other: the batch of examples already fills the processor.
            values, changes = jax.lax.map(look, jnp.array(config.distances))
            record |= {"range": values.max() - values.min(), "change": changes.max()}
        # The examples that were used go to the end, to come again in the same order.
        order = jnp.concatenate([order, chosen])
        return (optax.tree.add_scale(params, -rate, gradient), order), record

    steps = epochs * (len(labels) // config.batch_size)
    order = jax.random.permutation(jax.random.fold_in(key, 1), len(labels))
    keys = jax.random.split(jax.random.fold_in(key, 2), steps)
    return jax.lax.scan(step, (params, order), keys)[1]


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
