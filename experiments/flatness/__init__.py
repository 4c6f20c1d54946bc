"""At equal loss, flatness and test error are weakly related, and plain sharpness can be anything.

ReLU networks without biases are trained on digits by minibatches, cross-entropy, until the loss of
all training images is first below one target, the same for every arm: what is wide at a smaller
loss is wide because of it. All arms are one step, g(w) the gradient of a batch, of rate eta:

    w' = w - eta [(1 - a) g(w) + a g(w + r g(w) / |g(w)|) + decay w]

    SGD                        a = 0
    large batch                a = 0, batches of half the images
    SAM                        a = 1 (Foret et al. 2021, algorithm 1)
    gradient-norm penalty      0 < a < 1: L + a r |grad L| to first order (Zhao et al. 2022)
    weight decay               a = 0, decay > 0

each at the same rates, from the same starts, in the same order. A seed is a start, an order, and a
division of all images in those that train, choose and test. Which rate is an arm's best is chosen
on trial seeds, judged are others. Three measures of how sharp an end is:

    sharpness             largest eigenvalue of the Hessian H
    adaptive sharpness    largest eigenvalue of diag(w) H diag(w), the worst case of Kwon et al.
                          (2021) to second order; found as the Hessian of L(w (1 + u)) in u
    rise                  mean rise of the loss at w + s d, d random and filter-normalized (every
                          unit's incoming weights as long as the network's own, Li et al. 2018)

A ReLU network is the same function if one layer is multiplied by c > 0 and the next divided by it.
Sharpness is then at least c^2 times the largest eigenvalue of the later layer's own block, so that
it says nothing of the function (Dinh et al. 2017); the other two do not change. With c a power of
two even the outputs' last bits stay.

Rank correlations with the test error are Kendall's: over a seed's arms and rates, with Student's
interval over seeds; and over the seeds of one arm at one rate, their mean with the jackknife's.
Andriushchenko et al. (2023) find such correlations weak, and of either sign. Differences of arms
are paired by seed. Target, rates and radius are from trial runs of other seeds; expectations are
the papers' signs, and within an arm a bound of 0.5, which is ours. Runs that do not come to the
target are left out. One small network, one target; float32.

https://arxiv.org/abs/2010.01412, https://arxiv.org/abs/2202.03599,
https://arxiv.org/abs/2102.11600, https://arxiv.org/abs/1712.09913,
https://arxiv.org/abs/1703.04933, https://arxiv.org/abs/2302.07011; of batches and rates Keskar,
Mudigere, Nocedal et al. (2017), https://arxiv.org/abs/1609.04836.

Section: Landscape and saddles
Command: python -m experiments run flatness
Cost: quick 97 s of processor time, with everything to compile, beside much else; paper not run
Last result: 19 of 24 claims hold (2026-11-29, quick, 2 busy cores): SAM, the gradient-norm penalty,
    small batches and large rates end flatter by all measures; correlations with the test error are
    -0.06 (-0.19 to 0.08), 0.03 (-0.10 to 0.16), -0.04 (-0.17 to 0.10), none apart from 0; at its
    best rate SAM has 0.34 points less error than SGD (0.11 to 0.58), weight decay 0.47
    (0.25 to 0.69) though it is sharper, the penalty and large batches no certain difference
"""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from ..lab.claims import Claim, at_least, at_most
from ._config import Config
from ._statistics import correlation_within, correlations, interval, jackknife, ratio
from ._training import MEASURES, trained

__all__ = ["Config", "claims", "plot", "run"]

KESKAR, DINH, FORET = "Keskar et al. 2017", "Dinh et al. 2017, Theorem 4", "Foret et al. 2021"
KWON, ANDRIUSHCHENKO = "Kwon et al. 2021", "Andriushchenko et al. 2023"


