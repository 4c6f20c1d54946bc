"""A ResNet of which only some parameters are trained, all others staying as they were drawn.

Frankle, Schwab and Morcos (2021), https://arxiv.org/abs/2003.00152.
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course.nn import BatchNorm, ResNet, functional_view

from ..lab import data, progress, resumable
from ._config import Config

TWO = "two weights a channel"
TRAINED = ("batch normalization", TWO, "output layer", "everything")


def _is_trained(trained: str, path) -> bool:
    """Return whether parameters at a path are trained, all of them or two a channel."""
    names = [str(part.key) for part in path]
    if trained == "batch normalization":
        return "normalization" in names
    if trained == "output layer":
        return names[0] == "readout"
    if trained == TWO:
        return names[0] != "readout" and names[-1] == "kernel"
    return True


def _two_a_channel(kernel: jax.Array, key: jax.Array) -> jax.Array:
    """Return 1 at two random weights of every output channel of a kernel, else 0."""
    rows = kernel.reshape(-1, kernel.shape[-1])
    ranks = jax.random.uniform(key, rows.shape).argsort(axis=0).argsort(axis=0)
    return (ranks < 2).astype(kernel.dtype).reshape(kernel.shape)


class OnlyState(NamedTuple):
    """What `only` keeps.

    Attributes:
        trained: Index in `TRAINED`; `training.fit` sets it as a hyperparameter.
        chosen: 1 at two random weights of every channel, else 0; a tree like the parameters.
    """

    trained: jax.Array
    chosen: optax.Params


def only(key: jax.Array) -> optax.GradientTransformation:
    """Set the updates of all parameters but one of `TRAINED` to zero.

    Which one is part of the state, so that one program trains any of them: to compile the ResNet
    four times would take longer than to train it on small data. (For one part, given beforehand
    and made of whole leaves, `optax.partition` is all it takes.)

    Args:
        key: Chooses the two weights of every channel.

    Returns:
        The transformation, which trains everything until `trained` is set.
    """

    def init(params):
        keys = optax.tree.split_key_like(key, params)
        chosen = jax.tree.map_with_path(
            lambda path, leaf, key: (
                _two_a_channel(leaf, key) if _is_trained(TWO, path) else jnp.ones_like(leaf)
            ),
            params,
            keys,
        )
        return OnlyState(jnp.array(TRAINED.index("everything")), chosen)

    def update(updates, state, params=None):
        del params

        def masked(path, g, chosen):
            trained = jnp.array([_is_trained(name, path) for name in TRAINED])[state.trained]
            chosen = jnp.where(state.trained == TRAINED.index(TWO), chosen, 1)
            return g * jnp.where(trained, chosen, 0)

        return jax.tree.map_with_path(masked, updates, state.chosen), state

    return optax.GradientTransformation(init, update)


@jax.jit
def count(trained: jax.Array, params: optax.Params) -> jax.Array:
    """Return how many parameters are trained where `trained` is the index in `TRAINED`."""
    ones, rule = jax.tree.map(jnp.ones_like, params), only(jax.random.key(0))
    state = optax.tree.set(rule.init(params), trained=trained)
    return jnp.asarray(optax.tree.sum(rule.update(ones, state)[0]))


def train_parts(
    config: Config, loaded: data.Dataset, keys: jax.Array
) -> tuple[np.ndarray, list[int]]:
    """Train each of `TRAINED`, all else as it was drawn.

    Args:
        config: That of the experiment `batch_norm`.
        loaded: Images.
        keys: One a seed.

    Returns:
        Test accuracies by what is trained and seed, NaN without epochs, and how many parameters are
        trained.
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

    if not config.resnet_epochs:
        params = functional_view(build(keys[0])).params
        counts = [int(count(index, params)) for index in range(len(TRAINED))]
        return np.full((len(TRAINED), len(keys)), np.nan), counts

    steps = config.resnet_epochs * (len(loaded.train.labels) // config.batch_size)
    rate = optax.piecewise_constant_schedule(
        config.resnet_rate, {steps // 2: 0.1, 3 * steps // 4: 0.1}
    )

    def optimizer(key):
        return optax.chain(
            optax.add_decayed_weights(1e-4), only(key), optax.sgd(rate, momentum=0.9)
        )

    accuracies, counts = [], []
    for index in progress.track(range(len(TRAINED)), "trained parameters"):
        fitted = resumable.fit(
            build,
            optimizer,
            loaded.train,
            keys,
            hyperparams={"trained": jnp.full(len(keys), index)},
            epochs=config.resnet_epochs,
            batch_size=config.batch_size,
            evaluation={"test": loaded.test},
        )
        accuracies.append(fitted.history["test_accuracy"][:, -1])
        first = jax.tree.map(operator.itemgetter(0), fitted.runs.params)
        counts.append(int(count(index, first)))
    return np.array(accuracies), counts
