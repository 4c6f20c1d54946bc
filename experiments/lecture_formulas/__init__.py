"""Where the lecture's formulas differ from the papers', the difference can be the whole method.

Both forms of every rule are run on the smallest problem that tells them apart: a constant gradient,
a quadratic in one dimension, `1/2 ||x||^2` in many, normal random data. What each difference does
is known in closed form; `docs/lecture_formulas.md` is written from the measurements by

    python -m experiments.lecture_formulas docs/lecture_formulas.md

Section: Adaptive methods
Command: python -m experiments run lecture_formulas
Cost: quick 10 s; paper 20 s with more curvatures and dimensions; on 2 cores
Last result: all 20 claims hold (2026-11-27, quick, 2 cores)
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..lab import progress
from ..lab.claims import Claim, at_most, within
from . import _forms as forms
from ._config import Config
from ._forms import DECAY, spectral_radius

__all__ = ["Config", "claims", "plot", "run"]

FORMS = ["paper", "lecture"]
SOURCE = "closed form"
BEFORE = "measured before, by another implementation"
# Growth a step of the lecture's look-ahead at learning rate 0.01, by curvature.
GROWTH = {1.0: 0.99, 2.2: 1.0915, 10.0: 8.19}


def run(config: Config) -> xr.Dataset:
    """Run both forms of every rule."""
    gradient, eps = config.gradient, config.eps
    gradients = np.geomspace(1e-3, 1e3, 7)
    rates, curvatures = config.learning_rates, config.curvatures
    # What is measured of every rule, with the names of its axes.
    measurements: dict[str, tuple[Any, Callable[[], np.ndarray]]] = {
        "first_step": (("rule", "form"), lambda: forms.first_steps(gradient, eps)),
        "late_step": (("form", "gradient"), lambda: forms.rootless_steps(gradients, eps)),
        "adam_step": (("form", "step"), lambda: forms.adam_steps(gradient, eps, config.adam_steps)),
        "momentum_end": (("schedule", "form"), forms.momentum_ends),
        "growth": (
            ("form", "learning_rate", "curvature"),
            lambda: forms.look_ahead_growth(rates, curvatures),
        ),
        "adadelta_norm": (
            ("form", "dimension", "time"),
            lambda: forms.adadelta_norms(config.dimensions, 60),
        ),
        "climb": (("climb_time",), lambda: forms.climbing_values(200)),
        "batch_norm_error": (
            ("form", "batch_size"),
            lambda: forms.batch_norm_errors(config.batch_sizes),
        ),
        "elu_jump": (("form", "threshold"), lambda: forms.elu_jumps(config.thresholds)),
    }
    # The measurements, in double precision.
    with jax.enable_x64(True):
        data = {
            name: (dimensions, measure())
            for name, (dimensions, measure) in progress.track(measurements.items(), "rules")
        }
    coords = {
        "form": FORMS,
        "rule": ["AdaGrad", "RMSProp"],
        "gradient": gradients,
        "step": np.arange(1, config.adam_steps + 1),
        "schedule": ["constant", "warm-up"],
        "learning_rate": list(rates),
        "curvature": list(curvatures),
        "dimension": list(config.dimensions),
        "batch_size": list(config.batch_sizes),
        "threshold": list(config.thresholds),
    }
    return xr.Dataset(data, coords, {"gradient": gradient, "eps": eps})


def adam_ratio(dataset: xr.Dataset) -> xr.DataArray:
    """Return the lecture's Adam step over the paper's, by step."""
    return dataset.adam_step.sel(form="lecture") / dataset.adam_step.sel(form="paper")


def _growth_claims(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed of the growth a step of Nesterov's method."""
    worst = 0.0
    right = []
    for rate in dataset.learning_rate.values:
        for curvature in dataset.curvature.values:
            growth = dataset.growth.sel(learning_rate=rate, curvature=curvature)
            predicted = spectral_radius("lecture", rate, curvature)
            worst = max(worst, abs(growth.sel(form="lecture").item() / predicted - 1))
            threshold = (1 + DECAY) / (DECAY + rate / 2)
            diverges = growth.sel(form="lecture").item() > 1
            converges = growth.sel(form="paper").item() < 1
            right.append(diverges == (curvature > threshold) and converges)
    return [
        at_most(
            "Nesterov, look-ahead x + beta v: growth a step against the spectral radius, largest "
            "relative deviation",
            SOURCE,
            bound=0.01,
            measured=worst,
        ),
        Claim(
            "Nesterov: the lecture's look-ahead diverges exactly where the curvature exceeds "
            "(1 + beta)/(beta + eta/2), for every rate eta; the paper's converges everywhere",
            SOURCE,
            f"in all of {len(right)} runs",
            f"in {sum(right)} of {len(right)}",
            all(right),
        ),
        *_growth_measured_before(dataset),
    ]