def run(config: Config) -> xr.Dataset:
    """Train the trial seeds and the judged ones."""
    of_trials, of_judged = jax.random.split(jax.random.key(config.seed))
    keys = jnp.concatenate(
        [jax.random.split(of_trials, config.trials), jax.random.split(of_judged, config.seeds)]
    )
    whole = trained(config, keys)
    tried, judged = (
        whole.isel(seed=part) for part in np.split(np.arange(len(keys)), [config.trials])
    )
    error = tried["validation error"].where(tried.loss <= config.target)
    # A rate at which a trial run does not arrive is not chosen.
    chosen = {"trial error": error.mean("seed", skipna=False)}
    return judged.drop_vars("validation error").assign(chosen).assign_attrs(target=config.target)


def ends(dataset: xr.Dataset) -> xr.Dataset:
    """Return the judged runs with NaN for those that did not come to the target."""
    arrived = dataset.loss <= dataset.attrs["target"]
    return dataset[[*MEASURES, "test error", "loss"]].where(arrived)


def best(dataset: xr.Dataset) -> dict[str, float]:
    """Return every arm's rate of least error on the trial seeds; NaN if none of them arrives."""
    found = {}
    for name in map(str, dataset.arm.values):
        error = dataset["trial error"].sel(arm=name).values
        some = np.isfinite(error).any()
        found[name] = float(dataset.rate[np.nanargmin(error)]) if some else float("nan")
    return found


def _of_equal_loss(dataset: xr.Dataset, runs: xr.Dataset, rates: dict[str, float]) -> list[Claim]:
    """Judge that what is compared is comparable."""
    here = runs.loss.notnull().values
    residuals = [
        (dataset[error] / dataset[value]).values[here].max(initial=0)
        for error, value in (
            ("residual", "sharpness"),
            ("adaptive residual", "adaptive sharpness"),
        )
    ]
    at_best = [
        np.isfinite(runs.loss.sel(arm=name, rate=rate).values) if np.isfinite(rate) else [False]
        for name, rate in rates.items()
    ]
    return [
        at_least(
            "every arm comes to the target loss at its best rate (share of runs)",
            "what makes arms comparable",
            bound=1.0,
            measured=float(np.mean(np.concatenate(at_best))),
        ),
        at_least(
            "they end at equal loss (median of the loss over the target)",
            "what makes arms comparable",
            bound=0.95,
            measured=float(runs.loss.median() / dataset.attrs["target"]),
        ),
        Claim(
            "no arm's best rate is the largest or smallest that was tried",
            "what makes the tuning equal",
            f"above {dataset.rate.values[0]:g}, below {dataset.rate.values[-1]:g}",
            ", ".join(f"{name} {rate:g}" for name, rate in rates.items()),
            holds=all(dataset.rate.values[0] < r < dataset.rate.values[-1] for r in rates.values()),
        ),
        at_most(
            "the eigenvalues are known well enough (largest residual over the eigenvalue)",
            "residuals of Lanczos's method",
            bound=0.01,
            measured=float(np.max(residuals)),
        ),
    ]


def _of_rescaling(dataset: xr.Dataset, runs: xr.Dataset) -> list[Claim]:
    """Judge other weights of the same functions."""
    # The later layer's own block of the Hessian grows as c^2, and the whole is at least as sharp.
    sharp = dataset["rescaled sharpness"]
    bound = dataset["rescaled block"].isel(factor=0) * dataset.factor**2
    largest = float(runs.sharpness.max())

    def changes(name):
        values = dataset[f"rescaled {name}"]
        return float(abs(values / values.isel(factor=0) - 1).max(skipna=False))

    top = f"{dataset.factor.values[-1]:g}"
    return [
        # The function stays while its sharpness grows without bound, past that of every other end.
        at_most(
            f"one layer times c, the next over c, c up to {top}: the outputs stay to the last bit "
            "(largest difference)",
            DINH,
            bound=0.0,
            measured=float(dataset["rescaled gap"].max(skipna=False)),
        ),
        at_least(
            "the same functions' sharpness is at least c^2 times the later layer's own (smallest "
            "ratio)",
            DINH,
            bound=0.998,
            measured=float((sharp / bound).min(skipna=False)),
        ),
        at_least(
            f"with c = {top} every one of SGD's ends is sharper than any end of any arm (smallest "
            "over largest)",
            DINH,
            bound=1.0,
            measured=float(sharp.isel(factor=-1).min(skipna=False)) / largest,
        ),
        # Adaptive sharpness and filter-normalized directions are made so as not to change.
        at_most(
            "the same functions' adaptive sharpness does not change (largest relative change)",
            KWON + ", Theorem 1",
            bound=0.002,
            measured=changes("adaptive sharpness"),
        ),
        at_most(
            "the same functions' rise along filter-normalized directions does not change (largest "
            "relative change)",
            "Li et al. 2018, section 4",
            bound=1e-5,
            measured=changes("rise"),
        ),
    ]


