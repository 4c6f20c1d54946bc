r"""Stochastic gradients leave a saddle only where they are noisy along negative curvature.

That noise drives descent from every strict saddle is proven for noise that reaches all directions,
E[xi xi^T] >= sigma^2 I (Ge et al. 2015). The noise of minibatches does not: here stochastic
gradients of `saddle.escape(minibatch=...)` start exactly at seven saddles,

- that of README's function, as a mean over examples of `a_i x_1^2 + b_i (x_2^2 - 1)^2`;
- the six of a linear network with two hidden units that is to learn diag(4, 2.25, 1): at the saddle
  S of a set S of singular values the network has learned those, a unit each. Inputs are all eight
  of entries +-1, so that everything is exact in floating-point numbers.

Where every example's gradient vanishes nothing ever moves. A hidden unit without weights, in or
out, gets no gradient from any example: it stays so for ever, and what only it could learn is not
learned. So at {1} all negative curvature is without noise, and at {2} and {3} the lowest
eigenvector is, but others are not, and runs leave, for {1}.

The noise's covariance is that of batches of the size used, drawn with replacement. Isotropic noise
of the same mean square, on the gradient of all examples, is there to compare; where the covariance
is 0 it gets the norm `reference`. A run has left once it is 5 % of the way down to the minimum. In
float64.

Ge, Huang, Jin and Yuan (2015), https://arxiv.org/abs/1503.02101.

Section: Landscape and saddles
Command: python -m experiments run sgd_saddles
Cost: quick 31 s of processor time with everything to compile; paper not run
Last result: all 7 claims hold, 100 runs of each rule from each saddle (2026-11-29, quick, 2 busy
    cores)
"""

import dataclasses
import itertools
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

from jaxopt_course import saddle, transforms

from .lab import resumable
from .lab.claims import Claim, at_most
from .lab.fields import Checked, Seed, above, minimum
from .lab.progress import track
from .lab.statistics import median_interval, share_interval, show_share

SINGULAR_VALUES = 4.0, 2.25, 1.0
WITHOUT, WITH, ISOTROPIC = "without replacement", "with replacement", "isotropic noise"
RULES = WITHOUT, WITH, ISOTROPIC
LEFT = 0.05
ZERO = 1e-20
"""A variance below this is rounding: those of the saddles are 0 exactly or above 1e-3."""