def _growth_measured_before(dataset: xr.Dataset) -> list[Claim]:
    if 0.01 not in dataset.learning_rate or not set(GROWTH) <= set(dataset.curvature.values):
        return []
    lecture = dataset.growth.sel(form="lecture", learning_rate=0.01, curvature=list(GROWTH))
    expected = np.array(list(GROWTH.values()))
    return [
        Claim(
            "Nesterov, look-ahead x + beta v: growth a step at learning rate 0.01 and curvatures "
            + ", ".join(f"{curvature:g}" for curvature in GROWTH),
            BEFORE,
            ", ".join(f"{growth:g}" for growth in expected) + ", each within 1 %",
            ", ".join(f"{growth:.4g}" for growth in lecture.values),
            bool(np.all(abs(lecture.values / expected - 1) <= 0.01)),
        )
    ]


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Hold every difference against its closed form."""
    gradient, eps = dataset.attrs["gradient"], dataset.attrs["eps"]
    # The lecture's first step divides by an accumulator that is still 0, and so by eps alone.
    predicted = {
        ("AdaGrad", "paper"): gradient / (gradient + eps),
        ("AdaGrad", "lecture"): gradient / eps,
        ("RMSProp", "paper"): gradient / np.sqrt(0.1 * gradient**2 + eps),
        ("RMSProp", "lecture"): gradient / np.sqrt(eps),
    }
    found = [
        within(
            f"{rule}, {form}'s form: first step in learning rates at gradient {gradient}",
            SOURCE,
            expected=float(expected),
            measured=dataset.first_step.sel(rule=rule, form=form).item(),
            tolerance=1e-6,
        )
        for (rule, form), expected in predicted.items()
    ]
    # After many equal gradients the root makes RMSProp's step free of their size.
    logs = np.log(dataset.gradient)
    for form, power in (("paper", 0.0), ("lecture", -1.0)):
        slope = np.polyfit(logs, np.log(dataset.late_step.sel(form=form)), 1)[0]
        name = "with the root" if form == "paper" else "without the root (exponent -1)"
        found.append(
            at_most(
                f"RMSProp {name}: the step goes as the gradient to the power {power:g}; deviation",
                SOURCE,
                bound=0.01,
                measured=abs(slope - power),
            )
        )
    # Adam without bias correction: by how much its steps are too long, and for how long.
    ratio = adam_ratio(dataset)
    step = dataset.step
    exact = (1 - DECAY**step) / np.sqrt(1 - 0.999**step)
    settled = int(np.flatnonzero(ratio > 1.05).max(initial=-1)) + 2
    found += [
        at_most(
            "Adam without bias correction: steps are (1 - b1^t)/sqrt(1 - b2^t) times the paper's; "
            "largest relative deviation",
            SOURCE,
            bound=1e-3,
            measured=float(abs(ratio / exact - 1).max(skipna=False)),
        ),
        Claim(
            "Adam without bias correction steps up to 6.57 times too far, at t = 12, and is within "
            "5 % from t = 2375 on",
            SOURCE,
            "6.57 at t = 12; t = 2375",
            f"{ratio.max().item():.2f} at t = {ratio.argmax('step').item() + 1}; t = {settled}",
            f"{ratio.max().item():.2f}" == "6.57"
            and ratio.argmax("step").item() == 11
            and abs(settled - 2375) <= 2,
        ),
    ]
    # The two forms of momentum part only where the rate changes.
    apart = abs(dataset.momentum_end.diff("form")).squeeze("form")
    found.append(
        Claim(
            "momentum with the rate outside the velocity equals Polyak's at a constant rate only",
            SOURCE,
            "equal to 1e-12 at a constant rate, apart by more than 0.01 under warm-up",
            f"{apart.sel(schedule='constant').item():.1e} and "
            f"{apart.sel(schedule='warm-up').item():.3f}",
            apart.sel(schedule="constant").item() <= 1e-12
            and apart.sel(schedule="warm-up").item() > 0.01,
        )
    )
    return found + _growth_claims(dataset) + _adadelta_claims(dataset) + _network_claims(dataset)


def _network_claims(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed of batch normalization's gradient and of ELU."""
    error, jump = dataset.batch_norm_error, dataset.elu_jump
    # For standard normal data the means of the products with the factor (z - mu), the paper's, and
    # without it, the lecture's, are independent and have variance 1/m each.
    expected = np.sqrt(2 / dataset.batch_size)
    gap = dataset.threshold - np.expm1(dataset.threshold)
    return [
        at_most(
            "batch normalization backward, paper's form: largest relative deviation from automatic "
            "differentiation",
            SOURCE,
            bound=1e-12,
            measured=error.sel(form="paper").max(skipna=False).item(),
        ),
        at_most(
            "batch normalization backward without the factor (z - mu): the relative error is "
            "sqrt(2/m) for batches of m; largest relative deviation from that",
            SOURCE,
            bound=0.1,
            measured=float(abs(error.sel(form="lecture") / expected - 1).max(skipna=False)),
        ),
        at_most(
            "ELU with a threshold, continuous form: largest jump at the threshold",
            SOURCE,
            bound=1e-12,
            measured=float(abs(jump.sel(form="paper")).max(skipna=False)),
        ),
        at_most(
            "ELU with a threshold, lecture's form: jumps by theta - alpha (exp(theta) - 1); "
            "largest deviation from that",
            SOURCE,
            bound=1e-12,
            measured=float(abs(jump.sel(form="lecture") - gap).max(skipna=False)),
        ),
    ]


