"""Every minimum of a deep linear network is global, but its saddles flatten with depth.

Kawaguchi (2016), Theorem 2.3: for `1/2 |W_N ... W_1 X - Y|_F**2` every local minimum is global and
every other stationary point a saddle; with two layers all saddles are strict (Corollary 2.4), with
more some have no negative curvature, never one where `W_(N-1) ... W_2` has full rank. Networks of
2, 3 and 4 layers (N counts matrices), with a bottleneck of 2, learn 20 examples with 3 inputs and 3
outputs. In float64:

1. Gradient descent from 1,000 random starts, until the loss is the minimum up to a millionth.
2. Stationary points, by `saddle.find` from those ends and from random starts, and known ones: one
   for each subset of singular values, as it is (balanced) and after a random change of basis in
   each hidden layer. `saddle.classify` names them up to changes of basis; where the Hessian is
   semidefinite and singular, by higher derivatives (`order=4`). At W = 0 the first derivative that
   is not zero is the N-th.
3. The time to leave W = 0. With all weights of a chain at delta, gradient flow has
   `dw/dt = w**(N-1) (1 - w**N)`, so it takes

       ln(1 / delta)  for N = 2,        delta**(2 - N) / (N - 2)  for N >= 3,

   both up to a constant, until half the loss is gone. Time is steps times the learning rate. The
   power of delta is the same for any direction of the weights, as the product is homogeneous: it is
   measured for chains and for networks of width 2 in random directions. The claims allow 5 % for
   the finite steps and distances.

https://arxiv.org/abs/1605.07110

Section: Landscape and saddles
Command: python -m experiments run linear_networks
Cost: quick 73 s of processor time at a load of 10, standard 220 s on 2 busy cores (30 s once
    compiled, on quiet ones), both with everything to compile; paper not run
Last result: quick 16 of 16 claims hold (2026-11-29), standard 24 of 24 (2026-11-27): 1,000 of 1,000
    descents end at a global minimum at each depth; of the saddles found 0, 53 and 65 are not strict
"""

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import saddle

from ..lab.claims import Claim, within
from ..lab.progress import track
from ..lab.statistics import show_share
from ._config import Config
from ._departure import chain_time, chain_times, network_times, slope
from ._landscape import (
    BOTTLENECK,
    SOURCES,
    VALUE_TOLERANCE,
    descend,
    keys_of,
    network,
    stationary_points,
)

__all__ = ["Config", "claims", "plot", "run"]

SOURCE = "Kawaguchi 2016, "
SLOPE_TOLERANCE = 0.05
CHAIN, NETWORK = "chain, all weights equal", "width 2, random directions"


def distances(config: Config, depth: int) -> np.ndarray:
    """Return the delta from which a chain should need the configured times."""
    if depth == 2:
        return np.exp(-np.array(config.log_times))
    return ((depth - 2) * np.array(config.times)) ** (-1 / (depth - 2))


def _run_depth(config: Config, depth: int, key: jax.Array) -> xr.Dataset:
    """Look at networks of one depth: their stationary points, and descent."""
    descent_key, search_key, direction_key = jax.random.split(key, 3)
    problem = network(depth, config.seed)
    minimum = problem.minimum_value
    assert minimum is not None
    starts = jax.vmap(problem.init)(keys_of(descent_key, config.runs))
    runs = descend(problem, starts, config.steps)
    ends = jax.tree.map(lambda leaf: leaf[: config.searches], runs.params)
    points, tried = stationary_points(problem, ends, search_key, config.runs)
    deltas = distances(config, depth)
    times = network_times(depth, deltas, keys_of(direction_key, config.directions))
    data = {name: ("point", values) for name, values in points._asdict().items()}
    data |= {
        "reason": ("run", np.asarray(runs.reason)),
        "minimum_value": ((), minimum),
        "tried": ("source_name", tried),
        "delta": ("distance", deltas),
        "chain_time": ("distance", chain_times(depth, deltas)),
        "predicted_time": ("distance", [chain_time(depth, delta) for delta in deltas]),
        "network_time": (("distance", "direction"), times),
    }
    coords = {"source_name": list(SOURCES), "point": np.arange(points.kind.size)}
    return xr.Dataset(data, coords=coords).expand_dims(depth=[depth])


