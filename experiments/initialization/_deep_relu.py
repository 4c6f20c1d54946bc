"""A deep ReLU network from three initializations: variances at the start, and training.

Xavier and Kaiming draw weights of a variance that the widths alone decide. LSUV (layer-sequential
unit variance) draws orthogonal ones and then, layer after layer, sets the outputs on a batch to
mean 0 and variance 1.

He et al. (2015), https://arxiv.org/abs/1502.01852, figure 3; Mishkin and Matas (2016),
https://arxiv.org/abs/1511.06422, algorithm 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx
from matplotlib.axes import Axes

from jaxopt_course.nn import MLP, functional_view
from jaxopt_course.nn import _initializers as initializers

from ..lab import data, progress, resumable
from ..lab.claims import Claim, at_most
from ..lab.statistics import mean_interval, show_every, show_mean
from ._config import Config

DEEP = ("Xavier", "Kaiming", "LSUV")
BATCH = 500
"""Training images by which LSUV scales and on which the variances are measured."""
STALLED = 2.25
"""Training loss above which nothing was learnt; guessing has ln 10 = 2.303."""


def _network(features: tuple[int, ...], name: str, key: jax.Array, images: jax.Array) -> MLP:
    """Return the network as it starts."""
    draw = {"Xavier": initializers.xavier_normal(), "Kaiming": initializers.kaiming_normal()}
    if name in draw:
        return MLP(features, kernel_init=draw[name], rngs=nnx.Rngs(key))
    model = MLP(features, kernel_init=initializers.zeros, rngs=nnx.Rngs(key))
    initializers.lsuv(model, images, key=key)
    return model


def _moments(model: MLP, images: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
    """Return what `train` says of the networks at the start, for every hidden layer."""
    x, found = images.reshape(len(images), -1), []
    for block in list(model.blocks)[:-1]:
        outputs = block.layer(x)
        x = block.activation(outputs)
        found.append((outputs.var(), jnp.mean(x**2), class_distance(x, labels)))
    names = ("output_variance", "second_moment", "class_distance")
    return dict(zip(names, map(jnp.stack, zip(*found, strict=True)), strict=True))


def class_distance(vectors: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean distance of two vectors of one class over that of any two.

    The distance is 1 less the cosine. The ratio is 1 where directions say nothing of classes.

    Args:
        vectors: Shape (examples, features).
        labels: Shape (examples,), from 0 to 9.

    Example:
        >>> vectors = jnp.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
        >>> float(class_distance(vectors, jnp.array([0, 0, 1, 1])))
        0.0
    """
    lengths = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    directions = vectors / jnp.where(lengths > 0, lengths, 1)

    def mean_distance(members):
        # The sum of all cosines within a group is the squared length of its directions' sum.
        sizes = members.sum(axis=0)
        cosines = jnp.sum((members.T @ directions) ** 2) - jnp.sum(directions**2)
        return 1 - cosines / jnp.sum(sizes * (sizes - 1))

    everyone = jnp.ones((len(labels), 1))
    return mean_distance(jax.nn.one_hot(labels, 10)) / mean_distance(everyone)


