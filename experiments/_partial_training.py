"""A ResNet of which only some parameters are trained, all others staying as they were drawn.

Frankle, Schwab and Morcos (2021), https://arxiv.org/abs/2003.00152.
"""

import functools
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments import data, progress
from jaxopt_course import training
from jaxopt_course.nn import BatchNorm, ResNet

if TYPE_CHECKING:
    from experiments.batch_norm import Config

TRAINED = ("batch normalization", "two weights a channel", "output layer", "everything")


def _is_trained(trained: str, path) -> bool:
    """Return whether parameters at a path are trained, all of them or two a channel."""
    names = [str(part.key) for part in path]
    if trained == "batch normalization":
        return "normalization" in names
    if trained == "output layer":
        return names[0] == "readout"
    if trained == "two weights a channel":
        return names[0] != "readout" and names[-1] == "kernel"
    return True


def _two_a_channel(kernel: jax.Array, key: jax.Array) -> jax.Array:
    """Return 1 at two random weights of every output channel of a kernel, else 0."""
    rows = kernel.reshape(-1, kernel.shape[-1])
    ranks = jax.random.uniform(key, rows.shape).argsort(axis=0).argsort(axis=0)
    return (ranks < 2).astype(kernel.dtype).reshape(kernel.shape)


def only(trained: str, key: jax.Array) -> optax.GradientTransformation:
    """Set the updates of all parameters but those of `TRAINED` that are named to zero.

    Args:
        trained: One of `TRAINED`.
        key: Chooses the two weights of every channel.

    Returns:
        The transformation. Its state holds the mask of the chosen weights where there is one.
    """

    def init(params):
        if trained != "two weights a channel":
            return optax.EmptyState()
        keys = optax.tree.split_key_like(key, params)
        return jax.tree.map_with_path(
            lambda path, leaf, key: (
                _two_a_channel(leaf, key) if _is_trained(trained, path) else jnp.zeros(leaf.shape)
            ),
            params,
            keys,
        )

    def update(updates, state, params=None):
        del params
        # Zeros that XLA knows at compile time let it drop the gradients that are not needed.
        updates = jax.tree.map_with_path(
            lambda path, g: g if _is_trained(trained, path) else jnp.zeros_like(g), updates
        )
        if trained == "two weights a channel":
            updates = jax.tree.map(jnp.multiply, updates, state)
        return updates, state

    return optax.GradientTransformation(init, update)


def train_parts(
    config: "Config", loaded: data.Dataset, keys: jax.Array
) -> tuple[np.ndarray, list[int]]:
    """Train each of `TRAINED`, all else as it was drawn.

    Args:
        config: That of the experiment `batch_norm`.
        loaded: Images.
        keys: One a seed.

    Returns:
        Test accuracies by what is trained and seed, and how many parameters are trained.
    """
    normalization = functools.partial(
        BatchNorm, momentum=0.9, scale_init=jax.nn.initializers.uniform(1.0)
    )

    def build(key):
        channels = loaded.train.images.shape[-1]
        return ResNet(
            config.depth,
            channels,
            width=config.resnet_width,
            normalization=normalization,
            rngs=nnx.Rngs(key),
        )

    steps = config.resnet_epochs * (len(loaded.train.labels) // config.batch_size)
    rate = optax.piecewise_constant_schedule(
        config.resnet_rate, {steps // 2: 0.1, 3 * steps // 4: 0.1}
    )
    accuracies, counts = [], []
    for trained in progress.track(TRAINED, "trained parameters"):

        def optimizer(key, trained=trained):
            return optax.chain(
                optax.add_decayed_weights(1e-4),
                only(trained, key),
                optax.sgd(rate, momentum=0.9),
            )

        fitted = training.fit(
            build,
            optimizer,
            loaded.train,
            keys,
            epochs=config.resnet_epochs,
            batch_size=config.batch_size,
            evaluation={"test": loaded.test},
            callback=progress.epochs(config.resnet_epochs),
        )
        accuracies.append(fitted.history["test_accuracy"][:, -1])
        ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape[1:]), fitted.runs.params)
        rule = only(trained, keys[0])
        counts.append(int(jnp.asarray(optax.tree.sum(rule.update(ones, rule.init(ones))[0]))))
    return np.array(accuracies), counts
