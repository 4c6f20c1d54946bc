"""Arms of one step, trained to one loss, and what is measured of their ends."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxopt_course import observables

from ..lab.full_batch import IMAGES, full_batch
from ..lab.progress import track
from ._config import Config

RISE_SCALE, RISE_DIRECTIONS = 0.25, 16
"""Length of the random displacements in units of the weights', and how many there are."""
SCALINGS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Factors of the first layer, powers of two."""
MEASURES = ("sharpness", "adaptive sharpness", "rise")


class Arm(NamedTuple):
    """A way to train.

    Attributes:
        share: a of the formula in the experiment's docstring.
        radius: r of it.
        decay: Weight decay.
        large: Whether batches are large.
    """

    share: float = 0.0
    radius: float = 0.0
    decay: float = 0.0
    large: bool = False


ARMS = {
    "SGD": Arm(),
    "large batch": Arm(large=True),
    "SAM": Arm(share=1.0, radius=0.1),
    "gradient-norm penalty": Arm(share=0.5, radius=0.1),
    "weight decay": Arm(decay=1e-3),
}


class Network(NamedTuple):
    """The network and all images.

    Attributes:
        loss: From inputs, labels and weights to the mean loss.
        outputs: From inputs and weights to outputs.
        init: From a key to weights.
        inputs: Of all images.
        labels: Of all images.
    """

    loss: Callable[[Any, Any, Any], jax.Array]
    outputs: Callable[[Any, Any], jax.Array]
    init: Callable[[jax.Array], list[jax.Array]]
    inputs: jax.Array
    labels: jax.Array


class Images(NamedTuple):
    """The images as one seed divides them, each part inputs and labels."""

    train: tuple[jax.Array, jax.Array]
    validation: tuple[jax.Array, jax.Array]
    test: tuple[jax.Array, jax.Array]


def network(config: Config) -> Network:
    """Return the network on all images of the data set."""
    whole: Any = full_batch(
        config.dataset,
        IMAGES[config.dataset],
        config.hidden,
        activation="ReLU",
        loss="cross-entropy",
        gain=2**0.5,
        folder=config.data_folder,
    )
    return Network(
        whole.fun.func,
        lambda inputs, weights: whole.features.func(inputs, weights)[1],
        whole.init,
        *whole.fun.args,
    )


def divided(config: Config, net: Network, key: jax.Array) -> Images:
    """Return the images in the order that a run's key draws, divided."""
    order = jax.random.permutation(jax.random.fold_in(key, 0), len(net.labels))
    ends = config.images, config.images + config.validation
    parts = jnp.split(order, ends)
    return Images(*((net.inputs[part], net.labels[part]) for part in parts))


def direction(grad: Callable[[Any], Any], weights: Any, share: Any, radius: Any) -> Any:
    """Return `(1 - a) g(w) + a g(w + r g(w) / |g(w)|)`, without weight decay.

    Args:
        grad: g.
        weights: w.
        share: a.
        radius: r.
    """
    here = grad(weights)
    square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(here))
    length = radius / jnp.sqrt(jnp.where(square > 0, square, 1))
    there = grad(jax.tree.map(lambda w, g: w + length * g, weights, here))
    return jax.tree.map(lambda g, h: (1 - share) * g + share * h, here, there)


def trainer(config: Config, net: Network, size: int) -> Callable[..., Any]:
    """Return a function from a rate, arms' share, radius and decay, and keys to the runs' ends.

    Args:
        config: Of the experiment.
        net: The network.
        size: Of a batch.
    """

    def one_step(weights, key, train, rate, share, radius, decay):
        inputs, labels = train
        chosen = jax.random.randint(key, (size,), 0, config.images)
        grad = jax.grad(lambda w: net.loss(inputs[chosen], labels[chosen], w))
        moved = direction(grad, weights, share, radius)
        return jax.tree.map(lambda w, g: w - rate * (g + decay * w), weights, moved)

    def run(rate, numbers, key):
        train = divided(config, net, key).train
        of_start, of_order = (jax.random.fold_in(key, number) for number in (1, 2))

        def going(state):
            _, steps, loss = state
            return (steps * rate < config.time) & (loss > config.target)

        def go(state):
            weights, steps, _ = state
            own = jax.random.fold_in(of_order, steps)
            weights = one_step(weights, own, train, rate, *numbers)
            loss = net.loss(*train, weights)
            # A NaN counts as infinite: such a run goes on until its time is over.
            return weights, steps + 1, jnp.where(jnp.isfinite(loss), loss, jnp.inf)

        start = net.init(of_start)
        return jax.lax.while_loop(going, go, (start, jnp.array(0), jnp.array(jnp.inf)))

    over_seeds = jax.vmap(run, (None, None, 0))
    return jax.jit(jax.vmap(over_seeds, (None, 0, None)))


def rescaled(weights: Any, factor: Any) -> Any:
    """Return the weights with the first layer multiplied and the second divided by a factor."""
    return [weights[0] * factor, weights[1] / factor, *weights[2:]]


