r"""Noise leaves a strict saddle in steps that grow as ln d, millions of times below the bounds.

The saddle is that of a function whose constants are known exactly,

    f(x) = beta/2 (x_2^2 + ... + x_d^2) - gamma/2 x_1^2 + rho/6 |x_1|^3,    gamma = 2 sqrt(rho eps),

twice as curved as an eps-second-order stationary point may be, with minima at x_1 = +-2 gamma/rho
that lie 2 gamma^3/(3 rho^2) lower. Runs start exactly at the saddle, and have left it once they
are half of that lower. Four rules leave it, each with two sets of constants: those of its theorem,
from `theory` with c = 1, and tuned ones: the length of the noise, relative to 2 gamma/rho, is the
best of a grid, chosen in the middle of the sweeps on runs of their own. Noisy gradient descent
has no constants in its paper. Neon2 counts the gradients of its recursion, the others steps.

Noise of length r has a component of about r/sqrt(d) along x_1, that a step multiplies by
1 + eta gamma, so that the median run leaves after

    ln(2 gamma/rho sqrt(d) / r) / ln(1 + eta gamma)

steps and some, ln(sqrt d)/ln(1 + eta gamma) of them because of the dimension, and a share delta of
the runs is ln(1/delta)/ln(1 + eta gamma) steps late. Neon2's recursion grows as Chebyshev's
polynomials: arccosh(1 + 5 gamma/(8 beta)) stands for the logarithm, where it looks for curvature
below -gamma/2.

The last panel is the lecture's conclusion: where all minima are global and all saddles strict,
perturbed gradient descent gets to a global minimum in polynomial time, here from exact saddles of
two such problems. In float64.

Ge, Huang, Jin and Yuan (2015), https://arxiv.org/abs/1503.02101; Jin et al. (2017),
https://arxiv.org/abs/1703.00887; Jin, Netrapalli and Jordan (2018),
https://arxiv.org/abs/1711.10456; Allen-Zhu and Li (2018), https://arxiv.org/abs/1711.06673.

Section: Landscape and saddles
Command: python -m experiments run polynomial_time
Cost: quick 59 s of processor time, with everything to compile, beside much else; paper not run
Last result: 16 of 17 claims hold (2026-11-29, quick, loaded cores). With rho = 10 accelerated
    descent's bound is 17 steps, where all runs take 51 and more: c = 1 is not "large enough" there.
    With the theorem's constants 2, 16 and 128 dimensions took perturbed descent 199, 220 and 244
    steps. The law's slope in ln d is judged by its interval: 100 runs do not fix it to 15 %
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from jaxopt_course import problems, saddle, theory, transforms

from .lab import resumable
from .lab.claims import Claim, at_most, within
from .lab.fields import Checked, Seed, above, minimum
from .lab.progress import track
from .lab.statistics import median_interval, share_interval, show_share

SMOOTHNESS = 1.0
NOISY, PERTURBED, ACCELERATED, NEON2 = "noisy GD", "perturbed GD", "accelerated GD", "Neon2"
TUNED, THEOREM = "tuned", "theorem"
ARMS = (
    (NOISY, TUNED),
    (PERTURBED, TUNED),
    (PERTURBED, THEOREM),
    (ACCELERATED, TUNED),
    (ACCELERATED, THEOREM),
    (NEON2, TUNED),
    (NEON2, THEOREM),
)
RADII = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Lengths of the noise that tuning tries, relative to the distance of the minima."""
MOST_GRADIENTS = 2**14
SWEEPS = "dimension", "epsilon", "hessian_lipschitz", "failure_probability"
LANDSCAPES = "symmetric factorization", "phase retrieval"
ARRIVED = 1e-6
LATE = (0.2, 0.1, 0.05, 0.02)
"""Shares of the runs whose lateness is compared with the law's."""


