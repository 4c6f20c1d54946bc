"""From small starts gradient descent goes from saddle to saddle, each of one rank more.

A linear network `W_N ... W_1` of square layers learns a matrix of singular values sigma_1 > sigma_2
> ... by gradient descent, from weights of a small scale. Its loss has plateaus. Where the run is
slow `saddle.path_saddles` finds the stationary point beside it, and certifies what it is. Known of
the ones that fit the r largest singular values, and no other:

    value                                    1/2 sum_(i > r) sigma_i**2
    negative eigenvalues, 2 layers           (n - r)**2, n singular values in all
    negative eigenvalues, 3 layers or more   none: they are saddles, but not strict ones

So 10.5, 2.5 and 0.5 for 4, 2, 1. The run comes the nearer to them, the smaller its start (Jacot et
al. 2021: in the limit it passes through them, proved for the way from the first). How long the
start's scale holds it up: at the saddle of rank r a small part grows at the rate eta sigma_(r+1) in
two layers, so that between scales s and s' < s of the same start the steps until the next jump
differ by

    ln(s / s') / ln(1 + eta sigma_(r+1))

(for diagonal networks, whose jumps come at such times, Pesme and Flammarion 2023); in N >= 3 layers
the time at the origin is inversely proportional to `s**(N - 2)` in the limit.

A tanh network of one hidden layer learns a teacher with two units from as small a start. It is all
but linear there, so that the origin has h rank(E y x^T) negative eigenvalues, h hidden units. Its
next plateau has no closed form: it is held against the best network of one unit, trained by itself,
whose unit, split in several, is a stationary point of the larger one (Fukumizu and Amari 2000). The
search there converges slowly, as the saddle is nearly degenerate: with output scales 3 and 1, and
with a search of 200 steps, it did not arrive. One start only, so it shows that this can happen, not
how often it does. In float64.

https://arxiv.org/abs/2106.15933, https://arxiv.org/abs/2304.00488,
https://doi.org/10.1016/S0893-6080(00)00009-5

Section: Landscape and saddles
Command: python -m experiments run saddle_to_saddle
Cost: quick 39 s of processor time with most programs compiled before, 117 s on 2 busy cores; paper
    67 s of processor time, some programs compiled before
Last result: all 22 claims hold (2026-11-29, quick, 2 busy cores): values 10.5, 2.5, 0.5, of
    9, 4, 1 negative eigenvalues in two layers, none in three; jumps later by 89.7, 176.1, 348.8
    steps, predicted 89.8, 176.1, 348.8; tanh 1.5227 and 0.04348, as predicted. Paper, the same day:
    29 of 31 hold; in four layers a search ends beside the saddle of rank 2, which is not strict,
    where it counts 2 negative eigenvalues instead of none, from either start. With starts of 1e-3
    and 0.1, or looks 250 steps apart, some runs miss the saddle of rank 1, as 4 and 3 are near
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxopt_course import problems, saddle, transforms

from .lab.claims import Claim, at_least, at_most, within
from .lab.fields import Checked, Seed, above, minimum
from .lab.progress import track

VALUE_TOLERANCE = 1e-8
"""Error of a value against its closed form, over the largest value."""
RANK_TOLERANCE = 1e-3
"""Singular values of a product below this are zero."""
JUMP_TOLERANCE = 0.05
"""Error of the steps by which a smaller start is later."""
LIMIT_TOLERANCE = 0.15
"""Error of what holds only in the limit of small starts."""
UNIT_TOLERANCE = 1e-3
"""Error of a plateau's loss against that of a network with fewer units."""
TANH_RATE, TANH_SEARCH = 0.1, 20_000
"""Rate of the tanh network, and steps of a search from its path."""
SYMMETRIES: Callable[[Any], Any] = saddle.change_of_basis_null_space
JACOT, PESME = "Jacot et al. 2021", "Pesme and Flammarion 2023"
SPLIT = "Fukumizu and Amari 2000"


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The networks, their starts, and how long they train."""

    singular_values: tuple[Annotated[float, above(0)], ...] = (4.0, 2.0, 1.0)
    """Singular values of the matrix to learn, descending; layers have as many rows and columns."""
    depths: tuple[Annotated[int, minimum(2)], ...] = (2, 3)
    """Numbers of layers."""
    two_layer_scales: tuple[Annotated[float, above(0)], ...] = (1e-3, 1e-6)
    """Scales of the start of two layers, descending."""
    deep_scales: tuple[Annotated[float, above(0)], ...] = (0.05, 0.0125)
    """Scales of the start of three layers or more, descending."""
    learning_rate: Annotated[float, above(0)] = 0.02
    """Learning rate of gradient descent on linear networks."""
    two_layer_steps: Annotated[int, minimum(1)] = 2000
    """Steps of networks of two layers."""
    deep_steps: Annotated[int, minimum(1)] = 20_000
    """Steps of networks of three layers or more."""
    observations: Annotated[int, minimum(2)] = 500
    """How often each run is observed."""
    tanh_scale: Annotated[float, above(0)] = 1e-5
    """Scale of the start of the tanh network."""
    tanh_hidden: Annotated[int, minimum(2)] = 3
    """Hidden units of the tanh network."""
    tanh_steps: Annotated[int, minimum(1)] = 2000
    """Steps of the tanh network, of rate 0.1."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check what depends on several numbers."""
        super().__post_init__()
        for name in ("singular_values", "two_layer_scales", "deep_scales"):
            values = getattr(self, name)
            if len(values) < 2 or any(b >= a for a, b in itertools.pairwise(values)):
                raise ValueError(f"{name} must be two numbers or more, descending, got {values}")
        for name in ("two_layer_steps", "deep_steps", "tanh_steps"):
            if getattr(self, name) % self.observations:
                raise ValueError(
                    f"{name} must be a multiple of observations = {self.observations}, "
                    f"got {getattr(self, name)}"
                )

    @classmethod
    def quick(cls) -> "Config":
        """Three singular values, two and three layers."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Four singular values, two to four layers."""
        return cls(
            singular_values=(4.0, 3.0, 2.0, 1.0),
            depths=(2, 3, 4),
            two_layer_scales=(1e-6, 1e-9),
            two_layer_steps=20_000,
            deep_steps=2_000_000,
            observations=20_000,
            tanh_steps=20_000,
        )

    def scales(self, depth: int) -> tuple[float, ...]:
        """Return the scales of a depth's starts."""
        return self.two_layer_scales if depth == 2 else self.deep_scales

    def steps(self, depth: int) -> int:
        """Return how many steps a depth trains."""
        return self.two_layer_steps if depth == 2 else self.deep_steps


