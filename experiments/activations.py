"""ReLU-like units train a deep network several times faster than sigmoid ones.

The functions of the lecture with GELU and SiLU beside them, their derivatives, and how long a
network of each takes to learn: fully connected, five hidden layers, digits, weights of variance
gain^2 / fan_in with each activation's own gain, so that all start with signals of the same size.
Speed is the number of epochs until the mean training loss of an epoch falls below a threshold, of
which there are several: an order that one of them makes is none. Each activation's learning rate is
the best of the same grid at each threshold (lowest mean over seeds).

Section: Techniques of network training
Command: python -m experiments run activations
Cost: quick 85 s of processor time, compilation included, on 2 busy cores; fashion 6.3 min
Last result: 2 of 4 claims hold: tanh is faster than ReLU at every threshold, 0.80 ± 0.23 of its
    epochs to loss 0.3, 0.60 ± 0.13 to 0.03; sigmoid needs 5.1 ± 1.5 times ReLU's epochs to 0.3,
    3.9 ± 1.5 to 0.1, but 2.6 ± 0.6 to 0.03, with a seed below 2, n = 5 (2026-11-29, quick). On
    5,000 images of Fashion-MNIST 2 of 4, too: tanh needs 0.74 to 0.82 of ReLU's epochs, sigmoid
    2.4 ± 0.3, 2.2 ± 0.3 and 2.1 ± 0.3 times as many to 0.4, 0.3 and 0.2 (2026-11-29)
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import training
from jaxopt_course.nn import MLP, activation
from jaxopt_course.nn import _initializers as initializers

from .lab import data, progress, resumable
from .lab.claims import Claim
from .lab.fields import Checked, Seed, a_folder, above, minimum, one_of
from .lab.statistics import mean_interval, show_every

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu")
SATURATING = ("sigmoid", "tanh")


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Networks and training."""

    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    examples: Annotated[int, minimum(1)] | None = None
    """Training images, the first ones of the published order; None for all."""
    seeds: Annotated[int, minimum(2)] = 5
    """Networks of each activation and learning rate."""
    hidden_layers: Annotated[int, minimum(1)] = 5
    """Hidden layers."""
    width: Annotated[int, minimum(1)] = 64
    """Units of each hidden layer."""
    learning_rates: tuple[Annotated[float, above(0)], ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Grid of learning rates of SGD with momentum 0.9."""
    epochs: Annotated[int, minimum(1)] = 30
    """Epochs of training."""
    batch_size: Annotated[int, minimum(1)] = 50
    """Examples a step."""
    thresholds: tuple[Annotated[float, above(0)], ...] = (0.3, 0.1, 0.03)
    """Training losses to reach."""
    seed: Seed = 0
    """Seed of all keys."""

    @classmethod
    def quick(cls) -> "Config":
        """Five seeds on scikit-learn's digits."""
        return cls()

    @classmethod
    def fashion(cls) -> "Config":
        """5,000 images of Fashion-MNIST, five hidden layers of 128 (the paper's have 1,000).

        Rates and thresholds come from trial runs with another seed, on 10,000 images in batches of
        100, which are as many steps: the best rates of sigmoid, tanh and ReLU lay inside the grid,
        and all three got to the lowest loss.
        """
        return cls(
            **data.FASHION_MNIST,
            examples=5000,
            width=128,
            learning_rates=(0.003, 0.01, 0.03, 0.1, 0.3),
            epochs=25,
            thresholds=(0.4, 0.3, 0.2),
        )

    @classmethod
    def paper(cls) -> "Config":
        """MNIST, five hidden layers of 1,000 units, as in Glorot and Bengio's comparison."""
        return cls(
            dataset="mnist",
            data_folder="data/mnist",
            seeds=5,
            width=1000,
            learning_rates=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
            batch_size=100,
        )


def run(config: Config) -> xr.Dataset:
    """Tabulate the functions and train a network of each over the grid."""
    loaded = data.load(config.dataset, config.data_folder).first(config.examples).standardized()
    features = (loaded.train.images[0].size, *[config.width] * config.hidden_layers, 10)
    keys = jax.random.split(jax.random.key(config.seed), config.seeds)
    grid = training.grid(keys, learning_rate=config.learning_rates)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1, momentum=0.9)
    # A network of every activation, at every rate and from every seed.
    losses = []
    for name in progress.track(ACTIVATIONS, "activations"):

        def build(key, name=name):
            return MLP(
                features,
                activation=activation(name),
                kernel_init=initializers.kaiming_normal(activation=name),
                rngs=nnx.Rngs(key),
            )

        fitted = resumable.fit(
            build,
            optimizer,
            loaded.train,
            grid.keys,
            hyperparams=grid.hyperparams,
            epochs=config.epochs,
            batch_size=config.batch_size,
        )
        losses.append(fitted.history["loss"].reshape(*grid.shape, -1))
    # The functions and their slopes.
    x = np.linspace(-4, 4, 401, dtype=np.float32)
    functions = [activation(name) for name in ACTIVATIONS]
    dims = ("activation", "learning_rate", "seed", "epoch")
    return xr.Dataset(
        {
            "value": (("activation", "x"), np.array([f(jnp.asarray(x)) for f in functions])),
            "slope": (("activation", "x"), np.array([jax.vmap(jax.grad(f))(x) for f in functions])),
            "train_loss": (dims, np.array(losses)),
        },
        coords={
            "activation": list(ACTIVATIONS),
            "x": x,
            "learning_rate": list(config.learning_rates),
            "epoch": np.arange(1, config.epochs + 1),
        },
        attrs={"thresholds": list(config.thresholds)},
    )