class Case(NamedTuple):
    """One saddle, and how surely it is to be left."""

    dimension: int
    epsilon: float
    hessian_lipschitz: float
    failure_probability: float

    @property
    def curvature(self) -> float:
        """The constant gamma."""
        return 2 * (self.hessian_lipschitz * self.epsilon) ** 0.5

    @property
    def distance(self) -> float:
        """Where the minima are."""
        return 2 * self.curvature / self.hessian_lipschitz

    @property
    def depth(self) -> float:
        """How much lower they are."""
        return 2 * self.curvature**3 / (3 * self.hessian_lipschitz**2)

    @property
    def constants(self) -> dict[str, float]:
        """What functions of `theory` take."""
        return {
            "smoothness": SMOOTHNESS,
            "hessian_lipschitz": self.hessian_lipschitz,
            "epsilon": self.epsilon,
            "failure_probability": self.failure_probability,
            "function_gap": self.depth,
            "dimension": self.dimension,
        }


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Saddles, of which one number is varied at a time, and runs at each."""

    dimensions: tuple[Annotated[int, minimum(2)], ...] = (2, 16, 128)
    """Dimensions; the second is that of the other sweeps."""
    epsilons: tuple[Annotated[float, above(0)], ...] = (1e-4, 1e-3, 1e-2)
    """Gradient norms wanted; the second is that of the other sweeps."""
    hessian_lipschitzs: tuple[Annotated[float, above(0)], ...] = (0.1, 1.0, 10.0)
    """Lipschitz constants of the Hessian; the second is that of the other sweeps."""
    failure_probabilities: tuple[Annotated[float, above(0)], ...] = (1e-1, 1e-2, 1e-4)
    """Failure probabilities; the first is that of the other sweeps."""
    runs: Annotated[int, minimum(20)] = 100
    """Runs at each saddle."""
    tuning_runs: Annotated[int, minimum(10)] = 20
    """Runs for each length of the noise in tuning, on keys of their own."""
    max_steps: Annotated[int, minimum(1)] = 2000
    """Most steps of a run."""
    sizes: tuple[Annotated[int, minimum(4)], ...] = (4, 8)
    """Dimensions of the two problems without bad minima."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """100 runs at each saddle."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """10,000 runs, and up to 4,096 dimensions."""
        return cls(
            dimensions=(2, 16, 64, 256, 1024, 4096),
            epsilons=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
            hessian_lipschitzs=(0.01, 0.1, 1.0, 10.0, 100.0),
            runs=10_000,
            max_steps=100_000,
            sizes=(4, 16, 64, 256),
        )


def cases(config: Config) -> list[tuple[str, Case]]:
    """Return every saddle with the sweep that it belongs to."""
    middle = Case(
        config.dimensions[min(1, len(config.dimensions) - 1)],
        config.epsilons[min(1, len(config.epsilons) - 1)],
        config.hessian_lipschitzs[min(1, len(config.hessian_lipschitzs) - 1)],
        config.failure_probabilities[0],
    )
    values: tuple[tuple[Any, ...], ...] = (
        config.dimensions,
        config.epsilons,
        config.hessian_lipschitzs,
        config.failure_probabilities,
    )
    return [
        (sweep, middle._replace(**{sweep: value}))
        for sweep, tried in zip(SWEEPS, values, strict=True)
        for value in tried
    ]


def objective(case: Case) -> Callable[[jax.Array], jax.Array]:
    """Return the module's f; its constants are arrays, so that one program serves all cases."""
    gamma, rho = jnp.asarray(case.curvature), jnp.asarray(case.hessian_lipschitz)

    def fun(x):
        along, across = x[0], x[1:]
        bowl = SMOOTHNESS / 2 * jnp.dot(across, across)
        return bowl - gamma / 2 * along**2 + rho / 6 * jnp.abs(along) ** 3

    return fun


def _neon2_constants(case: Case) -> theory.Neon2Parameters:
    """Return the theorem's constants for what curvature a stationary point may have at most."""
    return theory.neon2_parameters(
        smoothness=SMOOTHNESS,
        hessian_lipschitz=case.hessian_lipschitz,
        curvature=case.curvature / 2,
        failure_probability=case.failure_probability,
        dimension=case.dimension,
    )


def _constants(case: Case, rule: str, kind: str, radius: float) -> dict[str, jax.Array]:
    """Return a rule's constants, its theorem's or with noise of a length relative to the saddle."""
    length = radius * case.distance
    if rule == NOISY:
        found = {"learning_rate": 1 / SMOOTHNESS, "scale": SMOOTHNESS * length}
    elif rule == PERTURBED:
        found = theory.perturbed_gd_parameters(**case.constants)._asdict()
        found.pop("function_threshold")
        if kind == TUNED:
            found |= {"radius": length, "gradient_threshold": case.epsilon}
    elif rule == ACCELERATED:
        found = theory.perturbed_agd_parameters(**case.constants)._asdict()
        if kind == TUNED:
            found |= {"radius": length}
    else:
        found = _neon2_constants(case)._asdict()
        found.pop("num_steps")
        if kind == TUNED:
            found = {"start_radius": length, "end_radius": case.distance / 50}
    # All of one type: a NumPy number among them would make another program than Python's.
    return {name: jnp.asarray(float(value)) for name, value in found.items()}