def _adadelta_claims(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed of AdaDelta with one average for all coordinates."""
    norms = dataset.adadelta_norm
    largest = dataset.dimension.max().item()
    lecture = norms.sel(form="lecture", dimension=largest)
    start = norms.isel(time=0)
    largest_norm = norms.sel(form="paper").max("time", skipna=False)
    elementwise = (largest_norm / start.sel(form="paper")).max(skipna=False)
    return [
        *_overflow_measured_before(norms),
        within(
            f"AdaDelta with one average of ||dx||^2: growth a step in d = {largest} is sqrt(d)",
            SOURCE,
            expected=float(np.sqrt(largest)),
            measured=(lecture.isel(time=40) / lecture.isel(time=39)).item(),
            tolerance=0.01,
        ),
        at_most(
            "AdaDelta elementwise never leaves its start's distance in any dimension: largest "
            "||x|| over that of the start",
            "Zeiler 2012, algorithm 1",
            bound=1.0,
            measured=elementwise.item(),
        ),
        Claim(
            "AdaDelta with the sign as printed climbs at every step",
            SOURCE,
            "value rises in all of 200 steps",
            f"in {int((dataset.climb.diff('climb_time') > 0).sum())}",
            bool((dataset.climb.diff("climb_time") > 0).all()),
        ),
    ]


def _overflow_measured_before(norms: xr.DataArray) -> list[Claim]:
    if 100 not in norms.dimension:
        return []
    values = 0.5 * norms.sel(form="lecture") ** 2
    grown = values.sel(dimension=100).isel(time=12).item()
    small = values.sel(dimension=values.dimension <= 10)
    rise = float((small.max("time") / small.isel(time=0)).max())
    return [
        Claim(
            "AdaDelta with one average of ||dx||^2 explodes in d = 100: 13th value of ||x||^2/2, "
            "after 12 steps; for d <= 10 none exceeds the first",
            BEFORE,
            "6.7e12 within 1 %; 1 times the start at most",
            f"{grown:.2e}; {rise:.2f} times",
            abs(grown / 6.7e12 - 1) <= 0.01 and rise <= 1,
        )
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw one panel a difference, the paper's form blue and the lecture's red."""
    figure = Figure(figsize=(14, 6.4), layout="constrained")
    (first, root, adam, backward), (momentum, ahead, delta, jump) = figure.subplots(2, 4)
    colours = dict(zip(FORMS, ("C0", "C1"), strict=True))
    # Both forms in every panel.
    for offset, (form, colour) in zip((-0.2, 0.2), colours.items(), strict=True):
        heights = dataset.first_step.sel(form=form)
        bars = first.bar(np.arange(2) + offset, heights, 0.38, color=colour, label=f"{form}'s form")
        first.bar_label(bars, [f"{h:,.0f}" if h > 10 else f"{h:.2f}" for h in heights.values])
        root.loglog(dataset.gradient, dataset.late_step.sel(form=form), "o-", color=colour)
        offsets = np.arange(2) + offset
        momentum.bar(offsets, dataset.momentum_end.sel(form=form), 0.38, color=colour)
        growth = dataset.growth.sel(form=form).isel(learning_rate=0)
        ahead.semilogy(dataset.curvature, growth, "o-", color=colour)
        for i in (-1, 1):
            norms = dataset.adadelta_norm.sel(form=form).isel(dimension=i)
            style = "-" if i == -1 else "--"
            label = f"d = {dataset.dimension.values[i]}" if form == "lecture" else None
            delta.semilogy(norms.isel(time=slice(0, 31)), style, color=colour, label=label)
        errors = dataset.batch_norm_error.sel(form=form)
        backward.loglog(dataset.batch_size, errors, "o-", color=colour)
        jump.plot(dataset.threshold, dataset.elu_jump.sel(form=form), "o-", color=colour)
    # The panels one by one: axes, and lines to compare with.
    first.set(yscale="log", ylim=(0.3, 1e12), ylabel="first step / learning rate")
    first.set_xticks([0, 1], dataset.rule.values)
    first.set_title("sums up to t-1: divided by eps")
    first.legend(loc="upper right")
    root.set(xlabel="gradient", ylabel="step / learning rate", title="RMSProp without the root")
    adam.semilogx(dataset.step, adam_ratio(dataset), color="C1")
    adam.axhline(1, color="C0")
    adam.set(xlabel="step", ylabel="step / paper's step", title="Adam without bias correction")
    momentum.set_xticks([0, 1], dataset.schedule.values)
    momentum.axhline(0, color="black", lw=0.8)
    momentum.set(ylabel="x after 20 steps", title="momentum: rate outside the velocity")
    ahead.axvline((1 + DECAY) / DECAY, color="black", lw=0.8, ls=":")
    ahead.axhline(1, color="black", lw=0.8)
    ahead.set(xlabel="curvature", ylabel="growth a step", title="Nesterov: look-ahead x + beta v")
    ahead.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    ahead.minorticks_off()
    delta.set(xlabel="step", ylabel="||x||", title="AdaDelta: one average for all")
    delta.legend(loc="upper left")
    backward.set(xlabel="batch size", ylabel="relative error of the gradient")
    backward.set_title("batch norm: no (z - mu)")
    backward.set_xticks(dataset.batch_size.values, [f"{m}" for m in dataset.batch_size.values])
    backward.minorticks_off()
    jump.set(xlabel="threshold", ylabel="jump at the threshold", title="ELU: exp(x) at a threshold")
    figure.suptitle("Small differences from the papers' formulas decide whether a method works")
    return figure