def rise(fun: Callable[[Any], jax.Array], weights: Any, key: jax.Array) -> jax.Array:
    """Return the mean rise of the loss along random filter-normalized directions."""

    def columns(matrix):
        return jnp.linalg.norm(matrix, axis=0, keepdims=True)

    def one(key):
        keys = jax.random.split(key, len(weights))
        moved = []
        for own, matrix in zip(keys, weights, strict=True):
            drawn = jax.random.normal(own, matrix.shape, matrix.dtype)
            # A unit's incoming weights are a column.
            ratio = columns(matrix) / columns(drawn)
            moved.append(matrix + RISE_SCALE * ratio * drawn)
        return fun(moved)

    return jax.lax.map(one, jax.random.split(key, RISE_DIRECTIONS)).mean() - fun(weights)


def measure(net: Network, images: Images, weights: Any) -> dict[str, jax.Array]:
    """Return what is measured of one end."""
    look = observables.sharpness()

    def fun(weights):
        return net.loss(*images.train, weights)

    def relative(u):
        return fun(jax.tree.map(lambda w, part: w * (1 + part), weights, u))

    def share_wrong(inputs, labels):
        return jnp.mean(net.outputs(inputs, weights).argmax(axis=1) != labels)

    plain = look(weights, None, fun)
    adaptive = look(jax.tree.map(jnp.zeros_like, weights), None, relative)
    return {
        "sharpness": plain.value[0],
        "residual": plain.error[0],
        "adaptive sharpness": adaptive.value[0],
        "adaptive residual": adaptive.error[0],
        "rise": rise(fun, weights, jax.random.key(0)),
        "norm": jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in weights)),
        "validation error": share_wrong(*images.validation),
        "test error": share_wrong(*images.test),
    }


def trained(config: Config, keys: jax.Array) -> xr.Dataset:
    """Train every arm at every rate from every key, and measure the ends."""
    net, seeds = network(config), len(keys)
    ends: dict[tuple[str, int], Any] = {}
    for large in (False, True):
        names = [name for name, arm in ARMS.items() if arm.large == large]
        train = trainer(config, net, config.images // 2 if large else config.batch)
        numbers = tuple(
            jnp.array([getattr(ARMS[name], field) for name in names])
            for field in ("share", "radius", "decay")
        )
        for number, rate in enumerate(track(config.rates, "rates")):
            found = train(jnp.asarray(rate), numbers, keys)
            for k, name in enumerate(names):
                ends[name, number] = jax.tree.map(lambda leaf, k=k: leaf[k], found)
    # All ends in one batch, by arm, rate and seed, however they were trained.
    order = [(name, number) for name in ARMS for number in range(len(config.rates))]
    weights, steps, loss = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves), *(ends[place] for place in order)
    )

    @jax.jit
    def look(keys, weights):
        def one(of_one):
            key, weights = of_one
            return measure(net, divided(config, net, key), weights)

        return jax.lax.map(one, (keys, weights))

    found = look(jnp.tile(keys, len(order)), weights)
    shape, axes = (len(ARMS), len(config.rates), seeds), ("arm", "rate", "seed")
    seen = {name: (axes, np.asarray(leaf).reshape(shape)) for name, leaf in found.items()}
    parts = seen | {
        "loss": (axes, np.asarray(loss).reshape(shape)),
        "steps": (axes, np.asarray(steps).reshape(shape)),
    }
    dataset = xr.Dataset(parts, coords={"arm": list(ARMS), "rate": list(config.rates)})
    # SGD's ends at its middle rate, by other weights of the same functions.
    chosen = jax.tree.map(lambda leaf: leaf[:seeds], ends["SGD", len(config.rates) // 2][0])
    return dataset.merge(_rescaled(config, net, keys, chosen))


def _rescaled(config: Config, net: Network, keys: jax.Array, weights: Any) -> xr.Dataset:
    """Measure networks whose first two layers are rescaled."""

    @jax.jit
    def look(keys, weights, factor):
        def one(of_one):
            key, weights = of_one
            images = divided(config, net, key)
            other = rescaled(weights, factor)
            inputs, _ = images.train
            gap = net.outputs(inputs, other) - net.outputs(inputs, weights)

            def of_second(matrix):
                return net.loss(*images.train, [weights[0], matrix, *weights[2:]])

            block = observables.sharpness()(weights[1], None, of_second)
            found = measure(net, images, other)
            return {name: found[name] for name in MEASURES} | {
                "gap": jnp.max(jnp.abs(gap)),
                "block": block.value[0],
            }

        return jax.lax.map(one, (keys, weights))

    parts = [look(keys, weights, jnp.asarray(factor)) for factor in SCALINGS]
    return xr.Dataset(
        {
            f"rescaled {name}": (("factor", "seed"), np.stack([part[name] for part in parts]))
            for name in parts[0]
        },
        coords={"factor": list(SCALINGS)},
    )