RULES: dict[str, Callable[..., Any]] = {
    NOISY: transforms.noisy_gradient_descent,
    PERTURBED: transforms.perturbed_gradient_descent,
    ACCELERATED: transforms.perturbed_accelerated_gradient_descent,
}


@partial(jax.jit, static_argnames=("dimension",))
def _neon2_gradients(dimension, case, constants, keys):
    """Return for every key the least bound on the recursion's steps with which Neon2 moves."""
    fun, saddle_point = objective(case), jnp.zeros(dimension)

    def moves(num_steps, key):
        search = transforms.neon2(
            case.distance / 2,
            case.epsilon,
            key=key,
            smoothness=SMOOTHNESS,
            curvature=case.curvature / 2,
            num_steps=num_steps,
            **constants,
        )
        updates, _ = search.update(
            saddle_point, search.init(saddle_point), saddle_point, value_fn=fun
        )
        return jnp.any(updates != 0)

    def one(key):
        def halve(_, ends):
            low, high = ends
            middle = (low + high) // 2
            found = moves(middle, key)
            return jnp.where(found, low, middle), jnp.where(found, middle, high)

        ends = jnp.array(0), jnp.array(MOST_GRADIENTS)
        most = jax.lax.fori_loop(0, MOST_GRADIENTS.bit_length() - 1, halve, ends)[1]
        return jnp.where(most < MOST_GRADIENTS, most.astype(float), jnp.inf)

    return jax.lax.map(one, keys, batch_size=100)


def _lanes(config: Config) -> int:
    """Return how many runs step together: as many in tuning, so that one program does both."""
    return min(config.runs, 1024)


def _steps(
    config: Config, case: Case, rule: str, constants: dict[str, jax.Array], keys: jax.Array
) -> np.ndarray:
    """Return the steps that runs from the saddle take to leave it, infinity for never."""
    if rule == NEON2:
        # Tuning has fewer keys; all shapes are those of the runs, for one program.
        padded = keys[np.resize(np.arange(keys.size), max(keys.size, config.runs))]
        found = _neon2_gradients(case.dimension, case, constants, padded)
        return np.asarray(found)[: keys.size]
    runs = resumable.escape(
        objective(case),
        lambda key: RULES[rule](**constants, key=key),
        jnp.zeros((keys.size, case.dimension)),
        keys,
        max_steps=config.max_steps,
        target_value=jnp.asarray(-case.depth / 2),
        lanes=_lanes(config),
        title=rule,
    )
    arrived = np.asarray(runs.reason) == saddle.Stop.TARGET_VALUE
    return np.where(arrived, np.asarray(runs.steps), np.inf)


def _tune(config: Config, case: Case, rule: str, key: jax.Array) -> float:
    """Return the relative length of the noise with which nine runs in ten leave earliest."""
    keys = jax.random.split(key, config.tuning_runs)
    late = [
        np.quantile(
            _steps(config, case, rule, _constants(case, rule, TUNED, radius), keys),
            0.9,
            method="higher",
        )
        for radius in RADII
    ]
    return RADII[int(np.argmin(late))]


def bound(case: Case, rule: str) -> float:
    """Return how many steps the theorem allows; NaN where its paper has no constants."""
    if rule == PERTURBED:
        return float(theory.perturbed_gd_iterations(**case.constants | {"c": 0.5}))
    if rule == ACCELERATED:
        return float(theory.perturbed_agd_iterations(**case.constants))
    if rule == NEON2:
        return float(_neon2_constants(case).num_steps)
    return np.nan


def growth(case: Case, rule: str) -> float:
    """Return the logarithm of what a step multiplies the component along x_1 by."""
    if rule == NEON2:
        return float(np.arccosh(1 + 5 * case.curvature / (8 * SMOOTHNESS)))
    return float(np.log1p(case.curvature / SMOOTHNESS))


