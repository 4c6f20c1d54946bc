"""No gradient rule without noise leaves an exact saddle; near one, most rules get away.

Every first-order, adaptive, second-order and perturbed rule, ours and optax's, minimizes four
functions whose saddles are strict, in double precision, from starts exactly at a saddle (where the
gradient is exactly zero) and at random points at a small distance from it. A run succeeds if the
value falls by 90 % of the way from the saddle to the minimum within a budget of gradient
evaluations.

Every rule gets the same tuning: one hyperparameter, chosen for each problem from the same grid, on
separate starts, for the most successes, then for the fewest evaluations, failed runs counted at
the budget. It is the learning rate, for the trust region the first radius and for cubic Newton 1/M;
all else is at its default or fixed in `_racers.py`, the same for all problems. Tuning starts are
half exact, half near.

Evaluations: a Hessian-vector product counts as two gradients, a dense Hessian in n dimensions as
2 n, a value alone as a half. What stops early inside a search without saying so is charged in full.
Runs of a rule without noise from one exact saddle are copies of each other.

The octopus lies along the axes, with minima at +-4 in every coordinate: rules that scale each
coordinate by itself can jump there, as RMSProp's first step (3.2 learning rates in each) does.

Section: Landscape and saddles
Command: python -m experiments run saddle_race
Cost: quick 180 s of processor time with most to compile, beside much else; paper, 10 variables and
    100 starts, was stopped unfinished after 5.5 minutes
Last result: all 8 claims hold for 27 rules and 4 problems (2026-11-29, quick)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxopt_course import saddle, transforms

from ..lab import progress, resumable
from ..lab.claims import Claim
from ..lab.statistics import median_interval, share_interval, show_share
from ._config import Config
from ._courses import courses
from ._racers import ADAPTIVE, FIRST_ORDER, PERTURBED, RACERS, Racer, counting

__all__ = ["Config", "claims", "plot", "run"]

ORIGINS = "exact", "near"


def _objective(config: Config) -> Callable[[dict[str, jax.Array]], jax.Array]:
    """Return the value above the target of the problem that the parameters name."""
    branches = [
        lambda x, course=course: course.fun(x) - course.target
        for course in courses(config.dimension)
    ]
    return lambda params: jax.lax.switch(params["problem"].astype(jnp.int32), branches, params["x"])


def _starts(config: Config, key: jax.Array, scales: np.ndarray, count: int) -> dict[str, jax.Array]:
    """Return starts for an array of scales with the problems as last axis.

    The leading axis of every leaf runs over scales (in the order of the array), origins, starts.
    """
    shape = *scales.shape, len(ORIGINS), count
    saddles = jnp.asarray(np.stack([course.saddle for course in courses(config.dimension)]))
    noise = jax.random.normal(key, (*shape, config.dimension), saddles.dtype)
    noise *= config.distance / jnp.linalg.norm(noise, axis=-1, keepdims=True)
    # Origins are the third axis from the end: the exact start has no noise.
    noise = noise.at[..., ORIGINS.index("exact"), :, :].set(0.0)
    x = jnp.broadcast_to(saddles[:, None, None], noise.shape) + noise

    def spread(values):
        return jnp.broadcast_to(jnp.asarray(values, x.dtype)[..., None, None], shape).ravel()

    return {
        "x": x.reshape(-1, config.dimension),
        "scale": spread(scales),
        "problem": spread(np.broadcast_to(np.arange(scales.shape[-1]), scales.shape)),
        "cost": jnp.zeros(x.size // config.dimension, x.dtype),
    }


def _judged(state: Any, params: dict[str, jax.Array]) -> dict[str, Any]:
    """Return the parameters with "x" where its rule, which knows no others, says to judge it."""
    return {**params, "x": transforms.eval_params(state, params["x"])}


def _race(config: Config, fun: Callable[..., jax.Array], racer: Racer) -> tuple[np.ndarray, ...]:
    """Tune one rule, then run it; return the scales chosen, and evaluations, inf for failures."""
    size = config.dimension
    escape = partial(
        resumable.escape,
        fun,
        counting(racer, size, fun),
        max_steps=int(config.budget / racer.least_cost(size)),
        target_value=0.0,
        eval_params=_judged,
        lanes=256,
    )

    def evaluations(key, scales, count):
        start_key, run_key = jax.random.split(key)
        starts = _starts(config, start_key, scales, count)
        runs = escape(starts, jax.random.split(run_key, starts["cost"].size))
        arrived = runs.reason == saddle.Stop.TARGET_VALUE
        ends: Any = runs.params
        cost = jnp.where(arrived & (ends["cost"] <= config.budget), ends["cost"], jnp.inf)
        return np.asarray(cost).reshape(*scales.shape, len(ORIGINS), count)

    tuning, racing = jax.random.split(jax.random.key(config.seed))
    count = len(courses(size))
    grid = np.broadcast_to(np.array(config.scales)[:, None], (len(config.scales), count))
    tried = evaluations(tuning, grid, config.tuning_starts)
    # A failure costs more than the most expensive success, so successes come first.
    penalty = np.where(np.isinf(tried), 1e3 * config.budget, tried).sum((2, 3))
    # Of equals the largest: where nothing arrives, a rule shall not fail for want of moving.
    chosen = np.array(config.scales)[::-1][penalty[::-1].argmin(0)]
    return chosen, evaluations(racing, chosen, config.starts)


def run(config: Config) -> xr.Dataset:
    """Tune and race every rule on every problem."""
    racers = {racer.name: racer for racer in RACERS}
    fun = _objective(config)
    chosen, cost = [], []
    with jax.enable_x64(True):
        for name in progress.track(config.racers, "rules"):
            one = _race(config, fun, racers[name])
            chosen.append(one[0])
            cost.append(one[1])
    return xr.Dataset(
        {
            "evaluations": (("racer", "problem", "origin", "start"), np.stack(cost)),
            "scale": (("racer", "problem"), np.stack(chosen)),
            "family": ("racer", [racers[name].family for name in config.racers]),
            "random": ("racer", [racers[name].random for name in config.racers]),
        },
        coords={
            "racer": list(config.racers),
            "problem": [course.name for course in courses(config.dimension)],
            "origin": list(ORIGINS),
        },
        attrs={"budget": config.budget, "distance": config.distance},
    )


LEAVES_EXACTLY = "cubic Newton", "trust region"
# AdaGrad is no such pair: optax's accumulator starts at 0.1.
PAIRS = {
    "gradient descent": "optax sgd",
    "heavy ball": "optax momentum",
    "Nesterov": "optax Nesterov",
    "RMSProp": "optax RMSProp",
    "AdaDelta": "optax AdaDelta",
    "Adam": "optax Adam",
}


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge who leaves which saddles, and that the same rule races the same under both names."""
    arrived = np.isfinite(dataset.evaluations)
    leaves = dataset.racer.isin(LEAVES_EXACTLY)
    stays = dataset.racer[~dataset.random & ~leaves].values
    gradient = dataset.racer[dataset.family.isin([FIRST_ORDER, ADAPTIVE])].values
    octopus = dataset.problem.values[-1]
    gentle = dataset.problem.values[:-1]

    # The whole interval must lie within the bounds: a share of few runs says little.
    def share(statement, source, chosen, low, high):
        chosen = np.asarray(chosen)
        successes, runs = int(chosen.sum()), chosen.size
        interval = share_interval(successes, runs)
        expected = f"interval within {100 * low:.0f} to {100 * high:.0f} %"
        holds = low <= interval[0] and interval[1] <= high
        return Claim(statement, source, expected, show_share(successes, runs), holds)

    peers = "gradient zero; measured before for optax and optimistix"
    lee = "Lee, Simchowitz, Jordan and Recht 2016: almost every start escapes"
    du = "Du et al. 2017, theorem 4.1"
    exact, near = (arrived.sel(origin=origin) for origin in ORIGINS)
    # From exact saddles, where only noise and curvature lead away.
    found = [
        share(
            f"the {len(stays)} rules without noise or negative-curvature steps never leave an "
            "exact saddle",
            peers,
            exact.sel(racer=stays),
            0.0,
            0.02,
        ),
        share(
            "cubic Newton and trust region leave exact saddles without noise",
            "Nesterov and Polyak 2006; Conn, Gould and Toint 2000: exact subproblems",
            exact.sel(racer=list(LEAVES_EXACTLY)),
            0.95,
            1.0,
        ),
        share(
            "the perturbed and curvature-seeking rules leave exact saddles",
            "Jin et al. 2017; Allen-Zhu and Li 2018",
            exact.sel(racer=dataset.racer[dataset.family == PERTURBED].values),
            0.95,
            1.0,
        ),
        # From beside them.
        share(
            "Newton gets to no minimum from near a saddle, at any learning rate of the grid",
            "quadratic convergence to every regular stationary point",
            near.sel(racer="Newton"),
            0.0,
            0.05,
        ),
        share(
            f"first-order and adaptive rules leave from near, on all problems but the {octopus}",
            lee,
            near.sel(racer=gradient, problem=gentle),
            0.95,
            1.0,
        ),
        share(
            f"gradient descent does not get down the {octopus} within the budget",
            du,
            near.sel(racer="gradient descent", problem=octopus),
            0.0,
            0.15,
        ),
        share(
            "perturbed gradient descent does, from near and exactly at the first saddle",
            du,
            arrived.sel(racer="perturbed gradient descent", problem=octopus),
            0.9,
            1.0,
        ),
    ]
    # Ours and optax's implementation of one formula must take the same way.
    ours, theirs = (
        dataset.evaluations.sel(racer=list(names)).values for names in (PAIRS, PAIRS.values())
    )
    same = int(np.sum(ours == theirs))
    found.append(
        Claim(
            f"the {len(PAIRS)} rules that optax has too need the same evaluations under both names",
            "same formulas",
            "every run",
            show_share(same, ours.size),
            same == ours.size,
        )
    )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Draw success shares from exact and near starts, and median evaluations from near ones."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    shares, costs = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.6])
    rows = -np.arange(dataset.sizes["racer"]) - 0.7 * _block(dataset)
    _plot_shares(shares, dataset, rows)
    near = dataset.evaluations.sel(origin="near")
    for k, (problem, marker) in enumerate(zip(dataset.problem.values, "osD^", strict=True)):
        stats = [median_interval(one.values) for one in near.sel(problem=problem)]
        middle, low, high = np.array(stats).T
        held = np.isfinite(middle)
        place = rows + 0.24 - 0.16 * k
        costs.errorbar(
            middle[held],
            place[held],
            xerr=[middle[held] - low[held], np.minimum(high[held], dataset.budget) - middle[held]],
            fmt=marker,
            ms=5,
            color=f"C{k}",
            lw=1,
            label=problem,
        )
    costs.set(
        xscale="log",
        xlim=(1, dataset.budget),
        xlabel="median gradient evaluations, near starts (bars: 95 % interval)",
    )
    costs.grid(axis="x")
    costs.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, alignment="left")
    exact = np.isfinite(dataset.evaluations.sel(origin="exact")).mean(("problem", "start"))
    count = int((exact > 0.95).sum())
    noisy = int(((exact > 0.95) & dataset.random).sum())
    figure.suptitle(
        f"{count} of {dataset.sizes['racer']} rules leave exact saddles: {noisy} that draw random "
        f"numbers, and {count - noisy} with exact curvature models",
        fontsize="medium",
    )
    return figure