def _of_arms(runs: xr.Dataset) -> list[Claim]:
    """Judge which arms end flatter at equal loss, rate and seed."""
    smallest, rates = runs.rate.values[0], runs.rate.values
    # The largest rate at which all of SGD's runs arrive.
    whole = runs.loss.sel(arm="SGD").notnull().all("seed").values
    largest = rates[whole][-1] if whole.any() else smallest
    plain = runs.sel(arm="SGD")
    pairs = {
        "SAM ends flatter than SGD": (runs.sel(arm="SAM"), plain, FORET),
        "the gradient-norm penalty ends flatter than SGD": (
            runs.sel(arm="gradient-norm penalty"),
            plain,
            "Zhao et al. 2022",
        ),
        "small batches end flatter than large ones": (plain, runs.sel(arm="large batch"), KESKAR),
        f"SGD ends flatter at rate {largest:g} than at {smallest:g}": (
            plain.sel(rate=largest),
            plain.sel(rate=smallest),
            "Lewkowycz et al. 2020",
        ),
    }
    judged = []
    for statement, (one, other, source) in pairs.items():
        found = {name: ratio(one[name], other[name]) for name in MEASURES}
        judged.append(
            Claim(
                f"{statement}, by every measure (ratio)",
                source,
                "upper ends of the 95 % intervals below 1",
                ", ".join(f"{name} {seen}" for name, seen in found.items()),
                holds=None
                if any(np.isnan(seen.middle) for seen in found.values())
                else all(seen.high < 1 for seen in found.values()),
            )
        )
    return judged


def _of_errors(runs: xr.Dataset, rates: dict[str, float]) -> list[Claim]:
    """Judge the test errors of arms at their best rates, paired by seed."""
    judged = []
    error = {
        name: runs["test error"].sel(arm=name, rate=rate) if np.isfinite(rate) else np.nan
        for name, rate in rates.items()
    }
    sources = {
        "SAM": FORET,
        "gradient-norm penalty": "Zhao et al. 2022",
        "weight decay": "Krogh and Hertz 1991",
        "large batch": KESKAR,
    }
    for name, source in sources.items():
        worse = name == "large batch"
        gap = interval(np.atleast_1d(np.asarray(100 * (error[name] - error["SGD"]))))
        judged.append(
            Claim(
                f"at their best rates {name} has a {'larger' if worse else 'smaller'} test error "
                "than SGD (difference in percentage points)",
                source,
                f"95 % interval {'above' if worse else 'below'} 0",
                str(gap),
                holds=gap.low > 0 if worse else gap.high < 0,
            )
        )
    return judged