class Place(NamedTuple):
    """A saddle of an objective over examples.

    Attributes:
        name: As the figure has it.
        fun: The objective, by `saddle.mean_over_batches`.
        params: Where it is, exactly.
        value: Of the objective there.
        minimum: Its least value.
    """

    name: str
    fun: Any
    params: Any
    value: float
    minimum: float


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Batches, and runs from every saddle."""

    runs: Annotated[int, minimum(6)] = 100
    """Runs of every rule from every saddle."""
    batch_size: Annotated[int, minimum(1)] = 2
    """Examples in a batch, of the eight that there are."""
    learning_rate: Annotated[float, above(0)] = 0.02
    """Learning rate of all rules."""
    steps: Annotated[int, minimum(1)] = 1500
    """Steps of every run."""
    reference: Annotated[float, above(0)] = 0.1
    """Norm of isotropic noise where examples have none."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """100 runs."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """1,000 runs of 20,000 steps."""
        return cls(runs=1000, steps=20_000)


def _readme_loss(x: jax.Array, batch: jax.Array) -> jax.Array:
    terms = jnp.stack([x[0] ** 2, (x[1] ** 2 - 1) ** 2])
    return jnp.mean(batch @ terms)


def _network_loss(weights: Any, batch: Any) -> jax.Array:
    inputs, targets = batch
    first, second = weights
    return jnp.mean(jnp.sum((inputs @ first.T @ second.T - targets) ** 2, axis=1)) / 2


def places() -> list[Place]:
    """Return the seven saddles; float64 must be on."""
    # Weights of mean 1, so that the mean over examples is README's function.
    weights = np.array(list(itertools.product((0.5, 1.5), (0.25, 1.75), (0, 0))))[:, :2]
    readme = saddle.mean_over_batches(_readme_loss, weights, len(weights))
    found = [Place("README", readme, jnp.zeros(2), 1.0, 0.0)]
    inputs = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    data = inputs, inputs * np.array(SINGULAR_VALUES)
    network = saddle.mean_over_batches(_network_loss, data, len(inputs))
    for learned in ((), (0,), (1,), (2,), (0, 2), (1, 2)):
        first, second = np.zeros((2, 3)), np.zeros((3, 2))
        for unit, number in enumerate(learned):
            first[unit, number] = second[number, unit] = SINGULAR_VALUES[number] ** 0.5
        rest = [SINGULAR_VALUES[i] ** 2 for i in range(3) if i not in learned]
        name = "{" + ", ".join(str(i + 1) for i in learned) + "}"
        params = (jnp.asarray(first), jnp.asarray(second))
        found.append(Place(name, network, params, sum(rest) / 2, SINGULAR_VALUES[2] ** 2 / 2))
    return found


def noise(place: Place, batch_size: int) -> dict[str, float]:
    """Return what the noise is at a saddle, in all and along negative curvature.

    Returns:
        `total`: trace of the covariance; `weakest`: its smallest eigenvalue, sigma^2 of Ge et al.;
        `lowest`: variance along the lowest eigenvector of the Hessian, the largest in its
        eigenspace; `negative`: the largest along any direction of negative curvature.
    """
    x, unravel = ravel_pytree(place.params)
    examples = jax.tree.map(lambda leaf: leaf[:, None], place.fun.data)
    each = np.asarray(
        jax.vmap(lambda one: jax.grad(lambda x: place.fun.loss(unravel(x), one))(x))(examples)
    )
    spread = each - each.mean(0)
    covariance = spread.T @ spread / len(spread) / batch_size
    values, vectors = np.linalg.eigh(jax.hessian(lambda x: place.fun(unravel(x)))(x))

    def largest(chosen: np.ndarray) -> float:
        part = vectors[:, chosen]
        return float(np.linalg.eigvalsh(part.T @ covariance @ part)[-1])

    return {
        "total": float(np.trace(covariance)),
        "weakest": float(np.linalg.eigvalsh(covariance)[0]),
        "lowest": largest(values < values[0] + 1e-9),
        "negative": largest(values < -1e-9),
    }


def _runs(config: Config, place: Place, rule: str, size: float, keys: jax.Array) -> Any:
    """Run a rule from a saddle, and record values."""
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf] * config.runs), place.params)
    run = partial(
        resumable.escape, place.fun, starts=starts, keys=keys, max_steps=config.steps, title=rule
    )
    run = partial(run, record_every=1)
    if rule == ISOTROPIC:
        rate, scale = jnp.asarray(config.learning_rate), jnp.asarray(size)
        return run(lambda key: transforms.noisy_gradient_descent(rate, scale, key))
    descent = transforms.gradient_descent(config.learning_rate)
    return run(descent, minibatch=config.batch_size, replacement=rule == WITH)


def run(config: Config) -> xr.Dataset:
    """Measure the noise at every saddle, then run every rule from there."""
    base = jax.random.key(config.seed)
    with jax.enable_x64(True):
        known = places()
        shape = len(RULES), len(known), config.runs
        left, end = np.full(shape, np.inf), np.empty(shape)
        covariances = [noise(place, config.batch_size) for place in known]
        for j, place in enumerate(track(known, "saddles")):
            size = covariances[j]["total"] ** 0.5
            for i, rule in enumerate(RULES):
                key = jax.random.fold_in(jax.random.fold_in(base, i), j)
                keys = jax.random.split(key, config.runs)
                runs = _runs(config, place, rule, size if size > 0 else config.reference, keys)
                values = np.asarray(runs.record.value)
                down = values < place.value - LEFT * (place.value - place.minimum)
                left[i, j] = np.where(down.any(1), down.argmax(1), np.inf)
                # The last tenth, as noise keeps values from the minimum itself.
                late = values[:, -max(config.steps // 10, 1) :].mean(1)
                end[i, j] = (late - place.minimum) / (place.value - place.minimum)
    return xr.Dataset(
        {
            "left": (("rule", "saddle", "run"), left),
            "end": (("rule", "saddle", "run"), end),
            **{
                name: ("saddle", [one[name] for one in covariances])
                for name in ("total", "weakest", "lowest", "negative")
            },
            "height": ("saddle", [place.value - place.minimum for place in known]),
        },
        coords={"rule": list(RULES), "saddle": [place.name for place in known]},
        attrs={"seed": config.seed, "steps": config.steps, "batch_size": config.batch_size},
    )


def _shares(dataset: xr.Dataset, rule: str) -> np.ndarray:
    """Return how many runs left each saddle."""
    return np.isfinite(dataset.left.sel(rule=rule)).sum("run").values


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge who leaves which saddles, and what of the noise decides it."""
    runs, names = dataset.sizes["run"], dataset.saddle.values
    negative = dataset.negative.values > ZERO
    lowest = dataset.lowest.values > ZERO
    found = []
    # Who leaves: exactly those that have noise along some negative curvature.
    for rule in (WITHOUT, WITH):
        counts = _shares(dataset, rule)
        agree = np.where(negative, counts == runs, counts == 0)
        shown = ", ".join(f"{name} {n}" for name, n in zip(names, counts, strict=True))
        found.append(
            Claim(
                f"stochastic gradients, {rule}, leave a saddle in every run if they are noisy "
                "along any negative curvature, and in none if they are not",
                "derived: without noise along it a direction stays 0 exactly",
                f"at all of {names.size} saddles, each way at one at least",
                f"at {int(agree.sum())}; of {runs} runs have left: {shown}",
                holds=bool(agree.all()) and bool(negative.any()) and not bool(negative.all()),
            )
        )
    by_others = (_shares(dataset, WITHOUT) > 0) & ~lowest
    found.append(
        Claim(
            "noise along the lowest eigenvector is not what decides: some saddles are left without",
            "measured",
            "1 at least",
            f"{int(by_others.sum())}: {', '.join(names[by_others])}",
            holds=by_others.any(),
        )
    )
    # How long it takes, by how the batches are drawn.
    left = [name for name, way in zip(names, negative, strict=True) if way]
    slow, fast = (
        [median_interval(dataset.left.sel(rule=rule, saddle=name)) for name in left]
        for rule in (WITHOUT, WITH)
    )
    ratios = [one[0] / other[0] for one, other in zip(slow, fast, strict=True)]
    found.append(
        Claim(
            "without replacement stochastic gradients leave later than with: the noise of a pass "
            "adds up to nothing",
            "measured",
            f"intervals of the medians apart at all of {len(left)} saddles",
            "medians' ratios " + ", ".join(f"{ratio:.2g}" for ratio in ratios),
            holds=bool(left) and all(a[1] > b[2] for a, b in zip(slow, fast, strict=True)),
        )
    )
    # Noise in all directions, which the theorem supposes and minibatches do not have.
    counts = _shares(dataset, ISOTROPIC)
    found.append(
        Claim(
            "isotropic noise of the same size leaves every saddle in every run",
            "Ge et al. 2015, Theorem 6",
            f"{runs * names.size} of {runs * names.size}",
            show_share(int(counts.sum()), runs * names.size),
            holds=bool((counts == runs).all()),
        )
    )
    found.append(
        at_most(
            "at no saddle do stochastic gradients meet the assumption E[xi xi^T] >= sigma^2 I: the "
            "largest sigma^2, relative to the mean eigenvalue",
            "Ge et al. 2015, assumption of Algorithm 1",
            bound=1e-9,
            measured=float(
                (dataset.weakest / dataset.total.where(dataset.total > 0, 1)).max(skipna=False)
            ),
        )
    )
    # At {2} and {3} one hidden unit has no weights: it must get some for the rest to be learned.
    lame = [name for name in ("{2}", "{3}") if name in names]
    stuck = (dataset.end.sel(rule=WITHOUT, saddle=lame) > 0.1).sum().item()
    free = (dataset.end.sel(rule=ISOTROPIC, saddle=lame) > 0.1).sum().item()
    total = runs * len(lame)
    apart = share_interval(int(stuck), total)[0] > share_interval(int(free), total)[1]
    found.append(
        Claim(
            "a hidden unit without weights stays so under stochastic gradients: of runs from {2} "
            "and {3} fewer end near the minimum than with isotropic noise",
            "derived: no example has a gradient there",
            "intervals of the shares that do not apart",
            f"not within 10 %: {show_share(int(stuck), total)}, isotropic "
            f"{show_share(int(free), total)}",
            holds=apart,
        )
    )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Draw shares that left, when, and the noise along negative curvature."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    where, when = figure.subplots(1, 2, sharey=True, width_ratios=[1, 1.4])
    names = dataset.saddle.values
    rows = -np.arange(names.size, dtype=float)
    scale = dataset.total.where(dataset.total > 0, 1).values
    floor = 1e-4
    # On the left: the noise along negative curvature.
    for name, marker, colour, label in (
        ("negative", "o", "C0", "any negative curvature"),
        ("lowest", "D", "C1", "the lowest eigenvector"),
    ):
        share = dataset[name].values / scale
        seen = np.where(share > ZERO, share, floor)
        where.plot(
            seen,
            rows + (0.1 if name == "negative" else -0.1),
            marker,
            color=colour,
            label=f"along {label}",
        )
    where.axvline(2 * floor, color="0.7", lw=1)
    where.set(
        xscale="log",
        xlim=(floor / 2, 2),
        xlabel="largest variance over the noise's total (left of the line: 0)",
    )
    where.set_yticks(rows, names)
    where.set_ylabel("saddle")
    where.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    # On the right: when runs left, or that none did.
    steps = dataset.attrs["steps"]
    for k, (rule, marker) in enumerate(zip(RULES, "os^", strict=True)):
        counts = _shares(dataset, rule)
        for row, name, count in zip(rows, names, counts, strict=True):
            at = row + 0.2 - 0.2 * k
            label = rule if row == 0 else None
            if count == 0:
                when.plot(2.0 * steps, at, marker, color=f"C{k}", mfc="white", label=label)
                continue
            middle, low, high = median_interval(dataset.left.sel(rule=rule, saddle=name))
            bar = [[middle - low], [min(high, steps) - middle]]
            when.errorbar(middle, at, xerr=bar, fmt=marker, color=f"C{k}", capsize=2, label=label)
    when.axvline(1.3 * steps, color="0.7", lw=1)
    when.set(
        xscale="log",
        xlabel=f"median steps to leave (bars: 95 %; right of the line: never in {steps:,})",
    )
    when.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    never = int((_shares(dataset, WITHOUT) == 0).sum())
    figure.suptitle(
        f"SGD never leaves {never} of {names.size} saddles: its noise vanishes along their "
        "negative curvature"
    )
    return figure
