"""Newton's method is attracted by saddles; rules that heed the sign of the curvature are not.

Two statements, both in double precision.

Affine invariance: minimizing `g(z) = f(A z)` from `A^-1 x[0]`, Newton's iterates are `A^-1 x[t]`
for every invertible A. Saddle-free Newton, cubic-regularised Newton and the trust region measure
lengths or take absolute values of eigenvalues, so they are invariant under rotations alone, and
gradient descent is too.

Attraction: each rule starts from random points of problems whose stationary points are minima,
strict saddles and maxima, and from points beside the strict saddles, and `saddle.classify` says
what the end is. Newton converges to whatever is stationary nearby. Cubic Newton's constant M is
a bound on the third derivative in the window; trust region and the others are at their defaults.

Section: Momentum and second order
Command: python -m experiments run newton
Cost: quick 25 s of processor time for 500 starts, 60 s on 2 busy cores;
    paper 84 s for 5,000 starts
Last result: all 13 claims hold; Newton ends at saddles or maxima from 15 to 48 % of random starts
    (2026-11-23, paper, 2 cores)
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import problems, saddle

from ..lab import progress, resumable
from ..lab.claims import Claim, at_least, at_most
from ..lab.statistics import share_interval, show_share
from ._config import Config
from ._landscapes import RULES, Landscape, landscapes

__all__ = ["Config", "claims", "plot", "run"]

KINDS = ("MINIMUM", "STRICT_SADDLE", "MAXIMUM", "elsewhere")
GRADIENT_TOLERANCE = 1e-6
# Okabe and Ito's colours, those of `plot.points`.
COLOURS = dict(zip(KINDS, ("#009E73", "#D55E00", "#CC79A7", "#BBBBBB"), strict=True))


SAFE = "saddle-free Newton", "cubic Newton", "trust region"


def _starts(scape: Landscape, config: Config) -> dict[str, jax.Array]:
    """Draw starts from the problem's own distribution, and on spheres around its saddles."""
    problem = scape.problem
    random, which, direction = jax.random.split(jax.random.key(config.seed), 3)
    drawn = jax.vmap(problem.init)(jax.random.split(random, config.starts))
    saddles = jnp.asarray(
        np.stack([p.params for p in problem.stationary_points if p.kind == "STRICT_SADDLE"])
    )
    chosen = saddles[jax.random.randint(which, (config.starts,), 0, saddles.shape[0])]
    noise = jax.random.normal(direction, chosen.shape)
    norms = jnp.linalg.norm(noise.reshape(config.starts, -1), axis=1)
    scale = (config.distance / norms).reshape(-1, *[1] * (noise.ndim - 1))
    return {"random": drawn, "beside a saddle": chosen + scale * noise}


def _kinds(scape: Landscape, starts: jax.Array, config: Config) -> np.ndarray:
    """Run every rule from every start; return the index in `KINDS` of what each end is."""
    fun, ends = scape.problem.fun, []
    for rule, make in RULES.items():
        steps = config.steps * (30 if rule == "gradient descent" else 1)
        ends.append(resumable.escape(fun, make(scape), starts, max_steps=steps).params)

    return _name(fun, jnp.concatenate(ends)).reshape(len(RULES), -1)


def _name(fun: Callable[..., jax.Array], points: jax.Array) -> np.ndarray:
    """Return the index in `KINDS` of what each point is."""
    classify = partial(saddle.classify, fun, gradient_tolerance=GRADIENT_TOLERANCE)
    kinds = np.asarray(jax.jit(jax.vmap(classify))(points).kind)
    named = [kinds == saddle.Kind[kind] for kind in KINDS[:-1]]
    return np.select(named, range(len(named)), len(named))


def _deviation(fun, optimizer, matrix, start, steps):
    """Return how far a run in the coordinates A z ends from the run in x, over the distance run."""

    def end(fun, start):
        def step(_, carry):
            x, state = carry
            value, grads = jax.value_and_grad(fun)(x)
            updates, state = optimizer.update(
                grads, state, x, value=value, grad=grads, value_fn=fun
            )
            return optax.apply_updates(x, updates), state

        return jax.lax.fori_loop(0, steps, step, (start, optimizer.init(start)))[0]

    there = end(fun, start)
    back = matrix @ end(lambda z: fun(matrix @ z), jnp.linalg.solve(matrix, start))
    return jnp.linalg.norm(back - there) / jnp.linalg.norm(there - start)


