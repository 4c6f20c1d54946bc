r"""Through depth a gradient shrinks or grows by a factor a layer that Gaussian integrals predict.

Networks of equal hidden layers at initialization, on digits scaled to unit mean square. In the
limit of many units the pre-activations are normal with variance q_l, and the mean squares of
`delta_l = dL / ds_l` follow a product of mean squared Jacobians:

    q_{l+1}        = n_l Var(w_{l+1}) E[f(sqrt(q_l) z)^2]
    E[delta_l^2]   = n_{l+1} Var(w_{l+1}) E[f'(sqrt(q_l) z)^2] E[delta_{l+1}^2]

with z standard normal (Schoenholz et al. 2017, https://arxiv.org/abs/1611.01232). Sigmoid units,
whose slope is at most 1/4, lose the gradient under any of the usual initial weights; variance 2/n
keeps it through ReLU layers; twice Kaiming's weights make it explode, unless the activation
saturates.

Section: Techniques of network training
Command: python -m experiments run gradient_flow
Cost: quick 41 s of processor time, compilation included, on 2 busy cores
Last result: all 6 claims hold; the worst of 28 predictions is off by 0.003 decades a layer, n = 10
    (2026-11-29, quick)
"""

import dataclasses
import itertools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from flax import nnx
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course.nn import MLP, activation, gain

from .lab import data, progress
from .lab.claims import Claim
from .lab.fields import Checked, Seed, a_folder, minimum, one_of
from .lab.signals import signals
from .lab.statistics import mean_interval, show_mean

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu")
INITIALIZERS = ("half of Xavier", "Xavier", "Kaiming", "twice Kaiming")
NODES = 200


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Networks."""

    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    seeds: Annotated[int, minimum(2)] = 10
    """Networks of each kind."""
    layers: Annotated[int, minimum(1)] = 20
    """Hidden layers."""
    width: Annotated[int, minimum(1)] = 256
    """Units of each hidden layer."""
    examples: Annotated[int, minimum(1)] = 100
    """Images that gradients are taken at."""
    seed: Seed = 0
    """Seed of all keys."""

    @classmethod
    def quick(cls) -> "Config":
        """Twenty layers on scikit-learn's digits."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """A hundred layers of 1,000 units."""
        return cls(seeds=20, layers=100, width=1000, examples=500)


def weight_variance(initializer: str, name: str, fan_in: int, fan_out: int) -> float:
    """Return Var w of an initializer for a layer whose inputs come from this activation."""
    scale = {"half of Xavier": 0.25, "twice Kaiming": 4.0}.get(initializer, 1.0)
    if "Xavier" in initializer:
        return scale * 2 / (fan_in + fan_out)
    return scale * gain(name) ** 2 / fan_in


