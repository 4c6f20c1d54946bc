"""Networks without biases and their loss on a fixed set of images, all of it in every step.

    f(W) = 1/(2 n) sum_k |net(x_k) - onehot_k|^2      or      1/n sum_k cross-entropy
    net(x) = act(... act(x W_1) ...) W_L

All parameters are matrices, so that a rule for matrices has no other one beside it.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from . import data

IMAGES = {
    "digits": 1797,
    "mnist5k": 5000,
    "mnist": 70_000,
    "fashion_mnist": 70_000,
    "cifar10": 60_000,
}
"""Data sets, as `data.load` takes them, and how many images each has."""
ACTIVATIONS = {"tanh": jnp.tanh, "ReLU": jax.nn.relu, "linear": lambda x: x}
LOSSES = ("square", "cross-entropy")
SETTLED = 0.25
"""Share of the records, at the end, of which the median is taken."""


class FullBatch(NamedTuple):
    """A network on data.

    Attributes:
        fun: From weights to the loss, a pytree with the data.
        features: From weights to what enters the last layer, and the outputs.
        init: From a key to weights.
        labels: Of the images, int32.
    """

    fun: Callable[[Any], jax.Array]
    features: Callable[[Any], tuple[jax.Array, jax.Array]]
    init: Callable[[jax.Array], list[jax.Array]]
    labels: np.ndarray


def check_images(dataset: str, images: int) -> None:
    """Raise ValueError unless the data set has so many images.

    Example:
        >>> check_images("digits", 1797)
    """
    if images > IMAGES[dataset]:
        raise ValueError(f"images must be at most {IMAGES[dataset]}, of {dataset}, got {images}")


def check_records(*, dataset: str, images: int, steps: int, every: int) -> None:
    """Raise ValueError unless the data set has the images, and records see odd and even steps."""
    check_images(dataset, images)
    if every % 2 == 0:
        raise ValueError(f"every must be odd, got {every}")
    if steps < 8 * every:
        raise ValueError(f"steps must be at least 8 * every, got {steps}, {every}")


def settled(values: xr.DataArray) -> float:
    """Return the median of the last records of one run."""
    records = round(SETTLED * values.sizes["step"])
    return float(values.isel(step=slice(-records, None)).median(skipna=False))


def centred_images(
    dataset: str, count: int, folder: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images as rows, without their mean intensity, and labels.

    Args:
        dataset: One of `IMAGES`.
        count: How many images.
        folder: Of the published files, for data that are not embedded.

    Raises:
        ValueError: If the files hold fewer images.
    """
    loaded = data.load(dataset, folder)
    images, labels = (
        np.concatenate([getattr(loaded.train, part), getattr(loaded.test, part)])[:count]
        for part in ("images", "labels")
    )
    if len(images) < count:
        raise ValueError(f"images must be at most {len(images)}, of {dataset}, got {count}")
    return (images.reshape(len(images), -1) - images.mean()).astype(np.float32), labels


def full_batch(
    dataset: str,
    count: int,
    hidden: Sequence[int],
    *,
    activation: str = "tanh",
    loss: str = "square",
    gain: float = 1.0,
    folder: str | None = None,
) -> FullBatch:
    """Return a network on the first images of a data set.

    Args:
        dataset: One of `IMAGES`.
        count: How many images.
        hidden: Widths of the hidden layers.
        activation: One of `ACTIVATIONS`.
        loss: One of `LOSSES`.
        gain: Factor of Xavier's standard deviation at the start.
        folder: Of the published files, for data that are not embedded.
    """
    inputs, labels = centred_images(dataset, count, folder)
    widths = (inputs.shape[1], *hidden, 10)
    act = ACTIVATIONS[activation]

    def features(inputs, weights):
        for matrix in weights[:-1]:
            inputs = act(inputs @ matrix)
        return inputs, inputs @ weights[-1]

    def fun(inputs, labels, weights):
        _, outputs = features(inputs, weights)
        if loss == "square":
            return jnp.mean(jnp.sum((outputs - jax.nn.one_hot(labels, 10)) ** 2, axis=-1)) / 2
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()

    def init(key):
        draw = jax.nn.initializers.variance_scaling(gain**2, "fan_avg", "normal")
        pairs = list(itertools.pairwise(widths))
        return [
            draw(key, shape, jnp.float32)
            for key, shape in zip(jax.random.split(key, len(pairs)), pairs, strict=True)
        ]

    arrays = jnp.asarray(inputs), jnp.asarray(labels, jnp.int32)
    return FullBatch(
        jax.tree_util.Partial(fun, *arrays),
        jax.tree_util.Partial(features, arrays[0]),
        init,
        np.asarray(labels),
    )