def _of_correlations(runs: xr.Dataset) -> list[Claim]:
    """Judge what the measures say of the test error."""
    judged, sources = (
        [],
        {"sharpness": KESKAR, "adaptive sharpness": KWON, "rise": "Li et al. 2018"},
    )
    for name, source in sources.items():
        over_all = interval(correlations(runs, name))
        judged.append(
            Claim(
                f"the larger the {name}, the larger the test error (Kendall's correlation over a "
                "seed's arms and rates)",
                source,
                "95 % interval above 0",
                str(over_all),
                holds=over_all.low > 0,
            )
        )
        within = jackknife(lambda part, name=name: correlation_within(part, name), runs)
        judged.append(
            Claim(
                f"of runs that differ by their seeds alone the {name} says little (mean of "
                "Kendall's correlation within an arm at a rate)",
                ANDRIUSHCHENKO + ", of other networks; bound ours",
                "95 % interval within -0.5 and 0.5",
                str(within),
                holds=within.low > -0.5 and within.high < 0.5,
            )
        )
    better = interval(correlations(runs, MEASURES[1]) - correlations(runs, MEASURES[0]))
    judged.append(
        Claim(
            "the scale-free sharpness says more of the test error than the plain one (difference "
            "of Kendall's correlations over a seed's arms and rates)",
            KWON,
            "95 % interval above 0",
            str(better),
            holds=better.low > 0,
        )
    )
    return judged


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge that arms are comparable, rescaling, flatness of the arms, errors, correlations."""
    runs, rates = ends(dataset), best(dataset)
    return [
        *_of_equal_loss(dataset, runs, rates),
        *_of_rescaling(dataset, runs),
        *_of_arms(runs),
        *_of_errors(runs, rates),
        *_of_correlations(runs),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw test errors over the three measures, and the measures of rescaled weights."""
    runs, rates = ends(dataset), best(dataset)
    figure = Figure(figsize=(12.5, 4.6), layout="constrained")
    *scatters, scaled = figure.subplots(1, 4)
    for axes, name in zip(scatters, MEASURES, strict=True):
        _scatter(axes, runs, rates, name)
    scatters[0].set(ylabel="test error (%; bars: one standard error)")
    for k, name in enumerate(MEASURES):
        values = dataset[f"rescaled {name}"]
        relative = (values / values.isel(factor=0)).values
        # Two of the measures do not change: dashes show both lines.
        style = {"color": ("C0", "C1", "0.2")[k], "linestyle": ("-", "-", "--")[k]}
        scaled.plot(dataset.factor, relative, linewidth=0.7, **style)
        scaled.plot([], [], label=name, **style)
    scaled.set(yscale="log", ylabel="measure over that at c = 1")
    scaled.set(title="the same functions: first\nlayer times c, second over c", xlabel="c")
    scaled.set_xscale("log", base=2)
    scaled.legend(fontsize=8)
    handles, labels = scatters[0].get_legend_handles_labels()
    handles.append(Line2D([], [], marker="o", mfc="none", color="0.3", linestyle="", ms=9))
    labels.append("the arm's best rate")
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    figure.suptitle("Ends of equal loss: flatness varies much, the test error little")
    return figure


def _scatter(axes: Axes, runs: xr.Dataset, rates: dict[str, float], name: str) -> None:
    """Draw every arm's means over seeds, a point a rate, over all runs in grey."""
    axes.plot(
        runs[name].values.ravel(), 100 * runs["test error"].values.ravel(), ".", color="0.85", ms=3,
        zorder=0,
    )  # fmt: skip
    for k, (arm, chosen) in enumerate(rates.items()):
        part = runs.sel(arm=arm)
        error = 100 * part["test error"]
        axes.errorbar(
            np.exp(xr.DataArray(np.log(part[name])).mean("seed")),
            error.mean("seed"),
            error.std("seed") / np.sqrt(runs.sizes["seed"]),
            fmt=".-",
            color=f"C{k}",
            linewidth=0.8,
            label=arm,
        )
        if np.isfinite(chosen):
            at = part.sel(rate=chosen)
            middle = float(np.exp(np.log(at[name]).mean())), float(100 * at["test error"].mean())
            axes.plot(*middle, "o", mfc="none", color=f"C{k}", ms=9)
    tau = interval(correlations(runs, name))
    axes.set(xscale="log", xlabel=name, title=f"Kendall's correlation\n{tau}")
    axes.xaxis.set_minor_formatter(NullFormatter())