def epochs_needed(dataset: xr.Dataset) -> xr.DataArray:
    """Return the epochs until the loss is below each threshold, at the best rate of the grid.

    A run that does not get there, or diverges, counts with one epoch more than there were.
    """
    needed = _epochs_at_every_rate(dataset)
    return needed.isel(learning_rate=needed.mean("seed").argmin("learning_rate"))


def _epochs_at_every_rate(dataset: xr.Dataset) -> xr.DataArray:
    never = dataset.sizes["epoch"] + 1
    levels = np.atleast_1d(dataset.attrs["thresholds"])
    thresholds = xr.DataArray(levels, dims="threshold", coords={"threshold": levels})
    return dataset.epoch.where(dataset.train_loss < thresholds, never).min("epoch")


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the order of speeds, that all learn, and the slopes of the functions."""
    needed = epochs_needed(dataset)
    relu, sigmoid = needed.sel(activation="relu"), needed.sel(activation="sigmoid")
    others = [name for name in ACTIVATIONS if name not in SATURATING]
    seeds = needed.sizes["seed"]
    gains = (sigmoid / needed.sel(activation=others)).transpose(..., "seed")
    slopes = dataset.slope.sel(activation="sigmoid")
    tanh = needed.sel(activation="tanh") / relu
    slowest = needed.sel(activation=others).mean("seed").idxmax("activation")
    ratio, behind = sigmoid / relu, sigmoid / needed.sel(activation=slowest)
    names = ", ".join(dict.fromkeys(slowest.values.tolist()))
    return [
        Claim(
            "sigmoid needs several times the epochs of ReLU (ratio, paired by seed)",
            "lecture; Krizhevsky et al. 2012, figure 1 (tanh, 6 times, on CIFAR-10)",
            "at least 2, every seed, to every threshold",
            _at_each_threshold(ratio, ratio >= 2),
            bool((ratio >= 2).all()),
        ),
        Claim(
            "tanh needs more epochs than ReLU (ratio, paired by seed)",
            "lecture; Krizhevsky et al. 2012, figure 1",
            "mean above 1 with its interval, to every threshold",
            _at_each_threshold(tanh, tanh > 1),
            all(_interval_above(tanh.sel(threshold=level).values, 1.0) for level in tanh.threshold),
        ),
        Claim(
            f"every ReLU-like unit is faster than sigmoid (sigmoid's epochs over those of the "
            f"slowest, {names}, paired by seed)",
            "lecture",
            "mean above 1 with its interval, of every unit to every threshold",
            _at_each_threshold(behind, behind > 1),
            all(_interval_above(row, 1.0) for row in gains.values.reshape(-1, seeds)),
        ),
        Claim(
            "the slope of the sigmoid is at most 1/4",
            "calculus",
            "0.25",
            f"{float(slopes.max()):.6f}",
            abs(float(slopes.max()) - 0.25) < 1e-6,
        ),
    ]


def _at_each_threshold(ratio: xr.DataArray, held: xr.DataArray) -> str:
    """Write a ratio's mean and interval over seeds, threshold by threshold, and of how many."""
    return "; ".join(
        f"{show_every(one, of)} to {level:g}"
        for level in ratio.threshold.values
        for one, of in [(ratio.sel(threshold=level), held.sel(threshold=level))]
    )


def _interval_above(values: np.ndarray, bound: float) -> bool:
    mean, half = mean_interval(values)
    return mean - half > bound


def plot(dataset: xr.Dataset) -> Figure:
    """Draw functions, derivatives, and the training loss at each activation's best rate."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    # Every activation is drawn at its best rate, judged by the epochs to the middle threshold.
    every = _epochs_at_every_rate(dataset)
    middle_one = float(np.sort(every.threshold)[every.sizes["threshold"] // 2])
    best = every.sel(threshold=middle_one).mean("seed").argmin("learning_rate")
    for index, name in enumerate(dataset.activation.values):
        # ReLU and its leaky sister lie upon each other on one side: dashes show both.
        look = {"color": f"C{index}", "ls": "--" if name == "leaky_relu" else "-"}
        left.plot(dataset.x, dataset.value.sel(activation=name), label=name, **look)
        middle.plot(dataset.x, dataset.slope.sel(activation=name), **look)
        chosen = dataset.train_loss.sel(activation=name).isel(
            learning_rate=int(best.sel(activation=name))
        )
        rate = float(chosen.learning_rate)
        draw.band(
            dataset.epoch,
            chosen.transpose("seed", "epoch"),
            quantiles=(0, 1),
            label=f"{name}, {rate:g}",
            ax=right,
            color=f"C{index}",
        )
    # The thresholds that the claims count epochs to.
    for level in every.threshold:
        right.axhline(float(level), color="black", lw=0.8, ls=":")
    left.set(xlabel="x", ylabel="f(x)", title="functions", ylim=(-1.5, 4))
    middle.set(xlabel="x", ylabel="f'(x)", title="derivatives")
    right.set(
        xlabel="epoch",
        ylabel="train loss",
        yscale="log",
        ylim=(1e-4, 3),
        title="median and range of seeds, best rate",
    )
    left.legend()
    right.legend(title="activation, rate", fontsize="x-small")
    needed = epochs_needed(dataset).sel(threshold=middle_one).mean("seed")
    figure.suptitle(
        f"Sigmoid needs {float(needed.sel(activation='sigmoid')):.2g} epochs to loss "
        f"{middle_one:g}, ReLU {float(needed.sel(activation='relu')):.2g}"
    )
    return figure
