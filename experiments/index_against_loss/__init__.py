r"""The higher a stationary point of a network's loss, the more directions lead down from it.

For random functions of many variables Bray and Dean (2007) derived that the share of negative
eigenvalues at a stationary point, its index, grows with its height; Dauphin et al. (2014) found the
same in small networks, with all eigenvalues moving to the left. Here a network with one hidden
layer of tanh classifies principal components of digits with weight decay, in float64.

`saddle.find` goes up along as many of the Hessian's lowest eigenvectors as it is asked for and down
along the others (eigenvector following). How often an index occurs is thus by design, at what loss
it does is not. Three families of starts ask for each index in turn, from 0 to that of the point
without hidden units: random weights of several scales; points along training, equally spaced in
loss; and the slow places of training from small weights, where the gradient norm has a local
minimum. The fourth are the ends of training in which some hidden units start at zero. Such a unit's
gradient is zero for ever, so these ends are stationary in the whole network, too, and each unit
adds a way down for every class but one: both are by construction, and the claims give the
correlation with and without these points.

A point counts if its gradient is zero up to the search's relative tolerance and its Hessian has no
eigenvalue that is zero up to rounding. Points with the same outputs for all images are one.

Bray and Dean (2007), https://arxiv.org/abs/cond-mat/0611023; Dauphin et al. (2014), figure 1,
https://arxiv.org/abs/1406.2572.

Section: Landscape and saddles
Command: python -m experiments run index_against_loss
Cost: quick 73 s of processor time with everything to compile; paper not run
Last result: all 5 claims hold: rank correlation 0.93 (0.82 to 0.97) over 26 points, 0.92 (0.75 to
0.98) over the 20 that are not there by construction; 45 of 77 searches ended at the index asked for
(2026-11-29, quick)
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy import stats

from jaxopt_course import plot as draw
from jaxopt_course import saddle

from ..lab import progress, resumable
from ..lab.claims import Claim, at_most
from ..lab.digit_network import Network
from ._config import Config
from ._search_starts import FAMILIES, starting_points

__all__ = ["Config", "claims", "plot", "run"]

SOURCE = "Dauphin et al. 2014, figure 1"


def run(config: Config) -> xr.Dataset:
    """Search from all starts and keep the regular stationary points."""
    network = Network(
        config.inputs, config.hidden, config.images, config.weight_decay, config.classes
    )
    with jax.enable_x64(True):
        problem = network.problem()
        fun = network.objective(problem)
        # Starts of all families, with the index to search for from each.
        with progress.bar("starts"):
            starts, family, wanted = starting_points(
                config, problem, fun, jax.random.key(config.seed)
            )

        # The search. Points with the same outputs are one, whatever their weights.
        loss = problem.fun
        assert isinstance(loss, jax.tree_util.Partial)
        network_loss: Any = loss.func

        def outputs(params):
            known = loss.keywords
            return network_loss.apply(params, known["state"], known["inputs"])[0]

        census = resumable.find(
            fun,
            starts,
            method="eigenvector_following",
            index=jnp.asarray(wanted),
            max_steps=config.max_steps,
            canonical=outputs,
            max_points=len(family),
        )
    # Regular points alone, with the family of starts that found each.
    regular = np.asarray(census.point.nullity) == 0
    runs = np.asarray(census.runs.point)
    # Which families of starts found each point; the last, with units at zero, is constructed.
    found_by = [[np.any(family[runs == i] == f) for f in range(4)] for i in range(len(regular))]
    return xr.Dataset(
        {
            "value": ("place", np.asarray(census.value)[regular]),
            "index": ("place", np.asarray(census.point.index)[regular]),
            "eigenvalues": (("place", "rank"), np.asarray(census.point.eigenvalues)[regular]),
            "gradient_norm": ("place", np.asarray(census.point.gradient_norm)[regular]),
            "found_by": (("place", "family"), np.array(found_by).reshape(-1, 4)[regular]),
            "start_family": ("search", family),
            "outcome": ("search", np.asarray(census.runs.outcome)),
        },
        coords={"family": list(FAMILIES)},
        attrs={
            "degenerate": int(np.sum(~regular)),
            "zero_index": config.hidden * (config.classes - 1),
            "seed": config.seed,
        },
    )


def rank_correlation(
    x: np.ndarray, y: np.ndarray, *, samples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Return Spearman's rank correlation and its 95 % bootstrap interval over points.

    Args:
        x: Shape (n,).
        y: Shape (n,).
        samples: Number of bootstrap samples.
        seed: Of the resampling.

    Returns:
        Correlation, lower and upper end; NaN for fewer than three points or where all are equal.
    """

    def correlation(x, y):
        x, y = stats.rankdata(x), stats.rankdata(y)
        spread = x.std() * y.std()
        return float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread else np.nan

    if len(x) < 3:
        return np.nan, np.nan, np.nan
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(x), (samples, len(x)))
    resampled = np.array([correlation(x[rows], y[rows]) for rows in drawn])
    resampled = resampled[np.isfinite(resampled)]
    if not resampled.size:
        return np.nan, np.nan, np.nan
    low, high = np.quantile(resampled, [0.025, 0.975])
    return correlation(x, y), float(low), float(high)