def predict(config: Config, initializer: str, name: str, inputs: int) -> np.ndarray:
    """Return the predicted rms of delta at every hidden layer over that at the last one."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()
    function = activation(name)
    slope = jax.jit(jax.vmap(jax.grad(function)))

    def mean_square(of, q):
        return float(weights @ np.asarray(of(jnp.sqrt(q) * jnp.asarray(nodes))) ** 2)

    n = config.width
    q = inputs * weight_variance(initializer, name, inputs, n)
    hidden_variance = weight_variance(initializer, name, n, n)
    factors = []
    for _ in range(config.layers - 1):
        factors.append(n * hidden_variance * mean_square(slope, q))
        q = n * hidden_variance * mean_square(function, q)
    backward = np.cumprod(factors[::-1])[::-1]
    return np.sqrt(np.append(backward, 1.0))


def _measure(config: Config, images: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    """Return root mean squares of delta, shape (initializer, seed, layer)."""
    inputs = images.shape[1]
    features = (inputs, *[config.width] * config.layers, 10)

    @jax.jit
    def measure(key, variances, images, labels):
        drawn = iter(variances)

        def kernel_init(key, shape, dtype):
            return jnp.sqrt(next(drawn)) * jax.random.normal(key, shape, dtype)

        # Layers draw their weights in order, hence the iterator over their variances.
        model = MLP(
            features, activation=activation(name), kernel_init=kernel_init, rngs=nnx.Rngs(key)
        )
        flow = signals(model, images, labels)
        return jnp.stack([jnp.sqrt(jnp.mean(delta**2)) for delta in flow.gradients[:-1]])

    keys = jax.random.split(jax.random.key(config.seed), config.seeds)
    measured = []
    for initializer in INITIALIZERS:
        variances = jnp.array(
            [
                weight_variance(initializer, name, fan_in, fan_out)
                for fan_in, fan_out in itertools.pairwise(features)
            ]
        )
        measured.append([measure(key, variances, images, labels) for key in keys])
    return np.array(measured)


def run(config: Config) -> xr.Dataset:
    """Measure and predict for every activation and initializer."""
    train = data.load(config.dataset, config.data_folder).standardized(per_pixel=True).train
    images = train.images[: config.examples].reshape(config.examples, -1)
    images = images / np.sqrt((images**2).mean(axis=1, keepdims=True))
    labels = train.labels[: config.examples]
    measured, predicted = [], []
    # In float32 a gradient 1e-40 times as large as another is a denormal number.
    with jax.enable_x64(True):
        images = images.astype(np.float64)
        for name in progress.track(ACTIVATIONS, "activations"):
            measured.append(_measure(config, images, labels, name))
            predicted.append(
                [predict(config, start, name, images.shape[1]) for start in INITIALIZERS]
            )
    return xr.Dataset(
        {
            "delta": (("activation", "initializer", "seed", "layer"), np.array(measured)),
            "predicted_ratio": (("activation", "initializer", "layer"), np.array(predicted)),
        },
        coords={
            "activation": list(ACTIVATIONS),
            "initializer": list(INITIALIZERS),
            "layer": np.arange(1, config.layers + 1),
        },
    )


def decades(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Return log10 of the first hidden layer's delta over the last's a layer: seen, predicted."""
    between = dataset.sizes["layer"] - 1
    ratio = dataset.delta.isel(layer=0) / dataset.delta.isel(layer=-1)
    return (
        np.log10(ratio) / between,
        np.log10(dataset.predicted_ratio.isel(layer=0)) / between,
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the prediction and the lecture's three cases."""
    seen, predicted = decades(dataset)
    mean_field = "Schoenholz et al. 2017, mean-field recursion"
    error = abs(seen.mean("seed") - predicted)
    first, second = np.unravel_index(np.argmax(error.values), error.shape)
    worst = {"activation": ACTIVATIONS[first], "initializer": INITIALIZERS[second]}
    mean, half = mean_interval(seen.sel(worst))
    between = dataset.sizes["layer"] - 1
    result = [
        Claim(
            f"the product of mean squared Jacobians predicts the change of the gradient a layer "
            f"(decades; worst of {error.size} pairs: {worst['activation']}, "
            f"{worst['initializer']})",
            mean_field,
            f"{float(predicted.sel(worst)):.3f} within 0.01",
            f"{mean:.3f} ± {half:.3f} (95 %, n = {dataset.sizes['seed']})",
            float(error.max(skipna=False)) <= 0.01,
        )
    ]
    for name, start, verb, lower, upper in (
        ("sigmoid", "Xavier", "vanishes", -np.inf, -0.4),
        ("tanh", "Xavier", "is kept", -0.05, 0.05),
        ("relu", "Xavier", "vanishes by sqrt(2) a layer", -0.1505 - 0.03, -0.1505 + 0.03),
        ("relu", "Kaiming", "is kept", -0.03, 0.03),
        ("relu", "twice Kaiming", "explodes by 2 a layer", 0.301 - 0.03, 0.301 + 0.03),
    ):
        values = seen.sel(activation=name, initializer=start)
        mean, half = mean_interval(values)
        bounds = f"at most {upper:.3g}" if np.isinf(lower) else f"from {lower:.3f} to {upper:.3f}"
        result.append(
            Claim(
                f"{name}, {start}: through {between} layers the gradient {verb} (decades a layer)",
                "lecture, vanishing and exploding gradients; He et al. 2015, equation 14",
                f"interval {bounds}",
                show_mean(values),
                lower <= mean - half and mean + half <= upper,
            )
        )
    return result


UPPER = ("leaky_relu", "elu", "silu")


def plot(dataset: xr.Dataset) -> Figure:
    """Draw gradients over layers, a panel an initializer, measured bands on predicted dots."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, len(INITIALIZERS), sharey=True)
    ratio = dataset.delta / dataset.delta.isel(layer=-1)
    for axis, start in zip(axes, dataset.initializer.values, strict=True):
        for index, name in enumerate(dataset.activation.values):
            chosen = {"activation": name, "initializer": start}
            seen = ratio.sel(chosen).transpose("seed", "layer")
            # Relatives lie upon each other: dashes of the upper one show both.
            look = {"color": f"C{index}", "ls": "--" if name in UPPER else "-"}
            draw.band(dataset.layer, seen, quantiles=(0, 1), label=name, ax=axis, **look)
            predicted = dataset.predicted_ratio.sel(chosen)
            axis.semilogy(dataset.layer, predicted, ".", color=f"C{index}", ms=4)
        axis.set(title=start, xlabel="hidden layer")
        axis.grid(axis="y")
        axis.get_legend().remove()
    axes[0].set_ylabel("rms of dL/ds, last hidden layer = 1")
    told = "lines: median of seeds\nbands: all seeds\ndots: predicted"
    axes[-1].legend(loc="lower right", ncols=2, title=told)
    figure.suptitle("Gradients vanish or explode by a predictable factor a layer")
    return figure
