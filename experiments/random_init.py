"""Random starts of gradient descent never end at a strict saddle; its stable manifold always does.

Lee, Simchowitz, Jordan and Recht (2016), Theorem 4: with a step below 1/L the starts from which
gradient descent converges to a strict saddle have measure zero. Five problems whose stable
manifolds are known, float64: each run starts once at random, and once on the manifold of a saddle,
which these subspaces are exactly, in floating-point numbers too:

    Nesterov's saddle            y = 0
    hyperbola valley             y = -x
    symmetric factorization      no component along the leading eigenvector
    phase retrieval              orthogonal to the signal
    octopus                      last coordinate 0

The end point is classified by its Hessian; minima that form a manifold have zero eigenvalues, and
are counted by "no negative eigenvalue, and the known minimum value". The saddles of phase retrieval
form a sphere, which Panageas and Piliouras (2017) add to the theorem. Starts at a small distance
delta from the manifold leave, and the delay is only logarithmic: each decade of delta costs
`ln 10 / ln(1 + learning_rate |lambda_min|)` steps, lambda_min that of the Hessian at the saddle.
The claim on this allows 3 %, for steps are whole numbers.

https://arxiv.org/abs/1602.04915; https://arxiv.org/abs/1605.00405.

Section: Landscape and saddles
Command: python -m experiments run random_init
Cost: quick 16 s on 2 quiet cores, 47 s of processor time with everything to compile; paper not run
Last result: all 17 claims hold; 0 of 5,000 random starts end at a saddle (2026-11-30, quick)
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxopt_course import problems, saddle, transforms

from .lab import resumable
from .lab.claims import Claim, at_most, within
from .lab.fields import Checked, Seed, above, minimum, one_of
from .lab.progress import track
from .lab.statistics import share_interval, show_share

SOURCE = "Lee et al. 2016, Theorem 4"
SLOPE_TOLERANCE = 0.03
VALUE_TOLERANCE = 1e-9
STARTS = "random", "on the stable manifold"


class Case(NamedTuple):
    """A problem with a saddle whose stable manifold is known.

    Attributes:
        problem: The problem.
        learning_rate: Below 1/L where the runs are.
        project: From any start to one on the manifold.
        outwards: Unit vector out of the manifold.
    """

    problem: problems.Problem
    learning_rate: float
    project: Callable[[jax.Array], jax.Array]
    outwards: np.ndarray


def cases() -> dict[str, Case]:
    """Return the five problems by name."""
    octopus = problems.octopus(dimension=3, attraction=1.5)
    leading = np.zeros((4, 2))
    leading[0] = math.sqrt(0.5)
    return {
        "Nesterov's saddle": Case(
            problems.nesterov_saddle(), 0.1, lambda x: x.at[1].set(0), np.array([0.0, 1.0])
        ),
        "hyperbola valley": Case(
            problems.hyperbola_valley(),
            0.01,
            lambda x: jnp.stack([x[0], -x[0]]),
            np.full(2, math.sqrt(0.5)),
        ),
        "symmetric factorization": Case(
            problems.symmetric_factorization(
                [4.0, 2.0, 1.0, 0.5], rank=2, init_distribution="uniform"
            ),
            0.01,
            lambda u: u.at[0].set(0),
            leading,
        ),
        "phase retrieval": Case(
            problems.phase_retrieval(np.eye(5)[0], init_distribution="uniform"),
            0.02,
            lambda x: x.at[0].set(0),
            np.eye(5)[0],
        ),
        "octopus": Case(
            octopus, 0.9 / (octopus.smoothness or 1), lambda x: x.at[2].set(0), np.eye(3)[2]
        ),
    }


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """How many starts of each sort."""

    problems: tuple[Annotated[str, one_of(cases())], ...] = tuple(cases())
    """Names of the problems."""
    runs: Annotated[int, minimum(1)] = 1000
    """Random starts of each problem, and as many on the manifold."""
    distances: tuple[Annotated[float, above(0)], ...] = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
    """Distances from the manifold at which the delay is measured."""
    delayed_runs: Annotated[int, minimum(1)] = 50
    """Runs at each distance."""
    steps: Annotated[int, minimum(1)] = 3000
    """Steps of gradient descent."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """1,000 starts of each sort."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """10,000 starts of each sort."""
        return cls(runs=10_000, delayed_runs=500)


def _ends(config: Config, case: Case, starts: jax.Array) -> dict[str, np.ndarray]:
    """Return where runs end, what is there, and how curved the objective is at the start."""
    descent = transforms.gradient_descent(case.learning_rate)
    runs = resumable.escape(case.problem.fun, descent, starts, max_steps=config.steps)
    points = _classify(case.problem.fun, runs.params)
    return {
        "curvature": np.abs(_classify(case.problem.fun, starts).eigenvalues).max(axis=-1),
        "kind": np.asarray(points.kind),
        "index": np.asarray(points.index),
        "min_eigenvalue": np.asarray(points.min_eigenvalue),
        "value": np.asarray(runs.value),
    }


@partial(jax.jit, static_argnums=0)
def _classify(fun, batch: jax.Array) -> saddle.StationaryPoint:
    return jax.vmap(partial(saddle.classify, fun))(batch)


def _delays(config: Config, case: Case, starts: jax.Array, target_value: float) -> np.ndarray:
    """Return the steps from beside `starts` to a value, (distances, runs), NaN if not reached."""
    offsets = np.array(config.distances).reshape(-1, *[1] * starts.ndim) * case.outwards
    displaced = (starts[None] + offsets).reshape(-1, *starts.shape[1:])
    runs = resumable.escape(
        case.problem.fun,
        transforms.gradient_descent(case.learning_rate),
        displaced,
        max_steps=config.steps,
        target_value=target_value,
    )
    left = np.asarray(runs.reason) == saddle.Stop.TARGET_VALUE
    return np.where(left, runs.steps, np.nan).reshape(len(config.distances), -1)


def _run_case(config: Config, case: Case, key: jax.Array) -> xr.Dataset:
    """Run descent on one problem, from random starts and from the same on the stable manifold."""
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(config.runs))
    starts = jax.vmap(case.problem.init)(keys)
    manifold = jax.vmap(case.project)(starts)
    both = [_ends(config, case, batch) for batch in (starts, manifold)]
    halfway = float(np.mean([np.median(ends["value"]) for ends in both]))
    delay = _delays(config, case, manifold[: config.delayed_runs], halfway)
    return xr.Dataset(
        {name: (("start", "run"), np.stack([ends[name] for ends in both])) for name in both[0]}
        | {"delay": (("distance", "delayed_run"), delay)},
        coords={"start": list(STARTS), "distance": list(config.distances)},
    ).assign(minimum_value=case.problem.minimum_value, learning_rate=case.learning_rate)


def run(config: Config) -> xr.Dataset:
    """Run every problem from both sorts of starts, and beside the manifolds."""
    known = cases()
    with jax.enable_x64(True):
        key = jax.random.key(config.seed)
        parts = [
            _run_case(config, known[name], jax.random.fold_in(key, i)).expand_dims(problem=[name])
            for i, name in enumerate(track(config.problems, "problems"))
        ]
    return xr.concat(parts, "problem", join="exact")


def at_saddle(dataset: xr.Dataset) -> xr.DataArray:
    """Return which runs ended at a strict saddle."""
    return dataset.kind == saddle.Kind.STRICT_SADDLE


def at_minimum(dataset: xr.Dataset) -> xr.DataArray:
    """Return which runs ended at a global minimum, isolated or one of many."""
    gap = abs(dataset.value - dataset.minimum_value) / (1 + abs(dataset.minimum_value))
    stationary = dataset.kind != saddle.Kind.NOT_STATIONARY
    return stationary & (dataset["index"] == 0) & (gap <= VALUE_TOLERANCE)


def upper_bound(runs: int) -> float:
    """Return the 95 % upper bound of a probability of which no success was seen: about 3/runs."""
    return 1 - 0.05 ** (1 / runs)


def delay_per_decade(part: xr.Dataset) -> tuple[float, float]:
    """Return measured and predicted steps that a problem's runs lose per decade of distance."""
    decades = -np.log10(part.distance.values)
    medians = part.delay.median("delayed_run", skipna=False).values
    slope = np.polyfit(decades, medians, 1)[0] if np.isfinite(medians).all() else np.nan
    lowest = float(part.min_eigenvalue.sel(start=STARTS[1]).median())
    growth = 1 + part.learning_rate.item() * abs(lowest)
    return float(slope), math.log(10) / math.log(growth)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Count the saddles among the ends, and judge the delays."""
    saddles, minima = at_saddle(dataset), at_minimum(dataset)
    total = saddles.sel(start=STARTS[0]).size
    stuck = int(saddles.sel(start=STARTS[0]).sum())
    bound = f" (95 % upper bound {100 * upper_bound(total):.3f} %)" if stuck == 0 else ""
    # All problems together: no end at a saddle, under the theorem's condition on the step.
    judged = [
        Claim(
            "all problems together: no random start ends at a strict saddle",
            SOURCE,
            f"0 of {total}",
            f"{stuck} of {total}{bound}",
            holds=stuck == 0,
        ),
        at_most(
            "the step times the largest curvature at any start stays below 1, as the theorem asks",
            SOURCE,
            bound=1.0,
            measured=float((dataset.learning_rate * dataset.curvature).max(skipna=False)),
        ),
    ]
    # Each problem: ends of all three sorts of starts.
    for name in dataset.problem.values:
        part = dataset.sel(problem=name)
        runs = part.sizes["run"]
        good = int(minima.sel(problem=name, start=STARTS[0]).sum())
        held = int(saddles.sel(problem=name, start=STARTS[1]).sum())
        slope, predicted = delay_per_decade(part)
        judged += [
            Claim(
                f"{name}: every random start ends at a global minimum",
                SOURCE + ", and no other minima",
                f"{runs} of {runs}",
                show_share(good, runs),
                holds=good == runs,
            ),
            Claim(
                f"{name}: every start on the stable manifold ends at a strict saddle",
                "invariant subspace",
                f"{runs} of {runs}",
                show_share(held, runs),
                holds=held == runs,
            ),
            within(
                f"{name}: steps by which a start beside the manifold is delayed, per decade",
                "linearisation at the saddle",
                expected=predicted,
                measured=slope,
                tolerance=SLOPE_TOLERANCE,
            ),
        ]
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw how often runs end at a saddle, and the delay against the distance."""
    figure = Figure(figsize=(10, 4.2))
    shares, delays = figure.subplots(1, 2)
    _draw_shares(shares, dataset)
    for name in dataset.problem.values:
        part = dataset.sel(problem=name)
        (line,) = delays.plot(part.distance, part.delay.median("delayed_run"), "o", label=name)
        _, predicted = delay_per_decade(part)
        medians = part.delay.median("delayed_run").values
        # Through the last point: what happens before the saddle is no part of the prediction.
        decades = np.log10(part.distance.values)
        line_through = medians[-1] - predicted * (decades - decades[-1])
        delays.plot(part.distance, line_through, color=line.get_color(), linewidth=1)
    delays.set(
        xscale="log",
        title="starts beside the manifold; lines: predicted",
        xlabel="distance of the start from the stable manifold",
        ylabel=f"steps to leave (median of {dataset.sizes['delayed_run']} runs)",
    )
    delays.legend()
    figure.suptitle("Gradient descent ends at a strict saddle only from its stable manifold")
    return figure


def _draw_shares(axes: Axes, dataset: xr.Dataset) -> None:
    """Draw shares of runs at a saddle with their intervals and counts."""
    runs = dataset.sizes["run"]
    counts = at_saddle(dataset).sum("run")
    rows = np.arange(dataset.sizes["problem"])
    for offset, start in zip((-0.2, 0.2), STARTS, strict=True):
        share = 100 * counts.sel(start=start).values / runs
        ends = [share_interval(int(count), runs) for count in counts.sel(start=start)]
        around = np.abs(100 * np.array(ends).T - share)
        axes.errorbar(share, rows + offset, xerr=around, fmt="o", ms=6, capsize=3, label=start)
        for row, (value, count) in enumerate(zip(share, counts.sel(start=start), strict=True)):
            where = {"textcoords": "offset points", "va": "center"}
            axes.annotate(f"{int(count)}", (value, row + offset), (4, 0), **where)
    axes.set(
        yticks=rows,
        yticklabels=dataset.problem.values,
        xlim=(-4, 118),
        xlabel="runs that end at a strict saddle (%)",
        title=f"{runs} starts of each sort (0: below {100 * upper_bound(runs):.2g} %, 95 %)",
    )
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.14), ncols=2)
