"""Bad minima appear where there are too few measurements, examples or hidden units.

The theorems behind `benign_landscapes` ask for enough of something, with constants that are far
from tight. Here it is varied, over many draws of the problem, until bad minima appear:

    matrix sensing       measurements of a 5 x 5 matrix of rank 2, which has 9 unknowns
    matrix completion    probability that an entry of an 8 x 8 matrix of rank 2 is seen
    quadratic network    hidden units h for n = 18 examples; h >= sqrt(2 n) = 6 suffices
    two by two           the constant delta of restricted isometry; less than 1/2 suffices

From every start plain gradient descent runs until its value is that of the global minimum, or until
it is out of steps. Where the others ended, `saddle.find` looks for the stationary point beside the
end and `saddle.classify` names it, up to the rotations that do not change the objective: a bad
minimum is a certified one, with positive curvature in every other direction. In float64.

A draw is benign as far as seen if no run from its starts ends at a bad minimum: with 20 runs, one
that catches 14 % of the starts is missed once in twenty.

Ge, Lee and Ma (2016), https://arxiv.org/abs/1605.07272; Bhojanapalli, Neyshabur and Srebro (2016),
https://arxiv.org/abs/1605.07221; Du and Lee (2018), https://arxiv.org/abs/1803.01206; Zhang, Josz,
Sojoudi and Lavaei (2018), https://arxiv.org/abs/1805.10251.

Section: Landscape and saddles
Command: python -m experiments run benign_thresholds
Cost: two by two alone 26 s of processor time with everything to compile; the others not measured
Last result: two by two, 20 runs: 4 of 4 claims hold; the other problems not run (2026-11-29)
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import problems, saddle, transforms

from .lab import resumable
from .lab.claims import Claim
from .lab.fields import Checked, Seed, minimum, one_of
from .lab.progress import track
from .lab.statistics import share_interval, show_share

AT_MINIMUM = 1e-8
"""A value below this is the global minimum's, which is 0; bad minima seen lie above 1e-3."""
UNDECIDED, GLOBAL, BAD, SADDLE = range(4)
"""What a run can end at."""


class Family(NamedTuple):
    """A problem with something that there must be enough of.

    Attributes:
        problem: From its amount and a key that draws the rest to the problem.
        amounts: What is tried, from little to much.
        name: What the amount is.
        enough: From which amount on the theorem holds; None where its constants say nothing here.
        learning_rate: Below 1/L where the runs are.
        null_space: Tangents of what does not change the problem, as `saddle.classify` takes it.
        source: The theorem.
    """

    problem: Callable[[float, jax.Array], problems.Problem]
    amounts: tuple[float, ...]
    name: str
    enough: float | None
    learning_rate: float
    null_space: Callable[[Any], Any] | None
    source: str


def _sensing(amount: float, key: jax.Array) -> problems.Problem:
    return problems.matrix_sensing(
        [2.0, 1.0],
        dimension=5,
        num_measurements=int(amount),
        key=key,
        init_distribution="uniform",
    )


def _completion(amount: float, key: jax.Array) -> problems.Problem:
    return problems.matrix_completion(
        [2.0, 1.0],
        dimension=8,
        sampling_probability=amount,
        key=key,
        init_distribution="uniform",
    )


def _network(amount: float, key: jax.Array) -> problems.Problem:
    """Return a network on examples that one hidden unit explains: the least value is 0."""
    of_inputs, of_teacher = jax.random.split(key)
    inputs = np.asarray(jax.random.normal(of_inputs, (18, 8)), np.float64)
    teacher = np.asarray(jax.random.normal(of_teacher, (8,)), np.float64)
    targets = (inputs @ teacher / np.linalg.norm(teacher)) ** 2
    return problems.quadratic_network_on_data(
        inputs, targets, num_hidden=int(amount), init_distribution="uniform", init_scale=0.5
    )


def _two_by_two(amount: float, key: jax.Array) -> problems.Problem:
    """Return the example of a given delta, of which nothing is drawn."""
    del key
    return problems.rip_example(cross_weight=(1 + amount) / (1 - amount))


