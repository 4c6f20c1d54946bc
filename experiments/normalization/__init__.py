r"""Normalization in small batches, and under a gradient penalty.

(1) Wu and He's figure on digits: a small ConvNet with batch, layer, instance or group
normalization, trained for the same number of epochs by SGD with momentum 0.9 at batches of 32 to 2
examples. The rate is 0.1 B / 32 at the start and falls to 0 along a cosine, so that the error at
the end is not the last step's noise. Batch normalization estimates its statistics from the batch;
the others look at each example by itself. Its running averages forget by 0.9^(B / 32) a step, so
that they always cover the same number of examples.

On ImageNet batch normalization's error rises by 11.1 points from batch 32 to 2. On digits it does
not rise: the claims that expect it are there to be judged by what is measured.

(2) Where the loss holds a gradient, training needs second derivatives of the network. A critic f
that is to tell digits from noise of the same mean and variance minimizes, as in Gulrajani et al.,

    f(noise) - f(digit) + 10 (||grad f(x)|| - 1)^2,    x between noise and digit.

The penalty is meant for each example by itself. With batch normalization f(x_i) depends on the
other examples as well, so the gradient of the batch's sum, which is what one computes, is not the
slope of the function that is evaluated: much of it cancels, since normalization holds the batch's
mean. Weight normalization has no such terms, and no state.

Wu and He (2018), https://arxiv.org/abs/1803.08494; Salimans and Kingma (2016),
https://arxiv.org/abs/1602.07868; Gulrajani et al. (2017), https://arxiv.org/abs/1704.00028.

Section: Techniques of network training
Command: python -m experiments run normalization
Cost: quick 122 s of processor time at a load of 20, standard 109 s on 2 quiet cores, both with
    everything to compile; fashion 13 min; digits and paper not run
Last result: 4 of 8 claims hold; batch normalization's error does not rise on digits, by 0.1 ± 1.1
    points from batch 32 to 2, n = 10; four epochs are few for the others at batch 32, where they
    err by 10.8 ± 12 points more; weight normalization's critic is worse than none by 0.32 ± 0.08
    (2026-11-29, quick). On 5,000 images of Fashion-MNIST 6 of 8: it rises by 4.0 ± 1.1 points, to
    1.1 ± 1.3 above group normalization's, n = 5 (2026-11-29)
"""

import functools

import jax
import numpy as np
import optax
import xarray as xr
from flax import nnx
from matplotlib.figure import Figure

from jaxopt_course import training
from jaxopt_course.nn import BatchNorm, ConvNet, GroupNorm, InstanceNorm

from ..lab import data, progress, resumable
from ..lab.claims import Claim, at_most
from ..lab.statistics import mean_interval, show_every, show_mean
from . import _critics
from ._config import Config
from ._critics import CRITICS

__all__ = ["Config", "claims", "plot", "run"]

NORMALIZATIONS = ("batch", "layer", "instance", "group")


def _factory(name: str, config: Config, batch_size: int):
    if name == "batch":
        return functools.partial(BatchNorm, momentum=0.9 ** (batch_size / 32))
    if name == "layer":
        # Over the whole example, as Wu and He's: group normalization with one group.
        return functools.partial(GroupNorm, num_groups=1)
    if name == "instance":
        return InstanceNorm
    return functools.partial(GroupNorm, num_groups=config.groups)