def _matrices(config: Config) -> np.ndarray:
    """Return for each condition number one matrix with random singular vectors."""
    random = np.random.default_rng(config.seed)
    matrices = []
    for condition in config.condition_numbers:
        left, right = (np.linalg.qr(random.normal(size=(2, 2)))[0] for _ in range(2))
        matrices.append(left * [1, 1 / condition] @ right)
    return np.stack(matrices)


def _run_affine(config: Config) -> np.ndarray:
    """Return the deviations, shape (rules, condition numbers, starts)."""
    matrices = jnp.asarray(_matrices(config))
    scape = landscapes()["himmelblau"]
    keys = jax.random.split(jax.random.key(config.seed), config.affine_starts)
    starts = jax.vmap(scape.problem.init)(keys)
    deviations = []
    for make in RULES.values():
        one = partial(_deviation, scape.problem.fun, make(scape), steps=config.affine_steps)
        each = jax.vmap(jax.vmap(one, in_axes=(None, 0)), in_axes=(0, None))
        deviations.append(jax.jit(each)(matrices, starts))
    return np.stack(deviations)


def run(config: Config) -> xr.Dataset:
    """Classify where every run ends, and compare runs in different coordinates."""
    scapes = {name: landscapes()[name] for name in config.landscapes}
    with jax.enable_x64(True):
        ends, drawn = [], []
        for scape in progress.track(scapes.values(), "landscapes", total=len(scapes)):
            origins = _starts(scape, config)
            drawn.append(np.asarray(origins["random"]).reshape(config.starts, -1)[:, :2])
            batch = jnp.concatenate(list(origins.values()))
            kinds = _kinds(scape, batch, config)
            ends.append(kinds.reshape(len(RULES), len(origins), config.starts))
        deviation = _run_affine(config)
    return xr.Dataset(
        {
            "end": (("landscape", "rule", "origin", "start"), np.stack(ends)),
            "random_start": (("landscape", "start", "axis"), np.stack(drawn)),
            "deviation": (("rule", "condition_number", "affine_start"), deviation),
        },
        coords={
            "landscape": list(scapes),
            "rule": list(RULES),
            "origin": list(origins),
            "condition_number": list(config.condition_numbers),
        },
    )


