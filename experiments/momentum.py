"""Momentum accelerates on a quadratic, but Polyak's can cycle for ever where Nesterov's converges.

Two functions with curvature in `[1, 25]`, and the same methods on both, each with its constant
parameters for quadratics with that curvature. Nesterov's path is that of its look-ahead points.

On `1/2 (25 x^2 + y^2)` both forms of momentum overtake gradient descent. On the function of
Lessard, Recht and Packard, strongly convex with

    f'(x) = 25 x  for x < 1,   x + 24  for 1 <= x < 2,   25 x - 24  for x >= 2,

heavy ball (learning rate 1/9, decay 4/9) started at rest falls, from three intervals of starts in
`[2.5, 4.5]`, into the cycle 792/1225, -2208/1225, 2592/1225, while gradient descent and Nesterov's
method converge from everywhere.

Section: Momentum and second order
Command: python -m experiments run momentum
Cost: quick 6 s for 2,001 starts; paper 13 s for 200,001; on 2 cores
Last result: all 6 claims hold; 57,044 of 200,001 starts cycle (2026-11-23, paper, 2 cores)
"""

import dataclasses
from fractions import Fraction
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import transforms

from .lab.claims import Claim, at_least, at_most
from .lab.fields import Checked, minimum, number

MU, L = 1.0, 25.0
CYCLE = Fraction(792, 1225), Fraction(-2208, 1225), Fraction(2592, 1225)
# Starts in [2.5, 4.5] from which heavy ball does not converge, found by bisection.
CYCLING_STARTS = (2.7508, 2.8560), (2.8571, 2.9203), (3.0613, 3.4634)

OPTIMIZERS = {
    "gradient descent": lambda: transforms.gradient_descent(2 / (L + MU)),
    "heavy ball": lambda: transforms.heavy_ball(1 / 9, decay=4 / 9),
    "Nesterov": lambda: transforms.nesterov(1 / L, decay=2 / 3),
}


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Starts on a line for the counterexample, one start on the plane for the quadratic."""

    starts: Annotated[int, minimum(2)] = 2001
    """Number of starts of the counterexample, evenly spaced in [2.5, 4.5]."""
    steps: Annotated[int, minimum(1)] = 3000
    """Steps of each run on the counterexample."""
    path_steps: Annotated[int, minimum(1)] = 60
    """Steps of the drawn paths."""
    drawn_start: Annotated[float, number()] = 3.3
    """Start of the drawn paths on the counterexample."""

    @classmethod
    def quick(cls) -> "Config":
        """Starts 1e-3 apart."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Starts 1e-5 apart."""
        return cls(starts=200_001)


def quadratic(x: jax.Array) -> jax.Array:
    """Return `1/2 (25 x^2 + y^2)`."""
    return 0.5 * (L * x[0] ** 2 + MU * x[1] ** 2)


def counterexample(x: jax.Array) -> jax.Array:
    """Return the value of the function of Lessard, Recht and Packard."""
    return jnp.select(
        [x < 1, x < 2],
        [12.5 * x**2, 0.5 * x**2 + 24 * x - 12],
        12.5 * x**2 - 24 * x + 36,
    )


def _path(fun, optimizer, start, steps):
    """Return the iterates of one run, the start included."""
    return transforms.path(fun, optimizer, start, steps).observed["params"]


def _last_three(fun, optimizer, start, steps):
    """Return the last three iterates of one run; its memory does not grow with `steps`."""

    def step(carry):
        x, state, last = carry
        updates, state = optimizer.update(jax.grad(fun)(x), state, x)
        x = jnp.asarray(optax.apply_updates(x, updates))
        return x, state, jnp.append(last[1:], x)

    carry = start, optimizer.init(start), jnp.zeros(3, start.dtype)
    return jax.lax.fori_loop(0, steps, lambda _, carry: step(carry), carry)[2]


def run(config: Config) -> xr.Dataset:
    """Record paths on both functions, and where the runs from each start end."""
    # Cycle and limit are told apart exactly only in double precision.
    with jax.enable_x64(True):
        starts = jnp.linspace(2.5, 4.5, config.starts)
        plane, line = [], []
        ends = []
        for make in OPTIMIZERS.values():
            optimizer = make()
            corner = jnp.array([1.0, 20.0])
            plane.append(_path(quadratic, optimizer, corner, config.path_steps))
            drawn = jnp.asarray(config.drawn_start)
            line.append(_path(counterexample, optimizer, drawn, config.path_steps))
            end = jax.vmap(lambda x, o=optimizer: _last_three(counterexample, o, x, config.steps))
            ends.append(jax.jit(end)(starts))
    return xr.Dataset(
        {
            "path": (("optimizer", "step", "axis"), np.stack(plane)),
            "cycle_path": (("optimizer", "step"), np.stack(line)),
            "end": (("optimizer", "start", "last"), np.stack(ends)),
        },
        coords={
            "optimizer": list(OPTIMIZERS),
            "start": np.asarray(starts),
            "step": np.arange(config.path_steps + 1),
        },
    )


