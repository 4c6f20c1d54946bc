"""Where all local minima are global, gradient descent with noise finds one from anywhere.

Eight problems of which it is proven, under assumptions, that every stationary point is a global
minimum or a strict saddle: a point with negative curvature, maxima included. For each, in float64:

1. `saddle.find` searches from random starts and from the points known in closed form, for minima
   and for all points, and for minima from where the highest runs of 2. ended; `saddle.classify`
   names what it found. All that the problem's symmetries make of a point is one, with as many
   hits as searches ended there: turned factors, and any order and signs of a tensor's components.
2. Gradient descent with noise at every step (Ge et al. 2015, Algorithm 1) starts at random, and as
   often at a saddle, each of those found in turn.
3. Plain gradient descent starts at each of those saddles.

Of matrix sensing and completion each draw of measurements or of observed entries is a landscape of
its own: they are drawn several times, and the claims are about all draws. A draw may have a minimum
that is not global; it counts as certified if its Hessian is positive but for the symmetries.

The rate is at most one over the largest curvature at any point found, in each draw: else it is
divided by a whole number, and as many steps are taken and counted as one. Heights are values above
the minimum, in units of the height of the lowest saddle. A run has arrived at the global minimum if
it ends at a height of 0.01 at most: every other stationary point is a hundred times as high. Noise
keeps it from falling much further. A run has left its saddle at the first recorded step at which it
has fallen by 1 % of its height.

Where the gradient at a saddle is exactly zero in floating-point numbers, plain gradient descent
stays for ever. Where it is zero up to rounding the error grows by `1 + learning_rate |lambda_min|`
a step, and it leaves in the end, hundreds of steps later than with noise.

Ge, Huang, Jin and Yuan (2015), https://arxiv.org/abs/1503.02101; the problems' docstrings name the
papers on their landscapes.

Section: Landscape and saddles
Command: python -m experiments run benign_landscapes
Cost: quick 58 s of processor time, most programs compiled before; standard and paper not run since
    each draw has its own rate
Last result: quick 9 of 12 claims hold; the three are matrix completion's. Of its 8 draws 2 have a
    bad minimum, at heights 0.04 and 0.07, and 959 of 1,000 runs from random starts, 901 from
    saddles, end at the global one. But for symmetries the tensor decomposition has 21 points
    (2026-11-29)
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
from ._families import DRAWN, families
from ._runs import PLAIN, RANDOM, SADDLE, run_family

__all__ = ["Config", "claims", "plot", "run"]

SOURCE = "Ge et al. 2015, Theorem 6"
ARRIVED = 0.01
ROUNDING = 1e-9
# Upper end of the figure's axis; runs that diverge leave it.
HIGHEST = 100.0


def run(config: Config) -> xr.Dataset:
    """Search, run with noise, and run without."""
    key = jax.random.key(config.seed)
    with jax.enable_x64(True):
        names = track(config.families, "problems")
        parts = [
            _of_all_draws(config, name, jax.random.fold_in(key, FAMILIES.index(name)))
            for name in names
        ]
    dataset = xr.concat(parts, "family", join="outer")
    return dataset.assign_attrs(runs=config.runs, steps=config.steps, stay_steps=config.stay_steps)


def _of_all_draws(config: Config, name: str, key: jax.Array) -> xr.Dataset:
    draws = config.draws if name in DRAWN else 1
    keys = jax.random.split(key, (draws, 2))
    parts = [run_family(config, families(one)[name], other, share=draws) for one, other in keys]
    parts = [
        part.assign_coords(run=np.arange(part.sizes["run"]), draw=i) for i, part in enumerate(parts)
    ]
    return xr.concat(parts, "draw", join="outer").expand_dims(family=[name])


def global_minimum(part: xr.Dataset) -> xr.DataArray:
    """Return which stationary points are minima with the known minimum value."""
    return (part.kind == saddle.Kind.MINIMUM) & (abs(part.point_height) <= ROUNDING)


def bad_minimum(part: xr.Dataset) -> xr.DataArray:
    """Return which stationary points are minima above the known value, certified by the Hessian."""
    return (part.kind == saddle.Kind.MINIMUM) & (part.point_height > ROUNDING)


def strict_saddle(part: xr.Dataset) -> xr.DataArray:
    """Return which stationary points have negative curvature beyond rounding."""
    negative = part.min_eigenvalue + part.min_eigenvalue_error < 0
    kinds = (saddle.Kind.STRICT_SADDLE, saddle.Kind.MAXIMUM)
    return part.kind.isin(kinds) & (part["index"] > 0) & negative


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Count the arrivals, the stays and the kinds of points."""
    judged = []
    for name in dataset.family.values:
        judged += _claims(str(name), draws_of(dataset.sel(family=name)))
    return judged


