"""Bad minima appear where there are too few measurements, examples or hidden units.

The theorems behind `benign_landscapes` ask for enough of something, with constants that are far
from tight. Here it is varied, over many draws of the problem, until bad minima appear:

    matrix sensing       measurements of a 5 x 5 matrix of rank 2, which has 9 unknowns
    matrix completion    probability that an entry of an 8 x 8 matrix of rank 2 is seen
    quadratic network    hidden units h, as many as the teacher's, for n = 18 examples;
                         h >= sqrt(2 n) = 6 suffices
    two by two           the constant delta of restricted isometry; less than 1/2 suffices

From every start the heavy ball (two by two: gradient descent) rolls until its value is that of the
global minimum, or until it is out of steps. From where the others ended `saddle.find` goes down to
the stationary point beside, and `saddle.classify` names it, up to the rotations that do not change
the objective: a bad minimum is a certified one, with positive curvature in every other direction,
and a value within 1 % of the run's. What is flatter, as where entries are too few, stays undecided.
In float64.

A draw is benign as far as seen if no run from its starts ends at a bad minimum: with 20 runs, one
that catches 14 % of the starts is missed once in twenty.

Ge, Lee and Ma (2016), https://arxiv.org/abs/1605.07272; Bhojanapalli, Neyshabur and Srebro (2016),
https://arxiv.org/abs/1605.07221; Du and Lee (2018), https://arxiv.org/abs/1803.01206; Zhang, Josz,
Sojoudi and Lavaei (2018), https://arxiv.org/abs/1805.10251.

Section: Landscape and saddles
Command: python -m experiments run benign_thresholds
Cost: quick 85 s of processor time, with everything to compile, beside much else; standard and
    paper not run
Last result: 12 of 14 claims hold (2026-11-29, quick, loaded cores). Bad minima in 3 and 1 of 6
    draws with 9 and 12 measurements, in 2 with 60 % of the entries, in all with one hidden unit.
    After 3,000 steps 21 of 216 runs of the network, all with three units, and 13 of completion
    were still descending and count as undecided: the upper ends of these shares are 14 and 10.02 %,
    not at most 10
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jaxopt_course import problems, saddle, transforms

from .lab import resumable
from .lab.claims import Claim
from .lab.fields import Checked, Seed, minimum, one_of
from .lab.progress import track
from .lab.statistics import share_interval, show_share

AT_MINIMUM = 1e-6
"""A value below this is the global minimum's, which is 0; certified bad minima lie above 1e-4."""
ALIKE = 0.01
"""Values that differ by less, relatively, are of one stationary point."""
SEARCHES = 4
"""So many ends of a draw, of different values, are looked at, the lowest first."""
UNDECIDED, GLOBAL, BAD = range(3)
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
        momentum: Of the heavy ball. 0.9 makes it about ten times as fast where descent is slow:
            without, most runs of the network did not arrive.
    """

    problem: Callable[[float, jax.Array], problems.Problem]
    amounts: tuple[float, ...]
    name: str
    enough: float | None
    learning_rate: float
    null_space: Callable[[Any], Any] | None
    source: str
    momentum: float = 0.9


def _sensing(amount: float, key: jax.Array) -> problems.Problem:
    return problems.matrix_sensing(
        [2.0, 1.0],
        dimension=5,
        num_measurements=int(amount),
        key=key,
        init_distribution="uniform",
    )


def _completion(amount: float, key: jax.Array) -> problems.Problem:
    """Matrix completion of which this share of the entries is seen."""
    return problems.matrix_completion(
        [2.0, 1.0],
        dimension=8,
        sampling_probability=amount,
        key=key,
        # No row of the truth is longer than the root of 2; the default depends on the draw.
        row_bound=10 * 2**0.5,
        init_distribution="uniform",
    )


def _network(amount: float, key: jax.Array) -> problems.Problem:
    """Return a network on examples of a teacher with as many hidden units: the least value is 0.

    With fewer units in the teacher the minimum would be flat, and values fall only as 1/steps^2.
    """
    of_inputs, of_teacher = jax.random.split(key)
    inputs = np.asarray(jax.random.normal(of_inputs, (18, 8)), np.float64)
    teacher = np.asarray(jax.random.normal(of_teacher, (8, int(amount))), np.float64)
    targets = ((inputs @ (teacher / np.linalg.norm(teacher))) ** 2).sum(axis=1)
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
        (9, 10, 12, 15, 20, 40),
        "measurements",
        None,
        0.02,
        saddle.rotation_null_space,
        "Bhojanapalli et al. 2016, Theorem 3.1",
    ),
    "matrix completion": Family(
        _completion,
        (0.6, 0.7, 0.8, 0.9, 1.0),
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
        momentum=0.0,
    ),
}


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """How many draws of every problem, and how many runs of each."""

    families: tuple[Annotated[str, one_of(FAMILIES)], ...] = tuple(FAMILIES)
    """Names of the problems."""
    every: Annotated[int, minimum(1)] = 1
    """Which of each problem's amounts are tried: the first, and then every n-th."""
    draws: Annotated[int, minimum(1)] = 12
    """Draws of each problem at each amount."""
    runs: Annotated[int, minimum(1)] = 20
    """Random starts of each draw."""
    steps: Annotated[int, minimum(1)] = 5000
    """Most steps of the heavy ball."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """Every other amount, 6 draws, 12 starts of each."""
        return cls(every=2, draws=6, runs=12, steps=3000)

    @classmethod
    def standard(cls) -> "Config":
        """All amounts, 12 draws, 20 starts of each."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """100 draws, 100 starts of each."""
        return cls(draws=100, runs=100, steps=100_000)


def _of_all_draws(draws: list[problems.Problem]) -> Callable[[dict[str, jax.Array]], jax.Array]:
    """Return the objective of parameters "x" of the draw whose number is "draw".

    Draws differ in nothing but the arrays that their functions hold as leaves.
    """
    if not isinstance(draws[0].fun, jax.tree_util.Partial):
        return lambda params: draws[0].fun(params["x"])  # Nothing is drawn.
    structure = jax.tree.structure(draws[0].fun)
    leaves = [
        jnp.stack(arrays)
        for arrays in zip(*(jax.tree.leaves(problem.fun) for problem in draws), strict=True)
    ]

    def fun(params):
        # A rounded number has no derivative, so that descent leaves it as it is.
        number = jnp.round(params["draw"]).astype(jnp.int32)
        return structure.unflatten([leaf[number] for leaf in leaves])(params["x"])

    return fun


def _descend(config: Config, family: Family, draws: list[problems.Problem], keys: jax.Array) -> Any:
    """Run from the starts of all draws together; return the ends and values, draws first."""
    starts = jax.vmap(lambda key: jax.vmap(draws[0].init)(jax.random.split(key, config.runs)))(keys)
    numbers = jnp.repeat(jnp.arange(config.draws, dtype=starts.dtype), config.runs)
    runs = resumable.escape(
        _of_all_draws(draws),
        transforms.heavy_ball(family.learning_rate, family.momentum),
        {"x": starts.reshape(-1, *starts.shape[2:]), "draw": numbers},
        max_steps=config.steps,
        target_value=AT_MINIMUM,
    )
    return np.asarray(runs.params["x"]).reshape(starts.shape), np.asarray(runs.value).reshape(
        config.draws, config.runs
    )


def _name_ends(
    family: Family, problem: problems.Problem, params: np.ndarray, value: np.ndarray
) -> np.ndarray:
    """Return what the runs of one draw ended at, by the stationary points beside their ends."""
    ends = np.where(value <= AT_MINIMUM, GLOBAL, UNDECIDED)
    open_ = np.flatnonzero(ends == UNDECIDED)
    if not open_.size:
        return ends
    # One run stands for those of the same value; so many that one program serves every draw.
    ordered = open_[np.argsort(value[open_])]
    new = np.append(True, np.diff(value[ordered]) > ALIKE * value[ordered][:-1])
    few = np.resize(ordered[new][:SEARCHES], SEARCHES)
    census = resumable.find(
        problem.fun,
        jnp.asarray(params[few]),
        method="eigenvector_following",
        index=0,
        null_space=family.null_space,
    )
    kinds = np.append(np.asarray(census.point.kind), saddle.Kind.NOT_STATIONARY)
    found = kinds[np.asarray(census.runs.point)]
    for run, kind, polished in zip(few, found, np.asarray(census.runs.value), strict=True):
        alike = (ends == UNDECIDED) & np.isclose(value, value[run], rtol=ALIKE, atol=0)
        if polished <= AT_MINIMUM:  # Slow descent to a global minimum, that the search shortened.
            ends[alike] = GLOBAL
        elif kind == saddle.Kind.MINIMUM and np.isclose(polished, value[run], rtol=ALIKE, atol=0):
            ends[alike] = BAD
    return ends


def run(config: Config) -> xr.Dataset:
    """Run every problem at every amount, all draws together."""
    base = jax.random.key(config.seed)
    parts = []
    with jax.enable_x64(True):
        for name in config.families:
            family = FAMILIES[name]
            amounts = family.amounts[:: config.every]
            of_family = jax.random.fold_in(base, list(FAMILIES).index(name))
            shape = len(amounts), config.draws, config.runs
            ends, values = np.empty(shape, np.int32), np.empty(shape)
            for level, amount in enumerate(track(amounts, name)):
                keys = jax.random.split(jax.random.fold_in(of_family, level), 2 * config.draws)
                draws = [family.problem(amount, key) for key in keys[: config.draws]]
                params, values[level] = _descend(config, family, draws, keys[config.draws :])
                for draw, problem in enumerate(draws):
                    ends[level, draw] = _name_ends(
                        family, problem, params[draw], values[level, draw]
                    )
            parts.append(
                xr.Dataset(
                    {
                        "end": (("level", "draw", "run"), ends),
                        "value": (("level", "draw", "run"), values),
                        "amount": ("level", np.array(amounts, float)),
                    },
                    coords={"level": np.arange(len(amounts))},
                ).expand_dims(family=[name])
            )
    return xr.concat(parts, "family", join="outer").assign_attrs(seed=config.seed)


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
        family = FAMILIES[name]
        # Families have different numbers of amounts: the rest are NaN.
        part = dataset.sel(family=name)
        part = part.isel(level=part.amount.notnull().values)
        bad, amounts, kept = bad_draws(part), part.amount.values, enough(part, family)
        counts = ", ".join(f"{n} at {a:g}" for a, n in zip(amounts, bad, strict=True))
        judged.append(
            Claim(
                f"{name}: with too little, some draws have bad minima",
                family.source + " needs its condition",
                f"some of {draws} draws at an amount below the most, outside the condition",
                f"draws with a certified bad minimum, by {family.name}: {counts}",
                holds=bad[:-1][~kept[:-1]].sum() > 0,
            )
        )
        # The other end: with the most of it the landscape is benign for every draw.
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
            judged.append(
                Claim(
                    f"{name}: no bad minimum where the theorem's condition holds",
                    family.source,
                    f"0 of {draws * int(kept.sum())} draws",
                    f"{int(bad[kept].sum())} of {draws * int(kept.sum())} draws",
                    holds=bool(kept.any()) and bad[kept].sum() == 0,
                )
            )
        # Runs of which nothing can be said are counted, and must be few.
        undecided = int((part.end == UNDECIDED).sum())
        judged.append(
            Claim(
                f"{name}: runs end at a global minimum or at a certified point",
                "measured",
                "the upper end of the share of others at most 10 %",
                show_share(undecided, part.end.size),
                holds=share_interval(undecided, part.end.size)[1] <= 0.1,
            )
        )
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the share of runs that arrive and of draws with bad minima, against the amount."""
    names = list(dataset.family.values)
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.9 * columns, 2.9 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw(axes, dataset.sel(family=name))
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("share (bars: 95 %)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    handles.append(Patch(color="0.9"))
    labels.append("the theorem's condition holds")
    # One panel is too narrow for a line.
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if columns > 1 else 1)
    separator = " " if columns > 1 else "\n"
    figure.suptitle(
        f"Too little of something makes bad minima{separator}({dataset.sizes['draw']} draws each)"
    )
    return figure


