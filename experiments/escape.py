"""Gradient descent takes exponentially long to pass saddles in a row; noise makes it linear.

The octopus function of Du, Jin, Lee, Jordan, Poczos and Singh has d saddles one after the other.
Both methods start at random in `[-1, 1]^d` and take steps of 1/(4 L). Perturbed gradient descent
adds noise from the ball of radius tau/100 where the gradient is at most gamma tau/100. The k-th
exit is the first step at which `|x_k| > 2 tau`.

A coordinate that waits shrinks by half a step, one that leaves grows by `1 + gamma/(2 L)`, so each
saddle should hold gradient descent `1 - ln(1 - 2 eta L)/ln(1 + 2 eta gamma)` times as long as the
one before; the theorem has the limit of small steps, `(L + gamma)/gamma`. All is computed in
float64, where a waiting coordinate is exactly zero after 1,022 halvings, as XLA takes subnormal
numbers for zero: an exit whose predecessor came later than that never comes, by rounding and not by
the theorem.

The set-up is recalled from the paper's section on experiments, whose text could not be had.

Section: Landscape and saddles
Command: python -m experiments run escape
Cost: quick 12 to 40 s as the machine is idle or busy, paper 8 min on busy cores; on 2 cores
Last result: all 24 claims hold, 1,000 runs a setting (2026-11-23, paper, 2 cores)
"""

import dataclasses
import math
from functools import partial
from typing import Annotated, cast

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import problems, saddle, theory, transforms

from .lab import resumable
from .lab.claims import Claim, within
from .lab.fields import Checked, Seed, above, minimum
from .lab.progress import track
from .lab.statistics import show_share

SOURCE = "Du et al. 2017"
METHODS = "gradient descent", "perturbed gradient descent"
TAU, GAMMA = math.e, 1.0
THRESHOLD = GAMMA * TAU / 100
HALVINGS_TO_ZERO = 1022


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The race at each dimension and attraction, and longer runs to measure how exits grow."""

    dimensions: tuple[Annotated[int, minimum(1)], ...] = (5, 10)
    """Numbers of coordinates d, hence of saddles."""
    attractions: tuple[Annotated[float, above(0)], ...] = (1.5,)
    """Values of the paper's L at which both methods race."""
    ratio_attractions: tuple[Annotated[float, above(0)], ...] = (1.0, 1.5, 2.0, 3.0)
    """Values of L at which the growth of gradient descent's exits is measured."""
    runs: Annotated[int, minimum(1)] = 100
    """Runs of each method at each setting."""
    steps: Annotated[int, minimum(1)] = 1000
    """Steps of a race."""
    ratio_steps: Annotated[int, minimum(1)] = 6000
    """Steps of the runs that measure the growth."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """One attraction, 100 runs of each method."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The paper's four attractions, 1,000 runs of each method."""
        return cls(attractions=(1.0, 1.5, 2.0, 3.0), runs=1000)


def optimizer(method: str, attraction: float):
    """Return the paper's setting of a method, gradient descent or, from a key, perturbed."""
    rate = 1 / (4 * attraction)
    if method == "gradient descent":
        return transforms.gradient_descent(rate)
    return lambda key: transforms.perturbed_gradient_descent(
        rate, radius=TAU / 100, gradient_threshold=THRESHOLD, interval=1, key=key
    )


def _problem(dimension: int, attraction: float) -> problems.Problem:
    return problems.octopus(
        dimension=dimension, attraction=attraction, repulsion=GAMMA, tube_radius=TAU
    )


def _exits(params: np.ndarray) -> np.ndarray:
    """Return the step of each exit, NaN for none, from parameters of shape (runs, steps, d)."""
    passed = np.abs(params) > 2 * TAU
    return np.where(passed.any(axis=1), passed.argmax(axis=1), np.nan)


def _escape(config: Config, dimension: int, attraction: float, method: str, steps: int):
    """Runs of one method on one octopus, each from its own start."""
    problem = _problem(dimension, attraction)
    # Perturbed gradient descent never has a smaller gradient for long: there it adds noise. Plain
    # gradient descent has, at every saddle for thousands of steps, and to look at the Hessian in
    # each of them would be waste.
    stops = method != "gradient descent"
    start_key, noise_key = jax.random.split(jax.random.key(config.seed))
    runs = resumable.escape(
        problem.fun,
        optimizer(method, attraction),
        jax.vmap(problem.init)(jax.random.split(start_key, config.runs)),
        jax.random.split(noise_key, config.runs),
        max_steps=steps,
        epsilon=THRESHOLD if stops else None,
        hessian_lipschitz=problem.hessian_lipschitz if stops else None,
        record_every=1,
        record_params=True,
    )
    assert runs.record is not None
    return runs, runs.record


