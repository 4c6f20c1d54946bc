r"""AdaDelta needs no learning rate: it ends near its best, and near tuned rules, without one.

So the lecture says. It is measured how much each rule depends on its rate.

Every rule runs for the same number of steps with every rate of one grid, from the same starts, on
two objectives:

    network      cross-entropy of a tanh network on some digits, all of them in every step
    quadratic    x' H x / 2, eigenvalues of H from 1/kappa to 1, its axes drawn at random

The final loss is over that of the start. Two ranges of rates, in decades, say how much one may err
in the choice: the rates that end within a factor of the rule's best, and those that lower the loss
to a share of the start's. A rule needs no rate if with the rate 1 it ends near its best and near
tuned rules, whatever its constants, and still does where the loss is multiplied by 10^-3 to 10^3.

AdaDelta's steps carry the units of the parameters, so that the loss's scale should not matter to
them. But its guard eps sets the first steps, to sqrt(eps / (1 - rho)) where it is small beside the
squared gradient and to less where it is not, and all others grow from these. It is varied, too.
Rates of the other rules are chosen on trial seeds, which the judgement does not see, by the same
grid, and kept where the loss is multiplied. Ranges are those within the grid, 10^-4 to 10^3.
Guards of the other rules are the library's: RMSProp's 1e-8 and AdaGrad's 1e-7 are within the root,
as in optax, so that RMSProp does not normalize gradients below 1e-4; Adam's 1e-8 is outside.

Zeiler (2012), https://arxiv.org/abs/1212.5701, with rho = 0.95 and eps = 1e-6 as there.

Section: Adaptive methods
Command: python -m experiments run rate_sensitivity
Cost: quick 37 s of processor time, compilation included; paper not run
Last result: 6 of 20 claims hold, none of the 12 that say AdaDelta needs no rate: with the rate 1 it
ends at 97 and 58 times the loss of its best rate; its range of rates is no wider than other rules',
and its guard and the loss's scale matter as a rate does (2026-11-29, quick)
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import transforms

from .lab import progress
from .lab.claims import Claim, at_most
from .lab.fields import Checked, Seed, a_folder, above, between, minimum, one_of
from .lab.full_batch import IMAGES, check_images, full_batch
from .lab.statistics import mean_interval, show_mean

ADADELTA, RHO = "AdaDelta", 0.95
RULES: dict[str, Callable[..., optax.GradientTransformation]] = {
    "gradient descent": transforms.gradient_descent,
    "heavy ball": lambda rate: transforms.heavy_ball(rate, 0.9),
    "AdaGrad": transforms.adagrad,
    "RMSProp": transforms.rmsprop,
    "Adam": transforms.adam,
    ADADELTA: lambda rate: transforms.adadelta(rate, rho=RHO, eps=1e-6),
}
OBJECTIVES = "network", "quadratic"
DECADES = -4, 3
"""Powers of ten of the smallest and the largest rate."""
SCALES = tuple(10.0**power for power in range(-3, 4))
"""Factors of the loss."""
GUARDS = tuple(10.0**power for power in range(-8, -3))
"""AdaDelta's eps, a hundredfold either way of the paper's."""
LEAST, MOST = 1e-6, 1e3
"""Bounds of a loss over the start's: below the first a run has arrived, above the second diverged;
neither is told further."""


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Rules, rates and objectives."""

    dataset: Annotated[str, one_of(IMAGES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    images: Annotated[int, minimum(10)] = 300
    """Images that the network is trained on."""
    hidden: Annotated[int, minimum(1)] = 16
    """Hidden units of the network."""
    dimension: Annotated[int, minimum(2)] = 20
    """Dimension of the quadratic."""
    condition_number: Annotated[float, above(1)] = 100.0
    """Condition number of the quadratic."""
    steps: Annotated[int, minimum(1)] = 300
    """Steps of every run."""
    rates_a_decade: Annotated[int, minimum(1)] = 4
    """Rates in a decade of the grid, which is the resolution of the ranges."""
    factor: Annotated[float, above(1)] = 10.0
    """Loss over that of the best rate up to which a rate is in its range."""
    share: Annotated[float, between(LEAST, 1)] = 0.1
    """Loss over that of the start at which a run counts as trained."""
    seeds: Annotated[int, minimum(2)] = 5
    """How many starts, each with axes of its own for the quadratic."""
    trials: Annotated[int, minimum(1)] = 3
    """How many further starts, on which rates are chosen."""
    seed: Seed = 0
    """Seed of all keys."""

    def __post_init__(self) -> None:
        """Check that the data set has the images."""
        super().__post_init__()
        check_images(self.dataset, self.images)

    @classmethod
    def quick(cls) -> "Config":
        """Three hundred steps on 300 digits."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Ten times as many steps, all digits, a wider network."""
        return cls(images=1797, hidden=64, dimension=100, steps=3000, rates_a_decade=8, seeds=10)


def _quadratic(config: Config, keys: jax.Array):
    """Return the objective and its starts, pairs of a Hessian and a point."""
    eigenvalues = jnp.geomspace(1 / config.condition_number, 1, config.dimension)

    @jax.vmap
    def start(key):
        axes = jax.random.orthogonal(key, config.dimension)
        point = jax.random.normal(jax.random.fold_in(key, 1), (config.dimension,))
        return (axes * eigenvalues[None]) @ axes.T, point

    return lambda hessian, x: x @ (hessian @ x) / 2, start(keys)


def _network(config: Config, keys: jax.Array):
    """Return what `_quadratic` does: the objective and its starts, pairs of None and weights."""
    network = full_batch(
        config.dataset,
        config.images,
        (config.hidden,),
        loss="cross-entropy",
        folder=config.data_folder,
    )
    return lambda _, weights: network.fun(weights), (None, jax.vmap(network.init)(keys))


def _final_losses(make: Callable, fun: Callable, steps: int):
    """Return a function from a rule's rate or eps, factors of the loss and starts to losses."""

    def one(constant, scale, given, start):
        rule = make(constant)
        slope = jax.grad(lambda x: scale * fun(given, x))

        def step(_, carry):
            x, state = carry
            updates, state = rule.update(slope(x), state, x)
            return optax.apply_updates(x, updates), state

        end, _ = jax.lax.fori_loop(0, steps, step, (start, rule.init(start)))
        loss = fun(given, end) / fun(given, start)
        return jnp.where(jnp.isfinite(loss), jnp.clip(loss, LEAST, MOST), MOST)

    return jax.jit(jax.vmap(one, (None, None, 0, 0)))


def _middle_of_best(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate of least loss, the middle one if several arrive."""
    best = np.flatnonzero(losses <= losses.min())
    return float(rates[best[best.size // 2]])


def run(config: Config) -> xr.Dataset:
    """Run every rule with every rate, with its chosen one on multiples of the loss, and guards."""
    low, high = DECADES
    rates = np.logspace(low, high, (high - low) * config.rates_a_decade + 1)
    keys = jax.random.split(jax.random.key(config.seed), config.trials + config.seeds)
    losses = np.empty((len(OBJECTIVES), len(RULES), len(rates), len(keys)))
    scaled = np.empty((len(OBJECTIVES), len(RULES), len(SCALES), len(keys)))
    guarded = np.empty((len(OBJECTIVES), len(GUARDS), len(keys)))
    chosen = np.empty((len(OBJECTIVES), len(RULES)))
    for i, build in enumerate((_network, _quadratic)):
        fun, starts = build(config, keys)
        for j, (rule, make) in enumerate(progress.track(RULES.items(), OBJECTIVES[i], len(RULES))):
            final = _final_losses(make, fun, config.steps)
            losses[i, j] = [final(rate, 1.0, *starts) for rate in rates]
            # AdaDelta has no rate to choose: that is what is judged.
            trials = np.log(losses[i, j, :, : config.trials]).mean(axis=-1)
            chosen[i, j] = 1.0 if rule == ADADELTA else _middle_of_best(rates, trials)
            scaled[i, j] = [final(chosen[i, j], scale, *starts) for scale in SCALES]
        final = _final_losses(lambda eps: transforms.adadelta(1.0, RHO, eps), fun, config.steps)
        guarded[i] = [final(eps, 1.0, *starts) for eps in GUARDS]
    axes = ("objective", "rule")
    judged = slice(config.trials, None)
    return xr.Dataset(
        {
            "loss": ((*axes, "rate", "seed"), losses[..., judged]),
            "scaled_loss": ((*axes, "scale", "seed"), scaled[..., judged]),
            "guarded_loss": (("objective", "guard", "seed"), guarded[..., judged]),
            "chosen": (axes, chosen),
        },
        coords={
            "objective": list(OBJECTIVES),
            "rule": list(RULES),
            "rate": rates,
            "scale": list(SCALES),
            "guard": list(GUARDS),
        },
        attrs={"factor": config.factor, "share": config.share, "steps": config.steps},
    )


def decades(losses: xr.DataArray, most: xr.DataArray | float) -> xr.DataArray:
    """Return the decades of rates, about the best, whose losses are at most a number.

    Each rate of the grid counts as one spacing; the range ends at the first that is above.
    """
    rates = losses.rate.values
    spacing = np.log10(rates[-1] / rates[0]) / (rates.size - 1)
    good = (losses <= most).transpose(..., "rate")
    ends = good.values
    best = losses.transpose(..., "rate").values.argmin(axis=-1)[..., None]
    place = np.arange(rates.size)
    # On either side of the best rate, the first whose loss is above the number.
    right = np.where(~ends & (place >= best), place, rates.size).min(axis=-1)
    left = np.where(~ends & (place <= best), place, -1).max(axis=-1)
    width = spacing * np.maximum(right - left - 1, 0)
    return good.isel(rate=0, drop=True).copy(data=width)


def ranges(dataset: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the widths of the ranges about the best: within the factor of it, and trained."""
    most = dataset.attrs["factor"] * dataset.loss.min("rate")
    return decades(dataset.loss, most), decades(dataset.loss, dataset.attrs["share"])


def spread(losses: xr.DataArray, over: str) -> xr.DataArray:
    """Return the largest over the smallest loss, in decades."""
    return xr.apply_ufunc(np.log10, losses.max(over) / losses.min(over))


def _below(statement: str, source: str, bound: float, decades_of_loss: xr.DataArray) -> Claim:
    """Claim that a factor between losses is at most a bound, the interval's upper end included."""
    mean, half = mean_interval(decades_of_loss)
    return Claim(
        f"{statement}; factor, {decades_of_loss.size} seeds",
        source,
        f"at most {bound:g}, with the upper end of the 95 % interval",
        f"{10**mean:.3g} (95 %: {10 ** (mean - half):.3g} to {10 ** (mean + half):.3g})",
        mean + half <= np.log10(bound),
    )


def _widest(statement: str, source: str, widths: xr.DataArray) -> Claim:
    """Claim that AdaDelta's range is wider than every other rule's, seed by seed."""
    others = widths.drop_sel(rule=ADADELTA)
    lower = []
    for rule in others.rule.values:
        mean, half = mean_interval(widths.sel(rule=ADADELTA) - others.sel(rule=rule))
        lower.append(mean - half)
    shown = [f"{rule} {show_mean(widths.sel(rule=rule), digits=2)}" for rule in widths.rule.values]
    return Claim(
        statement,
        source,
        "wider than every other rule's, by the lower end of the 95 % interval of the difference",
        "decades: " + ", ".join(shown),
        min(lower) > 0,
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge AdaDelta's need of a rate, its range of rates, and what the loss's scale does."""
    factor, share, steps = (dataset.attrs[name] for name in ("factor", "share", "steps"))
    paper = "Zeiler 2012, section 1"
    near, trained = ranges(dataset)
    found = []
    for objective in dataset.objective.values:
        one = dataset.sel(objective=objective)
        # AdaDelta's loss at rate 1, in orders of magnitude, over its own best and the tuned rules'.
        rateless = np.log10(one.loss.sel(rule=ADADELTA).sel(rate=1.0, method="nearest"))
        own = rateless - np.log10(one.loss.sel(rule=ADADELTA).min("rate"))
        tuned = np.log10(one.scaled_loss.sel(scale=1.0).drop_sel(rule=ADADELTA))
        best = tuned.rule.values[int(tuned.mean("seed").fillna(np.inf).argmin("rule"))]
        scaled = spread(one.scaled_loss, "scale")
        kept = f"{objective}: AdaDelta without a rate"
        # How little AdaDelta needs a rate, and how wide its range of rates is.
        found += [
            _below(
                f"{kept} ends within a factor of {factor:g} of its own best rate, {steps} steps",
                paper,
                factor,
                own,
            ),
            _below(
                f"{kept} ends within a factor of {factor:g} of the best tuned rule, {best}",
                paper,
                factor,
                rateless - tuned.sel(rule=best),
            ),
            _widest(
                f"{objective}: the rates that end within a factor of {factor:g} of a rule's best "
                "span more decades for AdaDelta than for any other",
                paper,
                near.sel(objective=objective),
            ),
            _widest(
                f"{objective}: the rates that lower the loss to {share:g} of the start's span more "
                "decades for AdaDelta than for any other",
                paper,
                trained.sel(objective=objective),
            ),
            # What the scale of the loss, and the guard eps, do to rules with one rate.
            _below(
                f"{kept} ends alike where the loss is multiplied by 10^-3 to 10^3",
                "Zeiler 2012, section 3.2: steps in the parameters' units",
                factor,
                scaled.sel(rule=ADADELTA),
            ),
            _below(
                f"{kept} ends alike with eps from {GUARDS[0]:.0e} to {GUARDS[-1]:.0e}",
                paper,
                factor,
                spread(one.guarded_loss, "guard"),
            ),
            *(
                _below(
                    f"{objective}: {rule} with one rate ends alike where the loss is multiplied by "
                    "10^-3 to 10^3",
                    "derived: the gradient's size cancels, but for eps",
                    factor,
                    scaled.sel(rule=rule),
                )
                for rule in ("AdaGrad", "RMSProp", "Adam")
            ),
            _scale_is_rate(objective, one.sel(rule="gradient descent")),
        ]
    return found


def _scale_is_rate(objective: str, one: xr.Dataset) -> Claim:
    """Claim that to gradient descent a factor of the loss is one of the rate."""
    smaller = one.scaled_loss.sel(scale=[0.01, 0.1])
    as_rate = one.loss.sel(rate=float(one.chosen) * smaller.scale, method="nearest")
    return at_most(
        f"{objective}: to gradient descent a factor of 1/10 or 1/100 of the loss is one of the "
        "rate: largest relative difference of final losses",
        "derived",
        bound=0.01,
        measured=float(np.abs(smaller / as_rate.drop_vars("rate") - 1).max(skipna=False)),
    )


def plot(dataset: xr.Dataset) -> Figure:
    """Draw final losses over rates, with the range near the best thick, over scales and guards."""
    figure = Figure(figsize=(14, 7.4), layout="constrained")
    rows = figure.subplots(2, 3, width_ratios=(2, 1.4, 0.8), sharey=True)
    near, _ = ranges(dataset)
    for (over_rates, over_scales, over_guards), objective in zip(
        rows, dataset.objective.values, strict=True
    ):
        one = dataset.sel(objective=objective)
        for index, (rule, marker) in enumerate(zip(dataset.rule.values, "os^DvP", strict=True)):
            # A larger marker beneath shows where another rule's lies upon it.
            size = 8 if index == 0 else 4
            line: dict[str, Any] = {"color": f"C{index}", "marker": marker, "ms": size}
            if rule == ADADELTA:
                line |= {"color": "black", "lw": 2.5, "zorder": 5}
            mean, half = mean_interval(near.sel(objective=objective, rule=rule))
            label = f"{rule}: {mean:.1f} ± {half:.1f} decades"
            _draw(over_rates, one.loss.sel(rule=rule), "rate", label=label, **line)
            _draw(over_scales, one.scaled_loss.sel(rule=rule), "scale", **line)
        _draw(over_guards, one.guarded_loss, "guard", color="black", marker="P", lw=2.5)
        over_rates.axvline(1, color="0.6", ls=":", lw=1)
        over_rates.axhline(dataset.attrs["share"], color="0.6", ls=":", lw=1)
        over_rates.set(
            xlabel="learning rate",
            ylabel=f"{objective}: final loss / start's",
            title="over the rate; dotted: rate 1, trained",
            ylim=(LEAST / 2, 2 * MOST),
        )
        over_scales.set(xlabel="factor of the loss", title="over the loss's scale, rates kept")
        over_guards.set(xlabel="eps", title="AdaDelta over eps")
        # One legend for the row, beside it: the rules' curves leave no room.
        over_rates.get_legend().remove()
        over_guards.legend(
            *over_rates.get_legend_handles_labels(),
            title=f"rates within a factor {dataset.attrs['factor']:g} of the best",
            loc="center left",
            bbox_to_anchor=(1.02, 0.5),
        )
    figure.suptitle(_title(dataset))
    return figure


def _draw(axis, losses: xr.DataArray, over: str, **line) -> None:
    """Draw the median of seeds with their range."""
    draw.band(losses[over], losses.transpose("seed", over), quantiles=(0, 1), ax=axis, **line)
    axis.set(xscale="log", yscale="log")


def _title(dataset: xr.Dataset) -> str:
    """Return the finding: how far AdaDelta ends from its best rate, and the seeds."""
    ends = dataset.loss.sel(rule=ADADELTA)
    away = ends.sel(rate=1.0, method="nearest") / ends.min("rate")
    shown = ", ".join(
        f"{float(away.sel(objective=name).median()):.0f} times that on the {name}"
        for name in dataset.objective.values
    )
    return (
        f"Loss of AdaDelta without a rate, over that of its best rate: {shown}\n"
        f"(median and range of {dataset.sizes['seed']} seeds, {dataset.attrs['steps']} steps)"
    )