def _train(config: Config, depth: int, scale: float) -> xr.Dataset:
    """Train one network, and find the saddles that it passes."""
    # The network and its start.
    problem_key, start_key = jax.random.split(jax.random.key(config.seed))
    size = len(config.singular_values)
    problem = problems.linear_network(
        config.singular_values, widths=(size,) * (depth + 1), key=problem_key
    )
    # The same start at every scale, but for the scale.
    start = jax.tree.map(lambda weight: scale * weight, problem.init(start_key))
    # The path, and the saddles beside which it is slow.
    steps = config.steps(depth)
    run = jax.jit(
        lambda start: transforms.path(
            problem.fun,
            transforms.gradient_descent(config.learning_rate),
            start,
            steps,
            every=steps // config.observations,
        )
    )(start)
    found = saddle.path_saddles(
        problem.fun,
        run.observed["params"],
        steps=run.steps,
        null_space=SYMMETRIES,
    )
    # The rank of each, which tells them apart.
    weights = [np.asarray(weight) for weight in jax.tree.leaves(found.params)]
    product = functools.reduce(lambda product, weight: weight @ product, weights)
    ranks = np.linalg.matrix_rank(product, tol=RANK_TOLERANCE)
    at_saddles = {
        "value": found.value,
        "index": found.point.index,
        "min_eigenvalue": found.point.min_eigenvalue,
        "rank": ranks,
        "passed_at": found.step,
        "distance": found.distance,
    }
    known = {point.value: point.index for point in problem.stationary_points}
    values = known_values(config.singular_values)
    return xr.Dataset(
        {name: ("saddle", np.asarray(leaf)) for name, leaf in at_saddles.items()}
        | {
            "step": ("observation", np.asarray(run.steps)),
            "loss": ("observation", np.asarray(run.value)),
            "gradient_norm": ("observation", np.asarray(run.gradient_norm)),
            "known_value": ("known_rank", values),
            "known_index": (
                "known_rank",
                [known[min(known, key=lambda value: abs(value - at))] for at in values],
            ),
            "places": len(found.places.entry),
            "led_nowhere": int(np.sum(np.asarray(found.places.point) < 0)),
            "depth": depth,
            "scale": scale,
        },
        coords={"saddle": np.arange(len(ranks)), "known_rank": np.arange(len(values))},
    )