def _race(config: Config, dimension: int, attraction: float, method: str) -> xr.Dataset:
    """Run one method and keep values by step, exits, and what each run ended at."""
    runs, record = _escape(config, dimension, attraction, method, config.steps)
    problem = _problem(dimension, attraction)
    classify = partial(saddle.classify, problem.fun, gradient_tolerance=THRESHOLD)
    ends = jax.jit(jax.vmap(classify))(runs.params)
    exits = np.full((config.runs, max(config.dimensions)), np.nan)
    exits[:, :dimension] = _exits(np.asarray(record.params))
    values = np.asarray(record.value)
    return xr.Dataset(
        {
            "value": (("quantile", "step"), np.quantile(values, [0.05, 0.5, 0.95], axis=0)),
            "exit": (("run", "saddle"), exits),
            "kind": ("run", np.asarray(ends.kind)),
            "reason": ("run", np.asarray(runs.reason)),
            "steps": ("run", np.asarray(runs.steps)),
            "minimum": problem.minimum_value,
        },
        coords={
            "quantile": [0.05, 0.5, 0.95],
            "step": np.arange(config.steps + 1),
            "saddle": np.arange(1, max(config.dimensions) + 1),
        },
    ).expand_dims(dimension=[dimension], attraction=[attraction], optimizer=[method])


def run(config: Config) -> xr.Dataset:
    """Race both methods, and follow gradient descent at d = 5 for long."""
    with jax.enable_x64(True):
        settings = [
            (dimension, attraction, method)
            for dimension in config.dimensions
            for attraction in config.attractions
            for method in METHODS
        ]
        races = [_race(config, *setting) for setting in track(settings, "races")]
        long = []
        for attraction in track(config.ratio_attractions, "growth of the exits"):
            _, record = _escape(config, 5, attraction, METHODS[0], config.ratio_steps)
            long.append(_exits(np.asarray(record.params)))
    dataset = cast(xr.Dataset, xr.combine_by_coords(races))
    dataset["long_exit"] = (("long_attraction", "run", "long_saddle"), np.stack(long))
    return dataset.assign_coords(
        long_attraction=list(config.ratio_attractions), long_saddle=np.arange(1, 6)
    )


def exit_ratio(dataset: xr.Dataset, attraction: float) -> tuple[float, int, int]:
    """Return the growth from one exit to the next, at the last saddle that most runs passed.

    Returns:
        The median over runs of `T[k+1] / T[k]`, that k, and the number of runs it is over. Exits
        that follow one later than float64's underflow do not count.
    """
    exits = dataset.long_exit.sel(long_attraction=attraction).values
    before, after = exits[:, :-1], exits[:, 1:]
    valid = (before < HALVINGS_TO_ZERO) & np.isfinite(after)
    most = np.flatnonzero(valid.mean(axis=0) >= 0.9)
    if most.size == 0:
        return math.nan, 0, 0
    k = int(most[-1])
    used = valid[:, k]
    return float(np.median(after[used, k] / before[used, k])), k + 1, int(used.sum())