def draws_of(part: xr.Dataset) -> list[xr.Dataset]:
    """Return the draws of one problem, each with its own points and runs: the rest are NaN."""
    draws = [part.isel(draw=i) for i in range(part.sizes["draw"])]
    return [
        draw.isel(point=draw.kind.notnull().values, run=slice(int(draw.num_runs)))
        for draw in draws
        if draw.kind.notnull().any()
    ]


def _claims(name: str, draws: list[xr.Dataset]) -> list[Claim]:
    """What is claimed of one family."""
    judged = []
    several = f" in {len(draws)} draws" if len(draws) > 1 else ""
    for start, where in ((RANDOM, "at random"), (SADDLE, "at saddles")):
        arrived = sum(int((draw.end_height.sel(start=start) <= ARRIVED).sum()) for draw in draws)
        runs = sum(draw.sizes["run"] for draw in draws)
        claim = Claim(
            f"{name}: with noise, all runs that start {where} end at the global minimum",
            SOURCE,
            f"{runs} of {runs}{several}",
            show_share(arrived, runs),
            holds=arrived == runs > 0,
        )
        judged.append(claim)
    saddles = [draw.isel(point=draw.stay.notnull().values) for draw in draws]
    stays = [
        bool((part.stay > part.slowest).all())
        and not part.moved.where(part.gradient_norm == 0, 0).any()
        for part in saddles
    ]
    count = sum(part.sizes["point"] for part in saddles)
    judged.append(
        Claim(
            f"{name}: without noise, a run that starts at a saddle stays: without moving where the "
            "gradient is exactly zero, elsewhere longer than every run with noise",
            "rounding",
            f"at all of {count} saddles{several}",
            _stays(draws[0].attrs["stay_steps"], saddles),
            holds=all(stays) and count > 0,
        )
    )
    return [*judged, _claim_of_points(name, draws)]


def _claim_of_points(name: str, draws: list[xr.Dataset]) -> Claim:
    """Judge that all points found are global minima or strict saddles, in every draw."""
    good, bad, strict = (
        [int(which(draw).sum()) for draw in draws]
        for which in (global_minimum, bad_minimum, strict_saddle)
    )
    total = [draw.sizes["point"] for draw in draws]
    right = [g > 0 and s > 0 and g + s == t for g, s, t in zip(good, strict, total, strict=True)]
    hits = [
        int(sum(float(draw.hits.where(which(draw), 0).sum()) for draw in draws))
        for which in (global_minimum, strict_saddle, bad_minimum)
    ]
    measured = (
        f"{sum(good) + sum(strict)} of {sum(total)} but for symmetries: {sum(good)} minima "
        f"({hits[0]} hits), {sum(strict)} strict saddles ({hits[1]}), {sum(bad)} bad minima "
        f"({hits[2]})"
    )
    if len(draws) > 1:
        heights = [float(draw.point_height.where(bad_minimum(draw)).min()) for draw in draws]
        worst = f", the lowest at height {np.nanmin(heights):.3g}" if sum(bad) else ""
        measured = (
            f"{show_share(sum(right), len(draws))} draws; bad minima in {np.count_nonzero(bad)}"
            f"{worst}; {measured}"
        )
    flattest = max(float(draw.min_eigenvalue.where(strict_saddle(draw)).max()) for draw in draws)
    unfinished = np.mean([float(draw.unfinished) for draw in draws])
    return Claim(
        f"{name}: every stationary point found is a global minimum or a strict saddle",
        "Hessians",
        f"all of {sum(total)}" if len(draws) == 1 else f"in all of {len(draws)} draws",
        f"{measured}, the flattest saddle with lambda_min = {flattest:.3g}; "
        f"{100 * unfinished:.1f} % of the searches found none",
        holds=all(right),
    )