def law(case: Case, kind: str, radius: float, draws: int = 4001) -> float:
    """Return the median steps of perturbed gradient descent by its recursion along x_1 alone."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(draws)
    rest = rng.chisquare(case.dimension - 1, draws)
    share = normal / np.sqrt(normal**2 + rest) * rng.random(draws) ** (1 / case.dimension)
    length = float(_constants(case, PERTURBED, kind, radius)["radius"])
    along, steps = length * np.median(np.abs(share)), 1
    gamma, rho = case.curvature, case.hessian_lipschitz
    while -gamma / 2 * along**2 + rho / 6 * along**3 > -case.depth / 2:
        along += (gamma * along - rho / 2 * along**2) / SMOOTHNESS
        steps += 1
    return steps


def _landscape(name: str, dimension: int) -> problems.Problem:
    if name == "phase retrieval":
        return problems.phase_retrieval(np.eye(dimension)[0])
    spectrum = np.append([2.0, 1.0], np.linspace(0.5, 0.25, dimension - 2))
    return problems.symmetric_factorization(spectrum, rank=2)


def _descend(config: Config, name: str, dimension: int, key: jax.Array) -> np.ndarray:
    """Return steps of perturbed gradient descent from exact saddles to a global minimum."""
    problem = _landscape(name, dimension)
    assert problem.minimum_value is not None
    points = [point for point in problem.stationary_points if point.kind != "MINIMUM"]
    # Twenty of the saddles are enough, spread from the lowest to the highest.
    chosen = np.linspace(0, len(points) - 1, min(len(points), 20)).round().astype(int)
    saddles = np.stack([points[i].params for i in chosen])
    starts = jnp.asarray(saddles[np.arange(config.runs) % len(saddles)])
    runs = resumable.escape(
        problem.fun,
        lambda key: transforms.perturbed_gradient_descent(0.04, 0.01, 1e-2, 200, key),
        starts,
        jax.random.split(key, config.runs),
        max_steps=config.max_steps,
        target_value=problem.minimum_value + ARRIVED,
        title=name,
    )
    arrived = np.asarray(runs.reason) == saddle.Stop.TARGET_VALUE
    return np.where(arrived, np.asarray(runs.steps), np.inf)


def run(config: Config) -> xr.Dataset:
    """Tune every rule in the middle, leave every saddle, then descend to global minima."""
    named = cases(config)
    of_tuning, of_runs, of_landscapes = jax.random.split(jax.random.key(config.seed), 3)
    middle = named[0][1]._replace(dimension=named[-1][1].dimension)
    steps = np.empty((len(ARMS), len(named), config.runs))
    radii = np.full(len(ARMS), np.nan)
    with jax.enable_x64(True):
        for i, (rule, kind) in enumerate(track(ARMS, "rules")):
            # The radius of every tuned rule, in the middle of all sweeps.
            if kind == TUNED:
                radii[i] = _tune(config, middle, rule, jax.random.fold_in(of_tuning, i))
            # Steps of every rule from every saddle.
            for j, (_, case) in enumerate(named):
                key = jax.random.fold_in(jax.random.fold_in(of_runs, i), j)
                constants = _constants(case, rule, kind, radii[i])
                steps[i, j] = _steps(
                    config, case, rule, constants, jax.random.split(key, config.runs)
                )
        # Descent to global minima.
        ends = [
            [
                _descend(config, name, size, jax.random.fold_in(of_landscapes, 100 * k + size))
                for size in config.sizes
            ]
            for k, name in enumerate(LANDSCAPES)
        ]
        derived = [
            [law(case, kind, radii[i]) if rule == PERTURBED else np.nan for _, case in named]
            for i, (rule, kind) in enumerate(ARMS)
        ]
    return xr.Dataset(
        {
            "steps": (("arm", "case", "run"), steps),
            "radius": ("arm", radii),
            "bound": (
                ("arm", "case"),
                [[bound(case, rule) for _, case in named] for rule, _ in ARMS],
            ),
            "growth": (("arm", "case"), [[growth(c, rule) for _, c in named] for rule, _ in ARMS]),
            "law": (("arm", "case"), derived),
            "sweep": ("case", [sweep for sweep, _ in named]),
            **{name: ("case", [getattr(case, name) for _, case in named]) for name in SWEEPS},
            "to_minimum": (("landscape", "size", "run"), ends),
        },
        coords={
            "arm": [f"{rule}, {kind}" for rule, kind in ARMS],
            "landscape": list(LANDSCAPES),
            "size": list(config.sizes),
        },
        attrs={"seed": config.seed, "max_steps": config.max_steps},
    )


def medians(steps: xr.DataArray) -> np.ndarray:
    """Return the median over runs with its 95 % interval, a last axis of three."""
    flat = steps.values.reshape(-1, steps.sizes["run"])
    return np.array([median_interval(one) for one in flat]).reshape(*steps.shape[:-1], 3)


def exponent(
    x: np.ndarray, steps: xr.DataArray, *, logs: bool = True
) -> tuple[float, float, float]:
    """Return the slope of the median steps over ln x, and the ends of a bootstrap interval.

    With `logs` it is the slope of the logarithm of the steps: an exponent.
    """
    values = steps.values
    again = np.random.default_rng(0).integers(0, values.shape[-1], (200, values.shape[-1]))
    with np.errstate(all="ignore"):  # Runs that never left.
        slopes = _slopes(x, np.median(values[:, again], axis=-1), logs)
        slope = _slopes(x, np.median(values, axis=-1), logs)
        low, high = np.quantile(slopes, [0.025, 0.975])
    return float(slope), float(low), float(high)


def _slopes(x: np.ndarray, y: np.ndarray, logs: bool) -> np.ndarray:
    """Return least-squares slopes over ln x, the first axis, of y or its logarithm."""
    away = np.log(x) - np.log(x).mean()
    return away @ (np.log(y) if logs else y) / (away @ away)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge growth with each number, the bounds, and the way to global minima."""
    return [
        *_dimension_claims(dataset),
        *_exponent_claims(dataset),
        *_bound_claims(dataset),
        *_landscape_claims(dataset),
    ]