def _tanh_problem() -> tuple[Any, np.ndarray]:
    """Return the loss of a tanh network on 32 examples of a teacher, and the matrix E y x^T."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(32, 3))
    turned, outputs = (np.linalg.qr(rng.normal(size=(size, size)))[0] for size in (3, 2))
    targets = np.tanh(inputs @ turned[:, :2]) * [3.0, 0.5] @ outputs.T

    def fun(weights):
        incoming, outgoing = weights
        errors = jnp.tanh(inputs @ incoming.T) @ outgoing.T - targets
        return jnp.mean(jnp.sum(errors**2, axis=1)) / 2

    return fun, targets.T @ inputs / len(inputs)


def _train_tanh(config: Config) -> xr.Dataset:
    """Train the tanh network and one of a single unit, and find the saddles of the former's run."""
    fun, moment = _tanh_problem()
    rule = transforms.gradient_descent(TANH_RATE)
    incoming, outgoing = jax.random.split(jax.random.key(config.seed))

    def train(hidden, steps, scale):
        start = (
            scale * jax.random.normal(incoming, (hidden, moment.shape[1])),
            scale * jax.random.normal(outgoing, (moment.shape[0], hidden)),
        )
        every = steps // config.observations
        return jax.jit(lambda start: transforms.path(fun, rule, start, steps, every=every))(start)

    run = train(config.tanh_hidden, config.tanh_steps, config.tanh_scale)
    narrow = train(1, 10 * config.tanh_steps, 0.1)
    found = saddle.path_saddles(fun, run.observed["params"], steps=run.steps, max_steps=TANH_SEARCH)
    at_saddles = {"value": found.value, "index": found.point.index, "passed_at": found.step}
    along = {"step": run.steps, "loss": run.value, "gradient_norm": run.gradient_norm}
    rank = np.linalg.matrix_rank(moment)
    return xr.Dataset(
        {f"tanh_{name}": ("tanh_saddle", np.asarray(leaf)) for name, leaf in at_saddles.items()}
        | {f"tanh_{name}": ("observation", np.asarray(leaf)) for name, leaf in along.items()}
        | {
            "tanh_known_value": (
                "tanh_plateau",
                [float(fun((jnp.zeros((1, 3)), jnp.zeros((2, 1))))), float(narrow.value[-1])],
            ),
            "tanh_known_index": ("tanh_plateau", [config.tanh_hidden * rank, 0]),
            "tanh_narrow_gradient_norm": float(narrow.gradient_norm[-1]),
        }
    )


def known_values(singular_values: tuple[float, ...]) -> np.ndarray:
    """Return the losses at the saddles of rank 0, 1, ..., and at the minimum, 0."""
    squares = np.asarray(singular_values) ** 2
    return np.array([np.sum(squares[rank:]) / 2 for rank in range(squares.size + 1)])


def run(config: Config) -> xr.Dataset:
    """Train every depth from every scale."""
    cases = [(depth, scale) for depth in config.depths for scale in config.scales(depth)]
    with jax.enable_x64(True):
        parts = [_train(config, *case) for case in track(cases, "runs")]
        tanh = _train_tanh(config)
    dataset = xr.merge([xr.concat(parts, "case", join="outer"), tanh])
    return dataset.assign(
        singular_value=("mode", np.asarray(config.singular_values)),
        learning_rate=config.learning_rate,
    )