def _block(dataset: xr.Dataset) -> np.ndarray:
    """Return the number of the family of each racer, in order of appearance."""
    family = dataset.family.values
    return np.cumsum(np.r_[0, family[1:] != family[:-1]])


def _plot_shares(axes: Axes, dataset: xr.Dataset, rows: np.ndarray) -> None:
    """Draw the share of successes over all problems with its interval."""
    for origin, marker, colour in zip(ORIGINS, "sD", ("C1", "C0"), strict=True):
        arrived = np.isfinite(dataset.evaluations.sel(origin=origin)).values
        arrived = arrived.reshape(len(rows), -1)
        shift = 0.15 if origin == "exact" else -0.15
        for row, one in zip(rows, arrived, strict=True):
            low, high = share_interval(int(one.sum()), one.size)
            axes.plot([100 * low, 100 * high], [row + shift] * 2, color=colour, lw=2)
        label = f"{origin}ly at the saddle" if origin == "exact" else "near it"
        axes.plot(
            100 * arrived.mean(1), rows + shift, marker, color=colour, ms=5, label=label, ls=""
        )
    axes.set_yticks(rows, dataset.racer.values, fontsize="small")
    axes.set(xlim=(-3, 103), xlabel="successes / % (bars: 95 % interval)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, title="starts")
