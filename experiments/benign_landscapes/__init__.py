"""Where all local minima are global, gradient descent with noise finds one from anywhere.

Eight problems of which it is proven, under assumptions, that every stationary point is a global
minimum or a strict saddle: a point with negative curvature, maxima included. For each, in float64:

1. `saddle.find` searches from random starts and from the points known in closed form, and
   `saddle.classify` names what it found, up to the problem's symmetries.
2. Gradient descent with noise at every step (Ge et al. 2015, Algorithm 1) starts at random, and as
   often at a saddle, each of those found in turn.
3. Plain gradient descent starts at each of those saddles.

Heights are values above the minimum, in units of the height of the lowest saddle. A run has arrived
at the global minimum if it ends at a height of 0.01 at most: every other stationary point is a
hundred times as high. Noise keeps it from falling much further. A run has left its saddle at the
first recorded step at which it has fallen by 1 % of its height.

Where the gradient at a saddle is exactly zero in floating-point numbers, plain gradient descent
stays for ever. Where it is zero up to rounding the error grows by `1 + learning_rate |lambda_min|`
a step, and it leaves in the end, hundreds of steps later than with noise.

Ge, Huang, Jin and Yuan (2015), https://arxiv.org/abs/1503.02101; the problems' docstrings name the
papers on their landscapes.

Section: Landscape and saddles
Command: python -m experiments run benign_landscapes
Cost: quick 240 s of processor time with everything to compile; paper not run
Last result: all 32 claims hold, 1,000 of 1,000 runs of each sort for each problem
    (2026-11-27, quick, 2 busy cores)
"""

from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxopt_course import plot as draw
from jaxopt_course import saddle

from ..lab.claims import Claim
from ..lab.progress import track
from ..lab.statistics import show_share
from ._config import FAMILIES, Config
from ._families import families
from ._runs import PLAIN, RANDOM, SADDLE, run_family

__all__ = ["Config", "claims", "plot", "run"]

SOURCE = "Ge et al. 2015, Theorem 6"
ARRIVED = 0.01
ROUNDING = 1e-9


def run(config: Config) -> xr.Dataset:
    """Search, run with noise, and run without."""
    key = jax.random.key(config.seed)
    with jax.enable_x64(True):
        known = families()
        parts = [
            run_family(
                config, known[name], jax.random.fold_in(key, FAMILIES.index(name))
            ).expand_dims(family=[name])
            for name in track(config.families, "problems")
        ]
    dataset = xr.concat(parts, "family", join="outer")
    return dataset.assign_attrs(steps=config.steps, stay_steps=config.stay_steps)


def global_minimum(part: xr.Dataset) -> xr.DataArray:
    """Return which stationary points are minima with the known minimum value."""
    return (part.kind == saddle.Kind.MINIMUM) & (abs(part.point_height) <= ROUNDING)


