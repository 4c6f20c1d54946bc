"""Trained past zero error, a network's features collapse to a simplex of class means.

A ReLU network is trained on digits by heavy ball with weight decay, all images in every step,
squared loss, far beyond the step at which it fits all labels. With mu_c the mean over class c of C
of the features that enter the last layer, mu_G the mean of all, W the last layer, along the way:

    NC1  trace(S_W S_B^+) / C, S_W, S_B the covariances within and between classes: goes to 0
    NC2  norms |mu_c - mu_G| become equal (deviation over mean goes to 0), and so do their cosines,
         to -1 / (C - 1), the widest that C directions can have (mean distance from it goes to 0)
    NC3  W becomes M, the matrix of the centred means: |W / |W| - M / |M||^2 goes to 0
    NC4  the network decides as the nearest class mean does: the share of other decisions goes to 0

The Hessian has the classes in its spectrum: a few large eigenvalues, about as many as classes, off
a bulk (Sagun et al. 2017, Papyan 2020). The largest 14 are followed, by Lanczos with residuals, and
the largest step from one of them to the next, as a ratio, is where the outliers end.

How far it goes depends on how long one trains. Bounds are from a trial run of `quick` with seed
1000, which left NC1 0.0037 of its value at the start, norms 0.29, angles 0.31 and duality 0.092:
half of the fall is asked for, in the logarithm. The paper of 2020 has cross-entropy and deep
networks with batch normalization; with this small one, cross-entropy and decays of 5e-4 and 2e-3,
NC1 stayed above 0.3 for 4,000 steps. With the squared loss it falls by a factor of 200, as Han,
Papyan and Donoho describe for that loss.

Papyan, Han and Donoho (2020), https://arxiv.org/abs/2008.08186; Han, Papyan and Donoho (2022),
https://arxiv.org/abs/2106.02073; of outliers Papyan (2020), https://arxiv.org/abs/2008.11865.

Section: Landscape and saddles
Command: python -m experiments run collapse
Cost: quick 15 s of processor time, with compiled programs at hand (35 s beside much else); paper
    not run, some 40 minutes by the time of single steps and looks
Last result: all 8 claims hold: NC1 falls from 1.39 to 0.0065, mean distance of cosines from 0.29 to
    0.06, ten outliers; one network (2026-11-29, quick, 2 busy cores)
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import observables, transforms

from .lab.claims import Claim, at_most
from .lab.fields import Checked, Seed, a_folder, above, minimum, one_of
from .lab.full_batch import IMAGES, FullBatch, check_images, full_batch

CLASSES, EIGENVALUES = 10, 14
SOURCE = "Papyan, Han and Donoho 2020"
TRIAL = {"NC1": 0.0037, "norms": 0.29, "angles": 0.31, "duality": 0.092}
"""What training left of the measures in a trial run with seed 1000, as a share of the start's."""
MEASURES = {
    "NC1": "within-class covariance over that between classes",
    "norms": "NC2, deviation of the norms of class means over their mean",
    "angles": "NC2, mean distance of their cosines from -1/(C - 1)",
    "duality": "NC3, squared distance of last layer and class means",
    "nearest mean": "NC4, share of decisions other than the nearest class mean's",
}


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The network, the rule, and how long it trains."""

    dataset: Annotated[str, one_of(IMAGES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    images: Annotated[int, minimum(20)] = 400
    """Images of the data set, all in every step."""
    hidden: tuple[Annotated[int, minimum(10)], ...] = (64, 64, 64)
    """Widths of the hidden ReLU layers."""
    rate: Annotated[float, above(0)] = 0.05
    """Rate of heavy ball, decay 0.9."""
    weight_decay: Annotated[float, above(0)] = 1e-3
    """Weight decay (in the papers 5e-4)."""
    steps: Annotated[int, minimum(8)] = 4000
    """Steps of training."""
    every: Annotated[int, minimum(1)] = 250
    """Steps between records."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check that the data set has the images."""
        super().__post_init__()
        check_images(self.dataset, self.images)

    @classmethod
    def quick(cls) -> "Config":
        """400 digits, three hidden layers of 64."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """5,000 images of MNIST, three hidden layers of 256 (paper: VGG, ResNet, DenseNet)."""
        return cls(dataset="mnist5k", images=5000, hidden=(256, 256, 256), steps=20_000, every=1000)


def collapse(
    features: jax.Array, outputs: jax.Array, last: jax.Array, labels: jax.Array
) -> dict[str, jax.Array]:
    """Return the measures of the module's formulas.

    Args:
        features: Shape (n, d).
        outputs: Shape (n, C).
        last: W, shape (d, C).
        labels: Shape (n,), every class among them.
    """
    member = jax.nn.one_hot(labels, CLASSES)
    counts = member.sum(axis=0)[:, None]
    means = member.T @ features / counts
    centred = means - features.mean(axis=0, keepdims=True)
    within = features - means[labels]
    # Both covariances act on the span of the centred means, of at most C - 1 dimensions.
    _, scales, directions = jnp.linalg.svd(centred, full_matrices=False)
    present = scales > 1e-5 * scales[0]
    along = (within @ directions.T) ** 2
    ratio = along.mean(axis=0) / jnp.where(present, scales**2 / CLASSES, 1)
    norms = jnp.linalg.norm(centred, axis=1)
    unit = centred / norms[:, None]
    off = ~np.eye(CLASSES, dtype=bool)
    cosines = (unit @ unit.T)[off]
    distances = jnp.linalg.norm(features[:, None] - means[None], axis=-1)
    gap = last.T / jnp.linalg.norm(last) - centred / jnp.linalg.norm(centred)
    return {
        "NC1": jnp.sum(jnp.where(present, ratio, 0)) / CLASSES,
        "norms": jnp.std(norms) / jnp.mean(norms),
        "angles": jnp.mean(jnp.abs(cosines + 1 / (CLASSES - 1))),
        "duality": jnp.sum(gap**2),
        "nearest mean": jnp.mean(outputs.argmax(axis=1) != distances.argmin(axis=1)),
        "errors": jnp.mean(outputs.argmax(axis=1) != labels),
    }


def train(config: Config, network: FullBatch) -> Any:
    """Train, and return the path with what was observed."""
    labels = jnp.asarray(network.labels, jnp.int32)
    rule = optax.chain(
        optax.add_decayed_weights(config.weight_decay), optax.sgd(config.rate, momentum=0.9)
    )

    def measured(params, state, fun):
        del state, fun
        return collapse(*network.features(params), params[-1], labels)

    @jax.jit
    def path(fun, start):
        return transforms.path(
            fun,
            rule,
            start,
            config.steps,
            every=config.every,
            observe={
                "collapse": measured,
                "eigenvalues": observables.sharpness(k=EIGENVALUES, tolerance=1e-2),
            },
        )

    return path(network.fun, network.init(jax.random.key(config.seed)))


def run(config: Config) -> xr.Dataset:
    """Train a network past zero error."""
    network = full_batch(
        config.dataset,
        config.images,
        config.hidden,
        activation="ReLU",
        loss="square",
        gain=2**0.5,
        folder=config.data_folder,
    )
    if len(np.unique(network.labels)) < CLASSES:
        raise ValueError(f"images must hold all {CLASSES} classes, got {config.images}")
    found = train(config, network)
    eigenvalues = found.observed["eigenvalues"]
    return xr.Dataset(
        {
            "loss": ("step", np.asarray(found.value)),
            "eigenvalue": (("step", "rank"), np.asarray(eigenvalues.value)),
            "residual": (("step", "rank"), np.asarray(eigenvalues.error)),
        }
        | {name: ("step", np.asarray(v)) for name, v in found.observed["collapse"].items()},
        coords={"step": np.asarray(found.steps), "rank": np.arange(1, EIGENVALUES + 1)},
    )


def outliers(values: np.ndarray) -> tuple[int, float]:
    """Return after how many eigenvalues, descending, the largest ratio to the next one comes."""
    if not np.isfinite(values).all():
        return 0, np.nan
    ratios = values[:-1] / np.maximum(values[1:], 1e-12 * values[0])
    # The first alone is often far off: how many there are is where the bulk begins.
    place = int(np.argmax(ratios[3:])) + 3
    return place + 1, float(ratios[place])


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the end of training against its start, and the spectrum."""
    # Collapse is about what happens after the last error, so that first all labels must be fitted.
    fits = np.flatnonzero(dataset.errors.values == 0)
    when = f"by step {int(dataset.step[fits[0]])}" if fits.size else "never"
    start, end = dataset.isel(step=0), dataset.isel(step=-1)
    judged = [
        Claim(
            "all labels are fitted in the first half of training, and stay so",
            SOURCE,
            "no error from the middle on",
            when,
            holds=None
            if not np.isfinite(dataset.loss).all()
            else bool((dataset.errors[dataset.sizes["step"] // 2 :] == 0).all()),
        )
    ]
    # The four measures of collapse, and the classifier by nearest mean, at the end.
    judged += [
        at_most(
            f"{name} falls: {MEASURES[name]} (at the end over that at the start)",
            f"{SOURCE}; bound: half the fall of a trial run with seed 1000, to {left:g}",
            bound=left**0.5,
            measured=float(end[name] / start[name]),
        )
        for name, left in TRIAL.items()
    ]
    judged.append(
        at_most(
            f"nearest mean: {MEASURES['nearest mean']}",
            SOURCE,
            bound=0.0,
            measured=float(end["nearest mean"]),
        )
    )
    # The Hessian's outliers at the end, and whether its eigenvalues are known well enough.
    count, ratio = outliers(end.eigenvalue.values)
    judged += [
        Claim(
            "the Hessian has about as many outliers as classes at the end",
            "Papyan 2020, section 1; tolerance of one",
            f"{CLASSES - 1} to {CLASSES + 1}",
            f"{count}, the next eigenvalue smaller by {ratio:.3g}",
            holds=abs(count - CLASSES) <= 1,
        ),
        at_most(
            "the eigenvalues are known well enough (largest residual over the largest one)",
            "residuals of Lanczos's method, asked for to 0.01",
            bound=0.01,
            measured=float((dataset.residual.max("rank") / dataset.eigenvalue.max("rank")).max()),
        ),
    ]
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the measures and the largest eigenvalues along training."""
    figure = Figure(figsize=(11, 4))
    left, right = figure.subplots(1, 2)
    shown = dataset.isel(step=slice(1, None))
    for name in ("NC1", "norms", "angles", "duality"):
        left.plot(shown.step, shown[name], marker=".", label=name)
    left.plot(shown.step, shown.loss, color="0.5", linestyle="--", label="loss")
    left.set(yscale="log", xlabel="step", ylabel="measure", title="measures of class means")
    left.set(ylim=(None, 10))
    left.legend(fontsize=8, ncols=3)
    count, _ = outliers(dataset.eigenvalue.values[-1])
    for rank in dataset["rank"].values:
        right.plot(
            shown.step,
            shown.eigenvalue.sel(rank=rank),
            color="C0" if rank <= count else "C1",
            linewidth=1,
            label={1: "outliers at the end", count + 1: "the next"}.get(int(rank)),
        )
    right.set(yscale="log", xlabel="step", ylabel="eigenvalue of the Hessian")
    right.set(title=f"the {EIGENVALUES} largest eigenvalues")
    right.legend(fontsize=8)
    left = 100 * float(dataset.NC1[-1] / dataset.NC1[0])
    figure.suptitle(
        f"Past zero error the variation within classes falls to {left:.2g} % of the start's,\n"
        "and class means come nearer to a simplex"
    )
    return figure