def _unconstructed(dataset: xr.Dataset) -> xr.Dataset:
    """Return the points that a search from other starts than the constructed ones found."""
    return dataset.isel(place=dataset.found_by.isel(family=slice(None, 3)).any("family").values)


def _correlation_claim(statement: str, points: xr.Dataset, y: xr.DataArray, sign: int) -> Claim:
    middle, low, high = rank_correlation(points.value.values, y.values)
    return Claim(
        f"{statement} (rank correlation, {points.sizes['place']} points)",
        SOURCE,
        "95 % bootstrap interval above 0" if sign > 0 else "95 % bootstrap interval below 0",
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        sign * (low if sign > 0 else high) > 0,
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the correlations, the highest point and that all points are stationary."""
    free = _unconstructed(dataset)
    highest = dataset.isel(place=int(np.argmax(dataset.value.values)))
    stationary = int((dataset.outcome == saddle.Outcome.STATIONARY).sum())
    expected = dataset.attrs["zero_index"]
    return [
        _correlation_claim("the index grows with the loss", dataset, dataset["index"], 1),
        _correlation_claim(
            "and so it does without the points that are there by construction",
            free,
            free["index"],
            1,
        ),
        _correlation_claim(
            "the lowest eigenvalue falls with the loss", dataset, dataset.eigenvalues[:, 0], -1
        ),
        Claim(
            "the highest point is the one that uses no hidden unit",
            "derived: its index is hidden units times classes less one",
            f"index {expected}",
            f"index {int(highest['index'])} at loss {float(highest.value):.4f}",
            int(highest["index"]) == expected,
        ),
        at_most(
            f"all points counted are stationary (largest gradient norm; {stationary} of "
            f"{dataset.sizes['search']} searches ended at one, {dataset.attrs['degenerate']} "
            "points were degenerate)",
            "tolerance of the search",
            bound=1e-8,
            measured=float(dataset.gradient_norm.max(skipna=False)),
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw index and lowest eigenvalue against loss, and spectra at three heights."""
    figure = Figure(figsize=(13, 4.3))
    first, second, third = figure.subplots(1, 3)
    size = dataset.sizes["rank"]
    for index, (name, marker) in enumerate(zip(FAMILIES, "ovs+", strict=True)):
        found = dataset.isel(place=dataset.found_by.sel(family=name).values)
        style = {"color": f"C{index}", "label": f"{name} ({found.sizes['place']})", "alpha": 0.7}
        first.plot(found.value, 100 * found["index"] / size, marker, **style)
        second.plot(found.value, found.eigenvalues[:, 0], marker, **style)
    first.set(xlabel="loss", ylabel="index, % of negative eigenvalues", title="index against loss")
    first.legend(title="found from")
    second.set(xlabel="loss", ylabel="lowest eigenvalue", title="lowest eigenvalue")
    heights = np.array_split(np.argsort(dataset.value.values), 3)
    for places, name in zip(heights, ("lowest", "middle", "highest"), strict=True):
        values = dataset.eigenvalues.values[places]
        draw.distribution(values, label=f"{name} third by loss", ax=third)
    third.axvline(0, color="0.6", linewidth=0.8)
    third.set(
        xlabel="eigenvalue",
        ylabel="share of eigenvalues below",
        title="spectra move to the left",
    )
    third.set_xscale("symlog", linthresh=1e-2)
    third.legend()
    middle, low, high = rank_correlation(dataset.value.values, dataset["index"].values)
    figure.suptitle(
        f"The higher a stationary point, the higher its index: rank correlation {middle:.2f} "
        f"(95 %: {low:.2f} to {high:.2f}, {dataset.sizes['place']} points)"
    )
    return figure
