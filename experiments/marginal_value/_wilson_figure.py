"""The lecture's Figure 1: a network trained by each of five methods at each of its learning rates.

As in the paper, the rate is halved after every tenth of the steps, and each method is shown at the
rate of its lowest training loss at the end.

Wilson, Roelofs, Stern, Srebro, Recht (2017), https://arxiv.org/abs/1705.08292, figure 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx

from jaxopt_course import training
from jaxopt_course.nn import MLP, VGG16

from ..lab import data, progress, resumable
from ._config import Config
from ._five_methods import METHODS
from ._private_features import divide


def _halved(rate, steps: int) -> optax.Schedule:
    """Return the rate halved after every tenth of the steps."""
    factor = optax.exponential_decay(1.0, max(steps // 10, 1), 0.5, staircase=True)
    return lambda count: rate * factor(count)


def train(config: Config) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Train the network by every method at all of its rates.

    Args:
        config: That of the experiment `marginal_value`.

    Returns:
        Training loss and errors by method, rate, run and epoch, with the names of the axes.
    """
    # Data, network and augmentation.
    loaded = data.load(config.dataset, config.data_folder).first(config.first).standardized()
    train, test = divide(loaded, config.examples, config.seed)
    steps = config.epochs * (len(train.labels) // config.batch_size)
    keys = jax.random.split(jax.random.key(config.seed), config.runs)

    def build(key):
        rngs = nnx.Rngs(key)
        if config.hidden is None:
            return VGG16(rngs=rngs)
        return MLP((train.images[0].size, *config.hidden, 10), rngs=rngs)

    def flip(key, images):
        flipped = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
        return jnp.where(flipped, images[:, :, ::-1], images)

    # Every method at its rates, which are halved as in the paper.
    histories = []
    for method in progress.track(list(METHODS), "methods"):
        grid = training.grid(keys, learning_rate=config.rates()[method])
        optimizer = optax.inject_hyperparams(
            lambda learning_rate, method=method: METHODS[method](_halved(learning_rate, steps))
        )(learning_rate=0.0)
        history = resumable.fit(
            build,
            optimizer,
            train,
            grid.keys,
            hyperparams=grid.hyperparams,
            epochs=config.epochs,
            batch_size=config.batch_size,
            evaluation={"train": train, "test": test},
            augment=flip if config.hidden is None else None,
        ).history
        histories.append(
            {
                "train_loss": history["train_loss"],
                "train_error": 1 - history["train_accuracy"],
                "test_error": 1 - history["test_accuracy"],
            }
        )
    # Axes in the order of the claims: methods, rates, runs, epochs.
    shape = (len(METHODS), len(config.sgd), config.runs, config.epochs)
    return {
        name: (
            ("optimizer", "rate", "run", "epoch"),
            np.reshape([history[name] for history in histories], shape),
        )
        for name in histories[0]
    }


def tuned(dataset: xr.Dataset) -> xr.Dataset:
    """Return Figure 1 at every method's rate of the lowest mean training loss at the end."""
    loss = dataset.train_loss.isel(epoch=-1, drop=True).mean("run", skipna=False)
    names = ["train_loss", "train_error", "test_error", "learning_rate"]
    # A rate at which a run diverged is out.
    return dataset[names].isel(rate=loss.fillna(np.inf).argmin("rate"))