def passed(part: xr.Dataset, name: str) -> np.ndarray:
    """Return a variable at the stationary points that one run passes, in its order."""
    return part[name].values[np.isfinite(part.value.values)]


def jumps(part: xr.Dataset) -> np.ndarray:
    """Return the steps at which one run is half way down from each known value to the next.

    Linear between observations; NaN for what it never comes to.
    """
    known, loss, step = part.known_value.values, part.loss.values, part.step.values
    crossed = []
    for upper, lower in itertools.pairwise(known):
        half = (upper + lower) / 2
        below = np.flatnonzero(loss < half)
        if not below.size or not below[0]:
            crossed.append(np.nan)
            continue
        after = below[0]
        share = (loss[after - 1] - half) / (loss[after - 1] - loss[after])
        crossed.append(step[after - 1] + share * (step[after] - step[after - 1]))
    return np.array(crossed)


def _listed(numbers: np.ndarray) -> str:
    # The minimum's value is a rounding error, of which no digit counts.
    return ", ".join(f"{0.0 if abs(number) < 1e-12 else number:.6g}" for number in numbers)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge what every run passes, and how it depends on the scale of the start."""
    judged = []
    for case in range(dataset.sizes["case"]):
        part = dataset.isel(case=case)
        title = f"{int(part.depth)} layers from {float(part.scale):g}"
        known, value = part.known_value.values, passed(part, "value")
        alike = value.shape == known.shape
        index, rank = passed(part, "index"), passed(part, "rank")
        judged += [
            Claim(
                f"{title}: the run passes the saddles of rank 0, 1, ... in order and ends at the "
                "minimum (values)",
                f"{JACOT}; closed form",
                _listed(known),
                _listed(value),
                holds=alike and bool(np.allclose(value, known, rtol=0, atol=VALUE_TOLERANCE)),
            ),
            Claim(
                f"{title}: the rank of the map rises by one from each to the next",
                f"{JACOT}, conjecture",
                _listed(part.known_rank.values),
                _listed(rank),
                holds=np.array_equal(rank, part.known_rank.values),
            ),
            Claim(
                f"{title}: as many directions of negative curvature leave them as the closed form "
                + ("says" if int(part.depth) == 2 else "says, none"),
                "Kawaguchi 2016; closed form",
                _listed(part.known_index.values),
                _listed(index),
                holds=np.array_equal(index, part.known_index.values),
            ),
        ]
    for depth in np.unique(dataset.depth.values):
        same = dataset.isel(case=np.flatnonzero(dataset.depth.values == depth))
        judged += _of_scales(same, int(depth), dataset)
    return judged + _of_tanh(dataset)


def _of_tanh(dataset: xr.Dataset) -> list[Claim]:
    """Judge the first two plateaus of the tanh network."""
    value, index = dataset.tanh_value.values, dataset.tanh_index.values
    seen = dict(enumerate(zip(value, index, strict=True)))
    origin, unit = dataset.tanh_known_value.values
    first, second = (seen.get(plateau, (np.nan, np.nan)) for plateau in range(2))
    return [
        within(
            "tanh network: the first plateau is the origin (loss of no units)",
            "loss of zero weights",
            expected=float(origin),
            measured=float(first[0]),
            tolerance=UNIT_TOLERANCE,
        ),
        Claim(
            "tanh network: it has a direction of negative curvature for each unit and each "
            "singular value of E y x^T",
            "Hessian at the origin",
            f"{int(dataset.tanh_known_index[0])}",
            f"{first[1]:g}",
            holds=bool(first[1] == dataset.tanh_known_index[0]),
        ),
        within(
            "tanh network: the second plateau is a stationary point with the loss of the best "
            "network of one unit",
            SPLIT,
            expected=float(unit),
            measured=float(second[0]),
            tolerance=UNIT_TOLERANCE,
        ),
        at_least(
            "tanh network: that is a strict saddle (negative eigenvalues)",
            SPLIT,
            bound=1,
            measured=float(second[1]),
        ),
    ]


def _of_scales(same: xr.Dataset, depth: int, dataset: xr.Dataset) -> list[Claim]:
    """Judge what the largest and the smallest scale of one depth make of the same start."""
    wide, narrow = same.isel(case=0), same.isel(case=-1)
    # How near runs pass each saddle, if both pass all of them.
    far, near = passed(wide, "distance"), passed(narrow, "distance")
    saddles = same.sizes["known_rank"] - 1
    both = min(far.size, near.size) > saddles
    judged = [
        at_most(
            f"{depth} layers: the smaller the start, the nearer the run passes (largest distance "
            "to a saddle over that from the larger start)",
            f"{JACOT}, in the limit",
            bound=0.9,
            measured=float(np.max(near[:saddles] / far[:saddles])) if both else np.nan,
        )
    ]
    # How late they leave: by a logarithm of the scale with two layers, by a power with more.
    shrunk = float(wide.scale / narrow.scale)
    late = jumps(narrow) - jumps(wide)
    if depth == 2:
        for rank, sigma in enumerate(dataset.singular_value.values):
            rate = np.log1p(float(dataset.learning_rate) * sigma)
            judged.append(
                within(
                    f"2 layers: the jump from rank {rank} comes later from the smaller start by "
                    "the logarithm of their ratio over the rate of growth (steps)",
                    f"{PESME}, for diagonal networks",
                    expected=float(np.log(shrunk) / rate),
                    measured=float(late[rank]),
                    tolerance=JUMP_TOLERANCE,
                )
            )
    else:
        judged.append(
            within(
                f"{depth} layers: the time at the origin is inverse to the scale's power "
                f"{depth - 2} (ratio of the two)",
                f"{JACOT}, in the limit",
                expected=shrunk ** (depth - 2),
                measured=float(jumps(narrow)[0] / jumps(wide)[0]),
                tolerance=LIMIT_TOLERANCE,
            )
        )
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw loss and gradient norm of every run, with the saddles beside which it is slow."""
    depths = list(dict.fromkeys(dataset.depth.values.tolist()))
    figure = Figure(figsize=(3.6 * (len(depths) + 1) + 0.6, 6))
    grid = figure.subplots(2, len(depths) + 1, sharex="col", squeeze=False)

    def draw(top, bottom, curve, passed_at, value, label):
        step, loss, norm = curve
        (line,) = top.plot(step, loss, linewidth=1.2, label=label)
        colour = line.get_color()
        bottom.plot(step, norm, linewidth=1.2, color=colour)
        top.plot(passed_at, value, "o", color=colour)
        bottom.plot(passed_at, np.interp(passed_at, step, norm), "o", color=colour)

    # Linear networks, a column a depth.
    for (top, bottom), depth in zip(grid.T, depths, strict=False):
        known = dataset.isel(case=0).known_value.values[:-1]
        for case in np.flatnonzero(dataset.depth.values == depth):
            part = dataset.isel(case=case)
            saddles = slice(0, known.size)
            draw(
                top,
                bottom,
                (part.step, part.loss, part.gradient_norm),
                passed(part, "passed_at")[saddles],
                passed(part, "value")[saddles],
                f"start {float(part.scale):g}",
            )
        top.set(title=f"linear, {depth} layers", yticks=known)
        top.legend()
        _mark(top, known)
    # The tanh network.
    (top, bottom) = grid[:, -1]
    draw(
        top,
        bottom,
        (dataset.tanh_step, dataset.tanh_loss, dataset.tanh_gradient_norm),
        dataset.tanh_passed_at.values,
        dataset.tanh_value.values,
        None,
    )
    top.set(title="tanh, one hidden layer")
    _mark(top, dataset.tanh_known_value.values)
    for bottom in grid[1]:
        bottom.set(xlabel="step", yscale="log", ylim=(1e-6, None))
    grid[0, 0].set(ylabel="loss\n(dashed: known saddles, dots: found)")
    grid[1, 0].set(ylabel="gradient norm")
    figure.suptitle("The plateaus are saddles, each of one rank more, passed in order")
    return figure


def _mark(axes: Axes, values: np.ndarray) -> None:
    for value in values:
        axes.axhline(value, color="0.6", linestyle="--", linewidth=0.8, zorder=0)