def linear_fit(dataset: xr.Dataset, dimension: int, attraction: float) -> tuple[float, float]:
    """Return steps a saddle and R^2 of a line through perturbed descent's median exits."""
    exits = dataset.exit.sel(dimension=dimension, attraction=attraction, optimizer=METHODS[1])
    median = exits.median("run").values[:dimension]
    k = np.arange(1, dimension + 1)
    slope, offset = np.polyfit(k, median, 1)
    residual = np.sum((median - slope * k - offset) ** 2)
    return float(slope), float(1 - residual / np.sum((median - median.mean()) ** 2))


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the growth of the exits, and where the runs ended."""
    judged = []
    for attraction in dataset.long_attraction.values:
        rate = 1 / (4 * attraction)
        ratio, k, used = exit_ratio(dataset, attraction)
        predicted = theory.octopus_exit_ratio(
            learning_rate=rate, attraction=attraction, repulsion=GAMMA
        )
        limit = theory.octopus_exit_ratio_bound(attraction=attraction, repulsion=GAMMA)
        claim = within(
            f"L = {attraction:g}: each saddle holds gradient descent longer by a constant factor "
            f"(saddles {k} and {k + 1}, median of {used} runs; small-step limit {limit:g})",
            "derived for the discrete steps of " + SOURCE,
            expected=float(predicted),
            measured=ratio,
            tolerance=0.03,
        )
        judged.append(claim)
    for dimension in dataset.dimension.values:
        for attraction in dataset.attraction.values:
            at = {"dimension": dimension, "attraction": attraction}
            judged += _race_claims(dataset.sel(at), *linear_fit(dataset, dimension, attraction))
    return judged


def _race_claims(race: xr.Dataset, slope: float, fit: float) -> list[Claim]:
    """What is claimed of how long the methods take."""
    where = f"d = {race.dimension:d}, L = {race.attraction:g}: "
    runs = race.sizes["run"]
    perturbed = race.sel(optimizer=METHODS[1])
    minimum = int((perturbed.kind == saddle.Kind.MINIMUM).sum())
    descent = int((race.sel(optimizer=METHODS[0]).kind == saddle.Kind.MINIMUM).sum())
    judged = [
        Claim(
            where + "perturbed gradient descent needs the same time for each saddle",
            SOURCE + ", section 5",
            "median exits on a line, R^2 at least 0.99",
            f"{slope:.1f} steps a saddle, R^2 = {fit:.5f}, {runs} runs",
            holds=fit >= 0.99,
        ),
        Claim(
            where + f"perturbed gradient descent ends at a minimum within {race.step[-1]:d} steps",
            SOURCE + ", Theorem 4.1 (2)",
            "every run, certified by its Hessian",
            show_share(minimum, runs) + f", slowest {int(perturbed.steps.max())} steps",
            holds=minimum == runs,
        ),
    ]
    if race.dimension >= 10:
        claim = Claim(
            where + f"gradient descent is at no minimum after {race.step[-1]:d} steps",
            SOURCE + ", Theorem 4.1 (1)",
            "no run",
            show_share(descent, runs),
            holds=descent == 0,
        )
        judged.append(claim)
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw value against steps at each setting, and the exits beside them."""
    dimensions, attractions = dataset.dimension.values, dataset.attraction.values
    columns = len(dimensions) + 1
    figure = Figure(figsize=(3.9 * columns, 3.3 * len(attractions) + 0.6))
    grid = figure.subplots(len(attractions), columns, squeeze=False)
    for row, attraction in zip(grid, attractions, strict=True):
        for axes, dimension in zip(row[:-1], dimensions, strict=True):
            _draw_race(axes, dataset.sel(dimension=dimension, attraction=attraction))
        _draw_exits(row[-1], dataset.sel(dimension=max(dimensions), attraction=attraction))
    grid[0, 0].legend(loc="upper right")
    figure.suptitle("Noise turns exponential time at saddles in a row into linear time")
    return figure


def _draw_race(axes, race: xr.Dataset) -> None:
    """Draw values over steps, by method."""
    for method in METHODS:
        # 5, 50 and 95 % of the runs are kept: their own median and range.
        values = race.value.sel(optimizer=method).transpose("quantile", "step")
        draw.band(race.step, values, quantiles=(0, 1), label=method, ax=axes)
    axes.legend().remove()
    axes.axhline(race.minimum.values.flat[0], color="black", linewidth=0.8, linestyle=":")
    axes.annotate("minimum", (race.step[-1], race.minimum.values.flat[0]), ha="right", va="bottom")
    axes.set(
        title=f"d = {race.dimension:d}, L = {race.attraction:g}",
        xlabel="step",
        ylabel=f"value (median, 5-95 % of {race.sizes['run']} runs)",
    )


def _draw_exits(axes, race: xr.Dataset) -> None:
    """Draw when runs leave each saddle, beside the law of the exits."""
    for method, marker in zip(METHODS, "os", strict=True):
        exits = race.exit.sel(optimizer=method)
        # The median of exits that have not all happened: late ones count as later than any.
        median = np.nanmedian(exits.fillna(np.inf), axis=0)
        shown = np.where(np.isfinite(median), median, np.nan)
        axes.plot(race.saddle, shown, marker, label=method, markersize=9 if marker == "o" else 5)
    ratio = theory.octopus_exit_ratio(
        learning_rate=1 / (4 * race.attraction.item()),
        attraction=race.attraction.item(),
        repulsion=GAMMA,
    )
    first = float(race.exit.sel(optimizer=METHODS[0], saddle=1).median())
    k = np.arange(1, race.sizes["saddle"] + 1)
    axes.plot(k, first * float(ratio) ** (k - 1), color="0.5", linewidth=1, linestyle="--")
    axes.set(
        title=f"exits, d = {race.dimension:d}, L = {race.attraction:g}",
        xlabel="saddle k",
        ylabel="median step of the exit",
        yscale="log",
        ylim=(first / 2, 3 * race.step[-1].item()),
        xticks=k,
    )
    axes.annotate(
        f"predicted: x {float(ratio):.2f} each",
        (0.97, 0.06),
        xycoords="axes fraction",
        ha="right",
        color="0.35",
    )