def _sweep(dataset: xr.Dataset, name: str) -> xr.Dataset:
    return dataset.isel(case=(dataset.sweep == name).values)


def _dimension_claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge how many steps the dimension, and an unlucky draw, cost."""
    part, found = _sweep(dataset, "dimension"), []
    # How median steps grow with the dimension.
    for rule in (NOISY, PERTURBED, NEON2):
        one = part.sel(arm=f"{rule}, {TUNED}")
        ends = exponent(one.dimension.values, one.steps, logs=False)
        middle, low, high = (end * 2 * float(one.growth[0]) for end in ends)
        found.append(
            Claim(
                f"{rule}: median steps grow as ln(sqrt d) over the logarithm of a step's growth: "
                "slope over the law's",
                "derived: the noise's component along the eigenvector is 1/sqrt(d) of it",
                "the 95 % interval, at most 0.6 wide, meets 1 within 15 %",
                f"{middle:.3f} (95 % interval {low:.3f} to {high:.3f})",
                holds=bool(low <= 1.15 and high >= 0.85 and high - low <= 0.6),
            )
        )
    # Not only their growth: the median steps themselves.
    for kind in (TUNED, THEOREM):
        one = dataset.sel(arm=f"{PERTURBED}, {kind}")
        ratio = medians(one.steps)[:, 0] / one.law.values
        worst = ratio[int(np.abs(ratio - 1).argmax())]
        found.append(
            within(
                f"{PERTURBED}, {kind} constants: median steps are those of the recursion along the "
                f"eigenvector, the worst of {ratio.size} saddles",
                "derived",
                expected=1.0,
                measured=float(worst),
                tolerance=0.1,
            )
        )
    # All saddles are like the middle one but for the dimension: the odds are the same there.
    one = part.sel(arm=f"{PERTURBED}, {TUNED}")
    late = np.quantile(one.steps.values, 1 - np.array(LATE), axis=-1, method="higher")
    slopes = _slopes(1 / np.array(LATE), late, logs=False) * one.growth.values
    found.append(
        within(
            f"{PERTURBED}: a share delta of runs is late by ln(1/delta) over the logarithm of a "
            f"step's growth, mean over {slopes.size} dimensions: slope over the law's",
            "derived: the noise's component has a flat density at 0",
            expected=1.0,
            measured=float(slopes.mean()),
            tolerance=0.2,
        )
    )
    return found


def _exponent_claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge exponents in epsilon and rho, which the theorems bound."""
    found = []
    part = _sweep(dataset, "epsilon")
    # The bounds have Delta, how far f can fall from such a saddle: in proportion to epsilon^(3/2).
    for rule, power in ((PERTURBED, 0.5), (ACCELERATED, 0.25)):
        one = part.sel(arm=f"{rule}, {THEOREM}")
        middle, low, high = exponent(1 / one.epsilon.values, one.steps)
        found.append(
            Claim(
                f"{rule}, theorem's constants: steps to leave grow as (1/epsilon)^p, p at most "
                f"that of the bound at such a saddle, {power:g}, and 0.1 for logarithms",
                "Jin et al. 2017, Theorem 3; Jin et al. 2018, Theorem 3",
                f"the 95 % interval below {power + 0.1:g}",
                f"{middle:.3f} (95 % interval {low:.3f} to {high:.3f})",
                holds=high <= power + 0.1,
            )
        )
    for sweep in ("epsilon", "hessian_lipschitz"):
        part = _sweep(dataset, sweep)
        sign = -1 if sweep == "epsilon" else 1
        pairs = [
            exponent(part[sweep].values ** float(sign), part.steps.sel(arm=f"{rule}, {TUNED}"))
            for rule in (PERTURBED, ACCELERATED)
        ]
        shown = ", ".join(f"{m:.2f} ({lo:.2f} to {hi:.2f})" for m, lo, hi in pairs)
        expected = "perturbed GD's interval about -1/2, momentum's nearer to 0"
        if sweep == "epsilon":
            expected = "perturbed GD's interval about 1/2, momentum's nearer to 0"
        plain, fast = ([abs(end) for end in pair[1:]] for pair in pairs)
        found.append(
            Claim(
                f"with noise of the saddle's size, steps grow as a power of {sweep}, the smaller "
                "with momentum",
                "derived: steps grow by 1 + eta gamma, with momentum by about 1 + sqrt(eta gamma)",
                expected,
                f"exponents {shown}",
                holds=0.4 <= min(plain) <= max(plain) <= 0.6 and max(fast) < min(plain),
            )
        )
    return found