def strict_saddle(part: xr.Dataset) -> xr.DataArray:
    """Return which stationary points have negative curvature beyond rounding."""
    negative = part.min_eigenvalue + part.min_eigenvalue_error < 0
    kinds = (saddle.Kind.STRICT_SADDLE, saddle.Kind.MAXIMUM)
    return part.kind.isin(kinds) & (part["index"] > 0) & negative


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Count the arrivals, the stays and the kinds of points."""
    judged = []
    for name in dataset.family.values:
        part = dataset.sel(family=name)
        # Problems have different numbers of points: the rest are NaN.
        judged += _claims(str(name), part.isel(point=part.kind.notnull().values))
    return judged


def _claims(name: str, part: xr.Dataset) -> list[Claim]:
    """What is claimed of one family."""
    runs = part.sizes["run"]
    judged = []
    for start, where in ((RANDOM, "at random"), (SADDLE, "at saddles")):
        arrived = int((part.end_height.sel(start=start) <= ARRIVED).sum())
        claim = Claim(
            f"{name}: with noise, all runs that start {where} end at the global minimum",
            SOURCE,
            f"{runs} of {runs}",
            show_share(arrived, runs),
            holds=arrived == runs,
        )
        judged.append(claim)
    saddles = part.isel(point=part.stay.notnull().values)
    exact = saddles.isel(point=(saddles.gradient_norm == 0).values)
    rounded = saddles.isel(point=(saddles.gradient_norm > 0).values)
    stays = bool((saddles.stay > saddles.slowest).all()) and not exact.moved.any()
    judged.append(
        Claim(
            f"{name}: without noise, a run that starts at a saddle stays: without moving where the "
            "gradient is exactly zero, elsewhere longer than every run with noise",
            "rounding",
            f"at all of {saddles.sizes['point']} saddles",
            _stays(part.attrs["stay_steps"], saddles, exact, rounded),
            holds=stays,
        )
    )
    good, strict = global_minimum(part), strict_saddle(part)
    total, right = part.sizes["point"], int((good | strict).sum())
    judged.append(
        Claim(
            f"{name}: every stationary point found is a global minimum or a strict saddle",
            "Hessians",
            f"all of {total}",
            f"{right} of {total}: {int(good.sum())} minima, {int(strict.sum())} strict saddles, "
            f"the flattest with lambda_min = {float(part.min_eigenvalue.where(strict).max()):.3g}; "
            f"{100 * float(part.unfinished):.1f} % of the searches found none",
            holds=right == total and bool(good.any()) and bool(strict.any()),
        )
    )
    return judged


def _stays(steps: int, saddles: xr.Dataset, exact: xr.Dataset, rounded: xr.Dataset) -> str:
    """Write how long plain descent stayed, and the slowest run with noise at each saddle."""
    stays = []
    if exact.sizes["point"]:
        moved = int(exact.moved.sum())
        stays.append(f"gradient zero at {exact.sizes['point']}: {moved} moved in {steps} steps")
    if rounded.sizes["point"]:
        near = f"gradient up to {float(rounded.gradient_norm.max()):.0e} at"
        left = f"steps until it has left: {_range(rounded.stay.values)}"
        stays.append(f"{near} {rounded.sizes['point']}: {left}")
    return "; ".join([*stays, f"with noise: {_range(saddles.slowest)} at the latest"])


def _range(steps: Any) -> str:
    """Write the smallest and the largest of some numbers of steps."""
    finite = np.asarray(steps)
    ends = [f"{end:.0f}" if np.isfinite(end) else "never" for end in (finite.min(), finite.max())]
    return " to ".join(dict.fromkeys(ends))


def plot(dataset: xr.Dataset) -> Figure:
    """Draw heights against steps, and the heights of the stationary points beside them."""
    names = dataset.family.values
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.7 * rows + 1.0), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw(axes, dataset.sel(family=name))
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("height (lowest saddle = 1)")
    for axes in grid[-1]:
        axes.set_xlabel("step")
    marks = [
        Line2D([], [], ls="", marker="o", color="#009E73", label="found: global minimum"),
        Line2D([], [], ls="", marker="x", color="black", label="found: strict saddle"),
    ]
    lines, _ = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles=lines + marks, loc="outside lower center", ncols=5)
    runs = dataset.sizes["run"]
    figure.suptitle(
        f"Noise leads to the global minimum, also from saddles ({runs} runs each, median and range)"
    )
    return figure


def _draw(axes: Axes, part: xr.Dataset) -> None:
    """Draw one problem: medians, all runs between the smallest and the largest value."""
    for sort, style in ((PLAIN, "--"), (SADDLE, "-"), (RANDOM, "-")):
        # Lowest, median and highest are kept: their own median and range.
        heights = part.height.sel(sort=sort).transpose("quantile", "step")
        draw.band(part.step, heights, quantiles=(0, 1), label=sort, ax=axes, linestyle=style)
    axes.legend().remove()
    edge = 1.04 * part.step[-1].item()
    for which, marker, colour in (
        (global_minimum(part), "o", "#009E73"),
        (strict_saddle(part), "x", "black"),
    ):
        heights = part.point_height.where(which, drop=True)
        axes.plot(np.full(heights.size, edge), heights, marker, color=colour, ms=5, clip_on=False)
    axes.axhline(ARRIVED, color="0.6", linewidth=0.8, linestyle=":")
    axes.set_yscale("symlog", linthresh=ARRIVED, linscale=0.5)
    axes.set(title=str(part.family.item()), ylim=(-ARRIVED / 4, None))