def run(config: Config) -> xr.Dataset:
    """Descend, search, and leave W = 0 at every depth."""
    key = jax.random.key(config.seed)
    with jax.enable_x64(True):
        parts = [
            _run_depth(config, depth, jax.random.fold_in(key, depth))
            for depth in track(config.depths, "depths")
        ]
    # Depths have different numbers of points: the rest are NaN.
    return xr.concat(parts, "depth", join="outer")


def _at(dataset: xr.Dataset, depth: int) -> xr.Dataset:
    part = dataset.sel(depth=depth)
    return part.isel(point=part.kind.notnull().values)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the ends of descent, the points found and the times."""
    judged = []
    for depth in map(int, dataset.depth.values):
        part = _at(dataset, depth)
        judged += _landscape_claims(depth, part) + _departure_claims(depth, part)
    return judged


def _landscape_claims(depth: int, part: xr.Dataset) -> list[Claim]:
    """What is claimed of the stationary points."""
    where, runs, total = f"{depth} layers: ", part.sizes["run"], part.sizes["point"]
    # Counts of each kind among the points found and the known ones.
    arrived = int((part.reason == saddle.Stop.TARGET_VALUE).sum())
    minimum = part.kind == saddle.Kind.MINIMUM
    minima = int(minimum.sum())
    good = int((minimum & (abs(part.value / part.minimum_value - 1) <= VALUE_TOLERANCE)).sum())
    strict = int((part.kind == saddle.Kind.STRICT_SADDLE).sum())
    is_flat = part.kind == saddle.Kind.NON_STRICT_SADDLE
    flat, full = int(is_flat.sum()), int((is_flat & (part.hidden_rank == BOTTLENECK)).sum())
    known = part.expected_kind >= 0
    same = int((known & (part.kind == part.expected_kind)).sum())
    # W = 0, where the first derivatives that are not zero are those whose order is the depth.
    origin = part.isel(point=int(np.argmax(part.origin.values)))
    kind = saddle.Kind.STRICT_SADDLE if depth == 2 else saddle.Kind.NON_STRICT_SADDLE
    searched = int(total - known.sum())
    tried = int(part.tried.sel(source_name=list(SOURCES[:2])).sum())
    return [
        # What the theorem says of minima.
        Claim(
            where + "gradient descent from random starts ends at a global minimum",
            SOURCE + "Theorem 2.3 (ii)",
            f"{runs} of {runs}",
            show_share(arrived, runs),
            holds=arrived == runs,
        ),
        Claim(
            where + "every minimum found is global",
            SOURCE + "Theorem 2.3 (ii)",
            f"all of {minima}",
            f"{good} of {minima}; {searched} of {tried} searches found a stationary point",
            holds=0 < good == minima,
        ),
        # What it says of all other points.
        Claim(
            where
            + "every other stationary point is a saddle, "
            + ("strict" if depth == 2 else "some not strict, none of these of full rank"),
            SOURCE + "Theorem 2.3 (iii), (iv) and Corollary 2.4",
            "no maximum, nothing undecided, " + ("all strict" if depth == 2 else "some not strict"),
            f"{strict} strict, {flat} not strict ({full} of full rank), "
            f"{total - minima - strict - flat} other",
            holds=strict + flat == total - minima and full == 0 and (flat > 0) == (depth > 2),
        ),
        # What is known in closed form.
        Claim(
            where + "known points are classified as their closed form says, balanced or not",
            "closed form",
            f"all of {int(known.sum())}",
            f"{same} of {int(known.sum())}",
            holds=0 < same == known.sum(),
        ),
        Claim(
            where + f"W = 0 is a saddle that derivatives of order {depth} show",
            SOURCE + "Corollary 2.4",
            f"{kind.name} by order {depth}",
            f"{saddle.Kind(int(origin.kind)).name} by order {int(origin.order)}, smallest "
            f"eigenvalue {float(origin.min_eigenvalue):.3g}",
            holds=origin.kind == kind and origin.order == depth,
        ),
    ]


def _departure_claims(depth: int, part: xr.Dataset) -> list[Claim]:
    """What is claimed of how long descent takes to leave W = 0."""
    where, nearest = f"{depth} layers: ", int(np.argmin(part.delta.values))
    law = "time per ln(1/delta)" if depth == 2 else "power of 1/delta in the time"
    measured = {
        CHAIN: part.chain_time.values,
        f"{NETWORK}, median of {part.sizes['direction']}": np.median(part.network_time, axis=1),
    }
    judged = [
        within(
            where + f"time to leave W = 0 from delta = {float(part.delta[nearest]):.3g}, {CHAIN}",
            "gradient flow, integrated",
            expected=float(part.predicted_time[nearest]),
            measured=float(part.chain_time[nearest]),
            tolerance=SLOPE_TOLERANCE,
        )
    ]
    for name, times in measured.items():
        claim = within(
            where + f"{law} to leave W = 0, {name}",
            "gradient flow, delta to 0",
            expected=max(1.0, depth - 2),
            measured=slope(depth, part.delta.values, times),
            tolerance=SLOPE_TOLERANCE,
        )
        judged.append(claim)
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the points of each depth by value and curvature, and the times to leave W = 0."""
    depths = dataset.depth.values
    figure = Figure(figsize=(3.0 * len(depths) + 3.6, 4.0))
    grid = figure.subplots(1, len(depths) + 1, width_ratios=[1] * len(depths) + [1.35])
    for axes in grid[1:-1]:
        axes.sharey(grid[0])
    for axes, depth in zip(grid, depths, strict=False):
        _draw_points(axes, _at(dataset, depth))
        axes.set_title(f"{depth} layers")
    grid[0].set_ylabel("smallest eigenvalue of the Hessian")
    _draw_times(grid[-1], dataset)
    figure.suptitle("All minima are global; with depth saddles flatten and the origin holds longer")
    return figure