def _rotations_of_rows(w: jax.Array) -> jax.Array:
    if w.shape[0] == 1:  # Nothing to rotate.
        return jnp.zeros((0, *w.shape), w.dtype)
    return saddle.rotation_null_space(w.T).transpose(0, 2, 1)


FAMILIES = {
    "matrix sensing": Family(
        _sensing,
        (6, 9, 12, 18, 30, 60),
        "measurements",
        None,
        0.02,
        saddle.rotation_null_space,
        "Bhojanapalli et al. 2016, Theorem 3.1",
    ),
    "matrix completion": Family(
        _completion,
        (0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        "probability of seeing an entry",
        None,
        0.02,
        saddle.rotation_null_space,
        "Ge et al. 2016, Theorem 3.1",
    ),
    "quadratic network": Family(
        _network,
        (1, 2, 3, 4, 6, 8),
        "hidden units",
        6,
        0.02,
        _rotations_of_rows,
        "Du and Lee 2018, Theorem 3.1",
    ),
    "two by two": Family(
        _two_by_two,
        (0.7, 0.6, 0.55, 0.45, 0.4, 0.3),
        "delta of the restricted isometry",
        0.5,
        0.02,
        None,
        "Zhang et al. 2018, Theorem 3",
    ),
}


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """How many draws of every problem, and how many runs of each."""

    families: tuple[Annotated[str, one_of(FAMILIES)], ...] = tuple(FAMILIES)
    """Names of the problems."""
    draws: Annotated[int, minimum(1)] = 10
    """Draws of each problem at each amount."""
    runs: Annotated[int, minimum(1)] = 20
    """Random starts of each draw."""
    steps: Annotated[int, minimum(1)] = 20_000
    """Most steps of gradient descent."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """10 draws, 20 starts of each."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """100 draws, 100 starts of each."""
        return cls(draws=100, runs=100, steps=100_000)


def _ends(config: Config, family: Family, problem: problems.Problem, key: jax.Array) -> np.ndarray:
    """Return what the runs of one draw end at, and at which value, shape (2, runs)."""
    starts = jax.vmap(problem.init)(jax.random.split(key, config.runs))
    runs = resumable.escape(
        problem.fun,
        transforms.gradient_descent(family.learning_rate),
        starts,
        max_steps=config.steps,
        target_value=AT_MINIMUM,
    )
    arrived = np.asarray(runs.reason) == saddle.Stop.TARGET_VALUE
    ends = np.where(arrived, GLOBAL, UNDECIDED)
    if not arrived.all():
        # All runs are searched from, so that the same program serves every draw.
        census = resumable.find(
            problem.fun, runs.params, method="newton", null_space=family.null_space
        )
        named = np.asarray(census.runs.point)
        kinds = np.asarray(census.point.kind)[named]
        near = (named >= 0) & np.isclose(census.runs.value, runs.value, rtol=0.01, atol=0)
        open_ = ~arrived & near
        ends[open_ & (kinds == saddle.Kind.MINIMUM)] = BAD
        ends[open_ & (kinds == saddle.Kind.STRICT_SADDLE)] = SADDLE
    return np.stack([ends, np.asarray(runs.value)])


def run(config: Config) -> xr.Dataset:
    """Run every problem at every amount, draw by draw."""
    base = jax.random.key(config.seed)
    parts = []
    with jax.enable_x64(True):
        for name in track(config.families, "problems"):
            family = FAMILIES[name]
            of_family = jax.random.fold_in(base, list(FAMILIES).index(name))
            found = np.empty((len(family.amounts), config.draws, 2, config.runs))
            for level, amount in enumerate(family.amounts):
                for draw in range(config.draws):
                    key = jax.random.fold_in(jax.random.fold_in(of_family, level), draw)
                    of_problem, of_starts = jax.random.split(key)
                    problem = family.problem(amount, of_problem)
                    found[level, draw] = _ends(config, family, problem, of_starts)
            parts.append(
                xr.Dataset(
                    {
                        "end": (("level", "draw", "run"), found[:, :, 0].astype(np.int32)),
                        "value": (("level", "draw", "run"), found[:, :, 1]),
                        "amount": ("level", np.array(family.amounts, float)),
                    }
                ).expand_dims(family=[name])
            )
    return xr.concat(parts, "family", join="exact")


def bad_draws(part: xr.Dataset) -> np.ndarray:
    """Return at how many draws a run ended at a bad minimum, one number a level."""
    return (part.end == BAD).any("run").sum("draw").values


def enough(part: xr.Dataset, family: Family) -> np.ndarray:
    """Return at which levels the theorem's condition holds; none where it says nothing here."""
    if family.enough is None:
        return np.zeros(part.sizes["level"], bool)
    amounts = part.amount.values
    # From little to much: delta falls, the others rise.
    return amounts <= family.enough if amounts[0] > amounts[-1] else amounts >= family.enough


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge where bad minima are, and that every run is accounted for."""
    judged = []
    draws = dataset.sizes["draw"]
    for name in dataset.family.values:
        family, part = FAMILIES[name], dataset.sel(family=name)
        bad, amounts = bad_draws(part), part.amount.values
        counts = ", ".join(f"{n} at {a:g}" for a, n in zip(amounts, bad, strict=True))
        judged.append(
            Claim(
                f"{name}: with too little, some draws have bad minima",
                family.source + " needs its condition",
                f"at least 1 of {draws} draws at {amounts[0]:g}",
                f"draws with a certified bad minimum, by {family.name}: {counts}",
                holds=bad[0] > 0,
            )
        )
        last = part.isel(level=-1)
        count = int((last.end == GLOBAL).sum())
        judged.append(
            Claim(
                f"{name}: with the most tried, {amounts[-1]:g}, every run ends at a global minimum",
                family.source,
                f"{last.end.size} of {last.end.size}",
                show_share(count, last.end.size),
                holds=count == last.end.size,
            )
        )
        if family.enough is not None:
            kept = enough(part, family)
            judged.append(
                Claim(
                    f"{name}: no bad minimum where the theorem's condition holds",
                    family.source,
                    f"0 of {draws * int(kept.sum())} draws",
                    f"{int(bad[kept].sum())} of {draws * int(kept.sum())} draws",
                    holds=bool(kept.any()) and bad[kept].sum() == 0,
                )
            )
        undecided = int((part.end == UNDECIDED).sum())
        judged.append(
            Claim(
                f"{name}: every run ends at a global minimum or at a certified point",
                "measured",
                f"0 of {part.end.size} undecided",
                f"{undecided} of {part.end.size} undecided",
                holds=undecided == 0,
            )
        )
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the share of runs that arrive and of draws with bad minima, against the amount."""
    names = list(dataset.family.values)
    figure = Figure(figsize=(11, 5.5))
    for axes, name in zip(
        np.atleast_1d(figure.subplots(1, len(names), sharey=True)), names, strict=True
    ):
        family, part = FAMILIES[name], dataset.sel(family=name)
        levels = np.arange(part.sizes["level"])
        draws, runs = part.sizes["draw"], part.sizes["draw"] * part.sizes["run"]
        for label, counts, total in (
            ("runs at the global minimum", (part.end == GLOBAL).sum(("draw", "run")).values, runs),
            ("draws with a certified bad minimum", bad_draws(part), draws),
        ):
            ends = np.array([share_interval(int(count), total) for count in counts])
            share = counts / total
            error = np.abs(np.stack([share - ends[:, 0], ends[:, 1] - share]))
            axes.errorbar(levels, share, error, fmt="o-", capsize=3, label=label)
        kept = enough(part, family)
        if kept.any():
            axes.axvspan(np.argmax(kept) - 0.5, levels[-1] + 0.5, color="0.92", zorder=0)
        axes.set(
            title=name,
            xlabel=family.name,
            xticks=levels,
            xticklabels=[f"{amount:g}" for amount in part.amount.values],
            ylim=(-0.05, 1.05),
        )
    figure.axes[0].set(ylabel="share (bars: 95 % intervals)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.suptitle("Bad minima go as measurements, units or isometry suffice (grey: theorem)")
    return figure