def _stays(steps: int, saddles: list[xr.Dataset]) -> str:
    """Write how long plain descent stayed, and the slowest run with noise at each saddle."""
    norm, stay, slowest, moved = (
        np.concatenate([part[name].values for part in saddles])
        for name in ("gradient_norm", "stay", "slowest", "moved")
    )
    exact, rounded = norm == 0, norm > 0
    stays = []
    if exact.any():
        still = f"{int(moved[exact].sum())} moved in {steps} steps"
        stays.append(f"gradient zero at {exact.sum()}: {still}")
    if rounded.any():
        near = f"gradient up to {norm[rounded].max():.0e} at"
        left = f"steps until it has left: {_range(stay[rounded])}"
        stays.append(f"{near} {rounded.sum()}: {left}")
    return "; ".join([*stays, f"with noise: {_range(slowest)} at the latest"])


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
        Line2D([], [], ls="", marker="s", color="#D55E00", label="found: bad minimum"),
    ]
    lines, _ = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles=lines + marks, loc="outside lower center", ncols=3)
    runs = dataset.attrs["runs"]
    draws = [draw for name in names for draw in draws_of(dataset.sel(family=name))]
    bad = sum(bool(bad_minimum(draw).any()) for draw in draws)
    but = f", but for {bad} draw{'s' * (bad > 1)} with a bad minimum" if bad else ""
    separator = " " if columns > 3 else "\n"
    figure.suptitle(
        f"Noise leads to the global minimum{but}{separator}({runs} runs, median and range)"
    )
    return figure


def _draw(axes: Axes, part: xr.Dataset) -> None:
    """Draw one problem: medians, all runs of all draws between smallest and largest value."""
    draws = draws_of(part)
    for sort, style in ((PLAIN, "--"), (SADDLE, "-"), (RANDOM, "-")):
        # Lowest, median and highest of each draw are kept: their own median and range, and those of
        # all draws together.
        low, median, high = np.stack([one.height.sel(sort=sort) for one in draws], axis=1)
        heights = np.stack([low.min(axis=0), np.median(median, axis=0), high.max(axis=0)])
        draw.band(part.step, heights, quantiles=(0, 1), label=sort, ax=axes, linestyle=style)
    axes.legend().remove()
    edge = 1.04 * part.step[-1].item()
    for which, marker, colour in (
        (global_minimum, "o", "#009E73"),
        (strict_saddle, "x", "black"),
        (bad_minimum, "s", "#D55E00"),
    ):
        for one in draws:
            heights = one.point_height.where(which(one), drop=True)
            # An empty line that is not clipped would count as infinitely large in the layout.
            if heights.size:
                places = np.full(heights.size, edge)
                axes.plot(places, heights, marker, color=colour, ms=5, clip_on=False)
    axes.axhline(ARRIVED, color="0.6", linewidth=0.8, linestyle=":")
    axes.set_yscale("symlog", linthresh=ARRIVED, linscale=0.5)
    title = str(part.family.item()) + (f", {len(draws)} draws" if len(draws) > 1 else "")
    axes.set(title=title, ylim=(-ARRIVED / 4, min(axes.get_ylim()[1], HIGHEST)))