def cycling_intervals(dataset: xr.Dataset) -> list[tuple[float, float]]:
    """Return first and last start of each group of neighbouring starts that do not converge."""
    cycling = abs(dataset.end.sel(optimizer="heavy ball")).max("last") > 1e-3
    edges = np.flatnonzero(np.diff(np.r_[False, cycling.values, False]))
    starts = dataset.start.values
    return [(starts[a], starts[b - 1]) for a, b in edges.reshape(-1, 2)]


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the cycle, the starts that lead to it, and the order of the methods."""
    lessard = "Lessard, Recht and Packard 2016"
    # The cycle: whatever run of heavy ball does not end at 0 ends on the same three points.
    ends = dataset.end.sel(optimizer="heavy ball")
    cycling = ends.where(abs(ends).max("last") > 1e-3, drop=True)
    expected = np.sort([float(point) for point in CYCLE])
    error = abs(np.sort(cycling.values, axis=-1) - expected).max(initial=0.0)
    found = [
        Claim(
            "heavy ball ends on the cycle 792/1225, -2208/1225, 2592/1225 from every start from "
            "which it does not converge",
            lessard,
            "within 1e-12, from at least one start",
            f"{error:.1e} at most, from {cycling.sizes['start']} of {dataset.sizes['start']}",
            error <= 1e-12 and cycling.sizes["start"] > 0,
        )
    ]
    # The starts that lead to it, as intervals known to the spacing of the starts.
    spacing = float(dataset.start[1] - dataset.start[0])
    intervals = cycling_intervals(dataset)
    shown = ", ".join(f"[{low:.4f}, {high:.4f}]" for low, high in intervals)
    wanted = ", ".join(f"[{low}, {high})" for low, high in CYCLING_STARTS)
    same = len(intervals) == len(CYCLING_STARTS) and np.allclose(
        intervals, CYCLING_STARTS, rtol=0, atol=spacing + 1e-4
    )
    found.append(
        Claim(
            "the starts in [2.5, 4.5] from which heavy ball cycles are three intervals",
            "bisection beforehand; the third contains the paper's start 3.3",
            f"{wanted} to the spacing {spacing:.0e}",
            shown,
            same,
        )
    )
    # The other methods, which converge from all of them.
    for name in ("gradient descent", "Nesterov"):
        found.append(
            at_most(
                f"{name} converges from every start: largest |x| at the end",
                "convergence theorems for strongly convex functions",
                bound=1e-12,
                measured=float(abs(dataset.end.sel(optimizer=name)).max(skipna=False)),
            )
        )
    # The quadratic, where momentum is worth what theory promises.
    norms = np.sqrt((dataset.path**2).sum("axis")).isel(step=-1)
    for name in ("heavy ball", "Nesterov"):
        ratio = norms.sel(optimizer="gradient descent") / norms.sel(optimizer=name)
        found.append(
            at_least(
                f"on the quadratic {name} is nearer to the minimum than gradient descent after "
                f"{dataset.sizes['step'] - 1} steps, by the factor",
                "rates of experiment quadratic_rates",
                bound=10.0,
                measured=float(ratio),
            )
        )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the paths on the quadratic and the counterexample, and the starts that cycle."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplot_mosaic([["plane", "line"], ["plane", "starts"]])
    plane, line, starts = panels["plane"], panels["line"], panels["starts"]
    draw.surface(quadratic, ((-2.2, 2.2), (-11.0, 21.0)), levels=12, ax=plane)
    for name, marker in zip(dataset.optimizer.values, "os^", strict=True):
        path = dataset.path.sel(optimizer=name)
        label = f"{name}: {np.hypot(*path[-1]):.0e}"
        draw.path(path.values, label=label, ax=plane, marker=marker, ms=4, lw=1.2)
        values = dataset.cycle_path.sel(optimizer=name)
        line.plot(dataset.step, values, marker=marker, ms=3, lw=1.2)
    plane.plot(0, 0, "k*", ms=14, zorder=5)
    plane.set(xlabel="x (curvature 25)", ylabel="y (curvature 1)", title="a quadratic, both help")
    legend_title = f"distance after {dataset.sizes['step'] - 1} steps"
    plane.legend(loc="lower left", title=legend_title, alignment="left")
    line.set(
        xlabel="step",
        ylabel="x",
        title=f"the counterexample from {dataset.cycle_path.values[0, 0]:.1f}",
    )
    for low, high in cycling_intervals(dataset):
        starts.axvspan(low, high, color="C1", alpha=0.6, lw=0)
    starts.set(xlabel="start", xlim=dataset.start.values[[0, -1]], yticks=[])
    starts.set_title("starts from which heavy ball cycles for ever")
    share = float((abs(dataset.end.sel(optimizer="heavy ball")).max("last") > 1e-3).mean())
    figure.suptitle(
        f"Tuned for quadratics, heavy ball cycles on another convex function from "
        f"{100 * share:.1f} % of starts"
    )
    return figure