def _draw(axes: Axes, part: xr.Dataset) -> None:
    """Draw one family."""
    family = FAMILIES[part.family.item()]
    part = part.isel(level=part.amount.notnull().values)
    levels = np.arange(part.sizes["level"])
    draws, runs = part.sizes["draw"], part.sizes["draw"] * part.sizes["run"]
    arrived = (part.end == GLOBAL).sum(("draw", "run")).values
    for shift, marker, label, counts, total in (
        (-0.06, "o", "runs that end at the global minimum", arrived, runs),
        (0.06, "D", "draws with a certified bad minimum", bad_draws(part), draws),
    ):
        ends = np.array([share_interval(int(count), total) for count in counts])
        share = counts / total
        error = np.abs(np.stack([share - ends[:, 0], ends[:, 1] - share]))
        axes.errorbar(levels + shift, share, error, fmt=f"{marker}-", capsize=3, label=label)
    kept = enough(part, family)
    if kept.any():
        axes.axvspan(np.argmax(kept) - 0.5, levels[-1] + 0.5, color="0.9", zorder=0)
    axes.set(
        title=part.family.item(),
        xlabel=family.name,
        xticks=levels,
        xticklabels=[f"{amount:g}" for amount in part.amount.values],
        xlim=(-0.5, levels[-1] + 0.5),
        ylim=(-0.05, 1.05),
    )