def _count(dataset: xr.Dataset, kinds: tuple[str, ...]) -> xr.DataArray:
    """Return how many runs of each landscape, rule and origin end at one of these kinds."""
    return dataset.end.isin([KINDS.index(kind) for kind in kinds]).sum("start")


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the invariance and where the runs end."""
    derived = "chain rule: A^T H A and A^T g in place of H and g"
    dauphin = "Dauphin et al. 2014, section 3"
    # The same run in other coordinates, its end mapped back and compared.
    largest = dataset.deviation.max("affine_start", skipna=False)
    stretched = largest.sel(condition_number=largest.condition_number > 1)
    others = [rule for rule in RULES if rule != "Newton"]
    found = [
        at_most(
            "Newton takes the same path in all coordinates: largest distance between the ends, "
            "over the distance travelled",
            derived,
            bound=1e-6,
            measured=float(largest.sel(rule="Newton").max(skipna=False)),
        ),
        at_most(
            "all rules take the same path in rotated coordinates: the largest such distance",
            derived,
            bound=1e-9,
            measured=float(largest.sel(condition_number=1.0).max(skipna=False)),
        ),
        at_least(
            "no other rule does in stretched ones: its largest such distance, the least over rules "
            "and condition numbers",
            "lengths and absolute eigenvalues depend on coordinates",
            bound=0.1,
            measured=float(stretched.sel(rule=others).min(skipna=False)),
        ),
    ]
    # Where Newton's method ends: at whatever stationary point is near.
    runs = dataset.sizes["start"]
    lost = _count(dataset, ("STRICT_SADDLE", "MAXIMUM")).sel(rule="Newton", origin="random")
    for name in dataset.landscape.values:
        count = int(lost.sel(landscape=name))
        found.append(
            Claim(
                f"from random starts on {name} Newton ends at saddles and maxima",
                dauphin,
                "interval above 10 %",
                show_share(count, runs),
                share_interval(count, runs)[0] > 0.1,
            )
        )
    saddles = int(
        _count(dataset, ("STRICT_SADDLE",)).sel(rule="Newton", origin="beside a saddle").sum()
    )
    beside = runs * dataset.sizes["landscape"]
    found.append(
        Claim(
            "from beside a strict saddle Newton ends at one",
            "quadratic convergence to every regular stationary point",
            "every run",
            show_share(saddles, beside),
            saddles == beside,
        )
    )
    # Where the rules that heed negative curvature end, from all starts.
    minima = _count(dataset, ("MINIMUM",)).sum("landscape")
    for origin in dataset.origin.values:
        for rule in SAFE:
            count = int(minima.sel(rule=rule, origin=origin))
            found.append(
                Claim(
                    f"{rule} ends at a minimum, starts: {origin}",
                    dauphin if rule == SAFE[0] else "second-order convergence theorems",
                    "every run",
                    show_share(count, beside),
                    count == beside,
                )
            )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Draw what Newton and cubic Newton find from where, all shares, and the invariance."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    points = dataset.random_start.sel(landscape="himmelblau").values.T
    for axes, rule in zip(panels[0], ("Newton", "cubic Newton"), strict=True):
        ends = dataset.end.sel(landscape="himmelblau", rule=rule, origin="random").values
        for i, kind in enumerate(KINDS):
            axes.plot(*points[:, ends == i], ".", ms=4, color=COLOURS[kind])
        known = problems.himmelblau().stationary_points
        kinds = [saddle.Kind[point.kind] for point in known]
        dots = len(axes.lines)
        draw.points([point.params for point in known], kinds, ax=axes)
        # Among dots of the same colours they need a dark edge.
        for mark in axes.lines[dots:]:
            mark.set(markeredgecolor="black", markersize=9)
        # The bars below say which colour is which kind.
        axes.get_legend().remove()
        axes.set(xlabel="x", ylabel="y", aspect="equal", title=f"{rule} from starts on Himmelblau")
    _plot_shares(panels[1, 0], dataset)
    axes = panels[1, 1]
    largest = dataset.deviation.max("affine_start")
    for rule, marker in zip(dataset.rule.values, "osD^v", strict=True):
        axes.loglog(dataset.condition_number, largest.sel(rule=rule), marker=marker, label=rule)
    axes.set(
        xlabel="condition number of the coordinates' matrix",
        ylabel="distance between ends / travelled",
        title="deviation in other coordinates, worst start",
    )
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.64))
    lost = (
        _count(dataset, ("STRICT_SADDLE", "MAXIMUM")).sel(origin="random") / dataset.sizes["start"]
    )
    newton = 100 * lost.sel(rule="Newton")
    safe = 100 * lost.sel(rule=list(SAFE))
    figure.suptitle(
        f"Newton ends at saddles or maxima from {float(newton.min()):.0f} to "
        f"{float(newton.max()):.0f} % of random starts; saddle-free, cubic and "
        f"trust region from {float(safe.max()):.0f} %",
        fontsize="medium",
    )
    return figure


def _plot_shares(axes: Axes, dataset: xr.Dataset) -> None:
    """Draw a stacked bar for each landscape and rule, starts drawn at random."""
    labels, row = [], 0.0
    for name in dataset.landscape.values:
        for rule in dataset.rule.values:
            left = 0.0
            ends = dataset.end.sel(landscape=name, rule=rule, origin="random")
            for i, kind in enumerate(KINDS):
                share = 100 * float((ends == i).mean())
                label = kind.lower().replace("_", " ") if row == 0 else None
                axes.barh(row, share, left=left, color=COLOURS[kind], label=label)
                left += share
            low, high = share_interval(int((ends == 0).sum()), ends.size)
            axes.plot([100 * low, 100 * high], [row, row], color="black", lw=1.5)
            labels.append((row, f"{rule}"))
            row -= 1
        axes.text(101, row + 3, name.replace("_", "\n"), va="center", fontsize="small")
        row -= 0.6
    axes.set_yticks(*zip(*labels, strict=True), fontsize="x-small")
    axes.set(xlim=(0, 100), xlabel="share of random starts / % (black: 95 % interval for minima)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=4, columnspacing=1)