def _bound_claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the guarantees that the theorems make."""
    found = []
    for rule, source in (
        (PERTURBED, "Jin et al. 2017, Theorem 3"),
        (ACCELERATED, "Jin et al. 2018, Theorem 3"),
        (NEON2, "Allen-Zhu and Li 2018, Theorem 3"),
    ):
        one = dataset.sel(arm=f"{rule}, {THEOREM}")
        late = (one.steps > one.bound).sum("run").values
        runs = dataset.sizes["run"]
        # Each saddle has its own delta, and no more than this share of its runs may be late.
        allowed = one.failure_probability.values
        ends = np.array([share_interval(int(count), runs)[0] for count in late])
        ratio = float((one.steps.max() / one.bound.min()).item())
        found.append(
            Claim(
                f"{rule}, theorem's constants: at no saddle more than a share delta of the runs "
                "takes longer than the bound",
                source,
                f"no interval above delta at {late.size} saddles",
                f"{show_share(int(late.sum()), runs * late.size)} late, above delta at "
                f"{int((ends > allowed).sum())} of {late.size}; the slowest run took {ratio:.2g} "
                "of the smallest bound",
                holds=bool((ends <= allowed).all()),
            )
        )
    return found


def _landscape_claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the way to global minima: that all runs arrive, and the exponent in d."""
    found = []
    for name in dataset.landscape.values:
        one = dataset.to_minimum.sel(landscape=name)
        arrived = int(np.isfinite(one.values).sum())
        found.append(
            Claim(
                f"{name}: from exact saddles all runs get to a global minimum",
                "Jin et al. 2017, with the problem's own landscape",
                f"{one.size} of {one.size} within {dataset.attrs['max_steps']} steps",
                show_share(arrived, one.size),
                holds=arrived == one.size,
            )
        )
        found.append(
            at_most(
                f"{name}: steps to the global minimum grow at most linearly with the dimension: "
                "upper end of the exponent's 95 % interval",
                "polynomial time",
                bound=1.0,
                measured=exponent(dataset["size"].values, one)[2],
            )
        )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the steps against each number, laws and bounds beside them."""
    figure = Figure(figsize=(12, 9), layout="constrained")
    grid = figure.subplots(2, 3)
    labels = {
        "dimension": "dimension d",
        "epsilon": "epsilon",
        "hessian_lipschitz": "Lipschitz constant rho of the Hessian",
        "failure_probability": "failure probability delta of the constants",
    }
    for axes, sweep in zip(grid.flat, SWEEPS, strict=False):
        _draw_sweep(axes, _sweep(dataset, sweep), sweep)
        axes.set(xlabel=labels[sweep])
    for axes in grid[:, 0]:
        axes.set_ylabel("steps to leave (bars: 95 %)")
    _draw_late(grid[1, 1], dataset)
    _draw_landscapes(grid[1, 2], dataset)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5)
    part = _sweep(dataset, "dimension").sel(arm=f"{PERTURBED}, {TUNED}")
    first, last = medians(part.steps)[[0, -1], 0]
    figure.suptitle(
        f"From d = {int(part.dimension[0])} to {int(part.dimension[-1]):,} tuned perturbed GD "
        f"takes {first:.0f} to {last:.0f} steps; the theorem allows {float(part.bound[-1]):.0e}"
    )
    return figure


COLOURS = {NOISY: "C4", PERTURBED: "C0", ACCELERATED: "C1", NEON2: "C2"}


def _draw_sweep(axes: Axes, part: xr.Dataset, sweep: str) -> None:
    """Draw medians of every arm, and of each rule the bound."""
    x = part[sweep].values
    width = np.log(x.max() / x.min())
    for number, (rule, kind) in enumerate(ARMS):
        one = part.sel(arm=f"{rule}, {kind}")
        middle, low, high = medians(one.steps).T
        tuned = kind == TUNED
        # Rules that take as long are drawn side by side, noisy and perturbed descent above all.
        shift = np.exp((number - len(ARMS) // 2) * 0.012 * width)
        axes.errorbar(
            x * shift,
            middle,
            [middle - low, high - middle],
            fmt="o-" if tuned else "s--",
            mfc=COLOURS[rule] if tuned else "white",
            color=COLOURS[rule],
            ms=4,
            lw=1.2,
            capsize=2,
            label=f"{rule}, {kind}",
        )
        if not tuned:
            axes.plot(x, one.bound, ":", color=COLOURS[rule], lw=1.2, label=f"{rule}, bound")
    axes.set(xscale="log", yscale="log")


def _draw_late(axes: Axes, dataset: xr.Dataset) -> None:
    """Draw the share of runs that have not left yet, with the law's slope."""
    part = _sweep(dataset, "dimension").sel(arm=f"{PERTURBED}, {TUNED}")
    for number in range(part.sizes["case"]):
        one = part.isel(case=number)
        steps = np.sort(one.steps.values)
        left = 1 - np.arange(1, steps.size + 1) / steps.size
        axes.plot(steps, left, drawstyle="steps-post", label=f"d = {int(one.dimension)}")
    at = np.array([np.median(steps), steps.max()])
    axes.plot(at, np.exp(-(at - at[0]) * float(part.growth[0])) / 2, "k:", label="slope of the law")
    axes.set(
        yscale="log",
        ylim=(1 / steps.size, 1.1),
        xlabel="steps",
        ylabel="share of runs still there",
        title="perturbed GD, tuned",
    )
    axes.legend()


def _draw_landscapes(axes: Axes, dataset: xr.Dataset) -> None:
    """Draw steps to the global minimum over the dimension."""
    for name, marker in zip(dataset.landscape.values, "os", strict=True):
        one = dataset.to_minimum.sel(landscape=name)
        middle, low, high = medians(one).T
        axes.errorbar(
            dataset["size"],
            middle,
            [middle - low, high - middle],
            fmt=f"{marker}-",
            capsize=2,
            label=name,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="dimension d",
        ylabel="steps to a global minimum",
        title="from exact saddles, perturbed GD",
        # Powers of ten alone leave so short a range without a number.
        xticks=dataset["size"].values,
        xticklabels=[f"{size:,}" for size in dataset["size"].values],
    )
    axes.xaxis.set_minor_locator(NullLocator())
    for side in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        side(StrMethodFormatter("{x:,.0f}"))
    axes.legend()