def train(config: Config, loaded: data.Dataset) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Measure the networks at the start and train them.

    Args:
        config: That of the experiment `initialization`.
        loaded: Images.

    Returns:
        Variances of the outputs, second moments behind the activation and distances within classes
        by layer, losses and accuracies by epoch, with the names of the axes.
    """
    keys = jax.random.split(jax.random.key(config.seed + 1), config.seeds)
    optimizer = optax.sgd(config.learning_rate, momentum=0.9)
    batch = jnp.asarray(loaded.train.images[:BATCH])
    features = (batch[0].size, *[config.deep_width] * (config.deep_layers - 1), 10)
    # The networks differ in their parameters alone: with one `apply`, an epoch is compiled once.
    graph = nnx.graphdef(_network(features, "Kaiming", keys[0], batch))
    apply = functional_view(_network(features, "Kaiming", keys[0], batch)).apply

    @jax.jit
    def at_start(params, images, labels):
        return _moments(nnx.merge(graph, params), images, labels)

    found: dict[str, list] = {}
    for name, key in progress.track([(name, key) for name in DEEP for key in keys], "ReLU nets"):
        # Outside of jit: 30 QR decompositions in one program of jaxlib 0.10.2 hang on two cores.
        model = _network(features, name, key, batch)
        view = functional_view(model)._replace(apply=apply)
        history = resumable.fit(
            lambda _, view=view: view,
            optimizer,
            loaded.train,
            key[None],
            epochs=config.epochs,
            batch_size=config.batch_size,
            evaluation={"test": loaded.test},
        ).history
        measured = jax.device_get(at_start(nnx.state(model), batch, loaded.train.labels[:BATCH]))
        measured |= {"train_loss": history["loss"][0], "test_accuracy": history["test_accuracy"][0]}
        for variable, values in measured.items():
            found.setdefault(variable, []).append(values)
    ends = dict.fromkeys(("output_variance", "second_moment", "class_distance"), "deep_layer")
    return {
        variable: (
            ("deep", "seed", ends.get(variable, "epoch")),
            np.reshape(values, (len(DEEP), config.seeds, -1)),
        )
        for variable, values in found.items()
    }


def halvings(dataset: xr.Dataset) -> xr.DataArray:
    """Return the fitted change of log2 E[h^2] a layer, for every deep network."""
    logarithm = np.log2(dataset.second_moment)
    fit = logarithm.polyfit("deep_layer", 1)
    return fit.polyfit_coefficients.sel(degree=1)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge variances at the start and where training ends."""
    he = "He et al. 2015, section 2.2 and figure 3"
    mishkin = "Mishkin and Matas 2016, algorithm 1"
    slopes = halvings(dataset)
    loss = dataset.train_loss.isel(epoch=-1)
    accuracy = dataset.test_accuracy.isel(epoch=-1)
    gap = accuracy.sel(deep="Kaiming") - accuracy.sel(deep="Xavier")
    result = []
    for name, predicted in (("Xavier", -1.0), ("Kaiming", 0.0)):
        mean, half = mean_interval(slopes.sel(deep=name))
        result.append(
            Claim(
                f"deep ReLU network, {name}: log2 E[h^2] changes by {predicted:g} a layer",
                he,
                f"{predicted:g} within 0.1",
                show_mean(slopes.sel(deep=name)),
                abs(mean - predicted) <= 0.1 and half <= 0.1,
            )
        )
    nearness = dataset.class_distance.isel(deep_layer=-1)
    no_nearer = nearness.sel(deep="LSUV") >= np.maximum(nearness.sel(deep="Kaiming"), 0.98)
    deviation = abs(dataset.output_variance.sel(deep="LSUV") - 1).max(skipna=False)
    rate = dataset.attrs["learning_rate"]
    return [
        *result,
        at_most(
            "deep ReLU network, LSUV: the outputs of every layer have variance 1 on the batch it "
            "saw (largest deviation, layers and seeds)",
            f"{mishkin}; tolerance for float32",
            bound=1e-3,
            measured=float(deviation),
        ),
        Claim(
            f"deep ReLU network, Xavier: SGD at rate {rate:g} stalls (train loss at the end)",
            he,
            f"above {STALLED:g} (chance: ln 10 = 2.303), every seed",
            show_every(loss.sel(deep="Xavier"), loss.sel(deep="Xavier") > STALLED),
            bool((loss.sel(deep="Xavier") > STALLED).all()),
        ),
        *(
            Claim(
                f"deep ReLU network, {name}: the same SGD converges (train loss at the end)",
                source,
                "below 0.3, every seed",
                show_every(loss.sel(deep=name), loss.sel(deep=name) < 0.3),
                bool((loss.sel(deep=name) < 0.3).all()),
            )
            for name, source in (("Kaiming", he), ("LSUV", f"{mishkin}; bound as for Kaiming"))
        ),
        Claim(
            "deep ReLU network, LSUV: at the last hidden layer two images of one class are no "
            "nearer than any two (mean of 1 - cosine, ratio)",
            "explanation of the line before; no published number",
            "at least 0.98, and above Kaiming's, every seed",
            f"{show_every(nearness.sel(deep='LSUV'), no_nearer)}; Kaiming "
            f"{show_mean(nearness.sel(deep='Kaiming'))}",
            bool(no_nearer.all()),
        ),
        Claim(
            "deep ReLU network: Kaiming's test accuracy exceeds Xavier's",
            he,
            "by more than 0.7, every seed",
            show_every(gap, gap > 0.7),
            bool((gap > 0.7).all()),
        ),
    ]


def plot(dataset: xr.Dataset, moments: Axes, losses: Axes) -> None:
    """Draw second moments over layers beside losses over epochs, a line for every seed."""
    for index, name in enumerate(DEEP):
        color = f"C{index}"
        moments.semilogy(
            dataset.deep_layer, dataset.second_moment.sel(deep=name).T, color=color, lw=0.8
        )
        moments.semilogy([], [], color=color, label=name)
        losses.plot(dataset.epoch, dataset.train_loss.sel(deep=name).T, color=color, lw=0.8)
    start = float(dataset.second_moment.sel(deep="Xavier").isel(deep_layer=0).mean())
    moments.semilogy(
        dataset.deep_layer,
        start * 2.0 ** (1 - dataset.deep_layer),
        color="black",
        ls=":",
        label="predicted $2^{-l}$",
    )
    layers = dataset.sizes["deep_layer"] + 1
    moments.set(xlabel="layer", ylabel="$E[h^2]$", title=f"{layers} ReLU layers: second moment")
    moments.legend()
    losses.axhline(np.log(10), color="black", ls=":", lw=0.8)
    losses.set(
        xlabel="epoch",
        ylabel="train loss",
        ylim=(0, 2.6),
        title=f"{layers} ReLU layers, SGD at {dataset.attrs['learning_rate']:g}: each line a seed",
    )