def _draw_points(axes: Axes, part: xr.Dataset) -> None:
    """Draw the stationary points of one depth by value and smallest eigenvalue."""
    draw.points(np.stack([part.value, part.min_eigenvalue], axis=1), part.kind, ax=axes)
    axes.axvline(part.minimum_value, color="0.6", linewidth=0.8, linestyle=":")
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xlabel("loss")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _draw_times(axes: Axes, dataset: xr.Dataset) -> None:
    """Draw medians of random directions, chains, and the integral for chains as a line."""
    for depth in map(int, dataset.depth.values):
        part = dataset.sel(depth=depth)
        deltas = np.geomspace(part.delta.min(), part.delta.max(), 30)
        predicted = [chain_time(depth, delta) for delta in deltas]
        (line,) = axes.plot(deltas, predicted, linewidth=1, label=f"{depth} layers")
        axes.plot(part.delta, part.chain_time, "o", color=line.get_color())
        median = np.median(part.network_time, axis=1)
        axes.plot(part.delta, median, "D", mfc="white", color=line.get_color())
    axes.plot([], [], "o", color="0.4", label=CHAIN)
    axes.plot([], [], "D", mfc="white", color="0.4", label=f"{NETWORK} (median)")
    axes.set(
        xscale="log",
        yscale="log",
        title="leaving W = 0\nlines: gradient flow of a chain",
        xlabel="delta, the size of the weights at the start",
        ylabel="time to lose half the loss (steps x rate)",
    )
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