def _test_errors(config: Config, loaded: data.Dataset, keys: jax.Array) -> np.ndarray:
    """Return the ConvNets' test errors, normalizations x batch sizes x seeds."""
    errors = []
    for name in progress.track(NORMALIZATIONS, "normalizations"):
        for batch_size in config.batch_sizes:
            normalization = _factory(name, config, batch_size)

            def build(key, normalization=normalization):
                channels = loaded.train.images.shape[-1]
                return ConvNet(
                    channels, config.widths, normalization=normalization, rngs=nnx.Rngs(key)
                )

            steps = config.epochs * (len(loaded.train.labels) // batch_size)
            rate = optax.cosine_decay_schedule(config.learning_rate * batch_size / 32, steps)
            fitted = resumable.fit(
                build,
                optax.sgd(rate, momentum=0.9),
                loaded.train,
                keys,
                epochs=config.epochs,
                batch_size=batch_size,
            )
            errors.append(1 - _accuracy(fitted, loaded.test))
    return np.reshape(errors, (len(NORMALIZATIONS), len(config.batch_sizes), len(keys)))


def _accuracy(fitted: training.Fit, test: data.Split) -> np.ndarray:
    """Return the accuracy of every run where it ended, NaN where it diverged.

    Ten thousand test images after every epoch would cost as much as the training.
    """

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def count(run, examples):
        outputs, _ = fitted.apply(*run, examples.images)
        return training.correct(outputs, examples.labels).sum()

    ends = fitted.runs.params, fitted.runs.state
    parts = [data.Split(*(part[i : i + 100] for part in test)) for i in range(0, len(test[1]), 100)]
    right = np.sum([count(ends, part) for part in parts], axis=0) / len(test.labels)
    return np.where(np.isfinite(fitted.history["loss"][:, -1]), right, np.nan)


def run(config: Config) -> xr.Dataset:
    """Train the ConvNets at every batch size, and the critics."""
    loaded = data.load(config.dataset, config.data_folder).first(config.examples).standardized()
    keys = jax.random.split(jax.random.key(config.seed), config.seeds)
    errors = _test_errors(config, loaded, keys)
    critics = _critics.train(config, loaded, keys)
    return xr.Dataset(
        {"test_error": (("normalization", "batch_size", "seed"), errors)} | critics,
        coords={
            "normalization": list(NORMALIZATIONS),
            "batch_size": list(config.batch_sizes),
            "critic": list(CRITICS),
        },
        attrs={"dataset": config.dataset, "epochs": config.epochs},
    )


def _positive(statement: str, source: str, differences: xr.DataArray) -> Claim:
    """Claim that a mean over seeds is positive, with 95 % confidence."""
    mean, half = mean_interval(differences)
    return Claim(
        statement, source, "interval above 0", show_mean(differences), holds=mean - half > 0
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the errors over batch sizes, and the critics."""
    wu = "Wu and He 2018, figure 1 and table 2"
    gulrajani = "Gulrajani et al. 2017, section 4"
    # Errors by batch size, in points and paired by seed.
    largest, smallest = (int(dataset.batch_size[i]) for i in (0, -1))
    percent = 100 * dataset.test_error
    rise = percent.sel(batch_size=smallest) - percent.sel(batch_size=largest)
    small, large = (percent.sel(batch_size=size) for size in (smallest, largest))
    others = dataset.others
    rivals = large.drop_sel(normalization="batch").mean("normalization", skipna=False)
    result = [
        _positive(
            f"batch normalization: test error rises from batch {largest} to {smallest} (points)",
            f"{wu}: 11.1 points on ImageNet",
            rise.sel(normalization="batch"),
        ),
        _positive(
            f"at batch {smallest} batch normalization errs more than group normalization (points)",
            f"{wu}: 10.6 points",
            small.sel(normalization="batch") - small.sel(normalization="group"),
        ),
        _positive(
            f"at batch {largest} the others err more than batch normalization (mean of the three, "
            "points)",
            f"{wu}: 0.5 to 4.8 points",
            rivals - large.sel(normalization="batch"),
        ),
    ]
    return [
        *result,
        # Critics: weight normalization can be differentiated twice, and keeps examples apart, as a
        # penalty on each example's gradient needs.
        at_most(
            "weight normalization: Hessian-vector products of the loss with gradient penalty agree "
            f"with differences (largest relative error of {dataset.sizes['seed']} seeds, float64)",
            "derived",
            bound=1e-6,
            measured=float(dataset.product_error.max(skipna=False)),
        ),
        at_most(
            "weight normalization: no output depends on another example (share of the squared "
            "derivatives)",
            gulrajani,
            bound=1e-6,
            measured=float(abs(others.sel(critic="weight")).max(skipna=False)),
        ),
        Claim(
            "control, batch normalization: outputs depend on other examples",
            gulrajani,
            "share above 0.01, every seed",
            show_every(others.sel(critic="batch"), others.sel(critic="batch") > 0.01),
            bool((others.sel(critic="batch") > 0.01).all()),
        ),
        _positive(
            "the penalty sets the slope with weight normalization better than with batch "
            "normalization (test mean of |slope - 1|, difference)",
            gulrajani,
            dataset.slope_error.sel(critic="batch") - dataset.slope_error.sel(critic="weight"),
        ),
        _positive(
            "the critic's test loss is lower with weight normalization than with none (difference)",
            "Salimans and Kingma 2016 (faster training)",
            dataset.critic_loss.sel(critic="none") - dataset.critic_loss.sel(critic="weight"),
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the error over batch sizes, and the critics' slopes and cross-derivatives."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    for index, name in enumerate(dataset.normalization.values):
        percent = 100 * dataset.test_error.sel(normalization=name)
        intervals = [mean_interval(percent.sel(batch_size=size)) for size in dataset.batch_size]
        mean, half = np.array(intervals).T
        # Beside one another, so that intervals do not hide each other.
        x = dataset.batch_size * 1.04 ** (index - 1.5)
        left.errorbar(x, mean, half, marker="o", ms=3, capsize=2, color=f"C{index}", label=name)
    left.set_xscale("log", base=2)
    left.set_xticks(dataset.batch_size.values, [f"{size}" for size in dataset.batch_size.values])
    left.minorticks_off()
    left.invert_xaxis()
    left.set(
        xlabel="batch size",
        ylabel="test error, %",
        ylim=(0, None),
        title=f"ConvNet, {dataset.attrs['epochs']} epochs; mean and 95 % interval, "
        f"n = {dataset.sizes['seed']}",
    )
    left.legend(title="normalization", loc="best", ncols=2)
    names = list(dataset.critic.values)
    for axis, quantity, scale, title in (
        (middle, dataset.slope_error, "log", "mean of |slope - 1|, test"),
        (right, dataset.others, "linear", "share of derivatives by others"),
    ):
        for index, name in enumerate(names):
            axis.plot([index] * quantity.sizes["seed"], quantity.sel(critic=name), ".", ms=6)
        axis.set_xticks(range(len(names)), names)
        axis.set(xlabel="critic's normalization", title=title, yscale=scale, xlim=(-0.5, 2.5))
    batch = 100 * dataset.test_error.sel(normalization="batch")
    mean, half = mean_interval(batch.isel(batch_size=-1) - batch.isel(batch_size=0))
    first, last = (int(dataset.batch_size[index]) for index in (0, -1))
    figure.suptitle(
        f"From batch {first} to {last} batch normalization's test error changes by {mean:+.1f} ± "
        f"{half:.1f} points on {dataset.attrs['dataset']}"
    )
    return figure
