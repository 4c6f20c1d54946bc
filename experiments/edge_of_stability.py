"""Full-batch training raises the sharpness to where its steps become unstable, and stays there.

On a quadratic of curvature lambda a rule of rate eta is stable up to a threshold that depends on
the rule alone, here found by `theory.stability_threshold` from the rule itself:

    gradient descent                 2 / eta
    heavy ball, decay b              (2 + 2 b) / eta
    Nesterov, decay b                (2 + 2 b) / (eta (1 + 2 b))
    Adam, first moment b1            2 + 2 b1, for the Hessian seen through its preconditioner

Networks do not stay below it. A tanh network is trained on digits, squared loss, all images in
every step, by each rule at its rates from the same start. The largest eigenvalue of the Hessian
(Lanczos, with its residual; for Adam that of P H, P the derivative of its update in the gradient)
rises while it is below the threshold, and then hovers at it, while the loss, no longer monotone,
goes on falling: the descent lemma's condition on the step fails, and training works.

Gradient descent also trains other networks, ReLU, half and four times as wide, and with
cross-entropy, where the sharpness comes to the threshold too but down again in the end, as the
curvature of the loss vanishes with its gradient.

Every step counts whether it raised the loss by more than float32 rounds. Momentum may do so without
being unstable, so that only gradient descent is asked never to do it before the edge. The sharpness
is seen at odd and even steps by turns, since at the edge it alternates. The rates are such that the
edge is reached before the loss is all but zero; heavy ball at 0.3 fits the images first, and ends
at 0.89 of its threshold, at 0.5 it diverges. All is one start of one network, and the rates are its
own: of a network without biases, from another start, at the same rates heavy ball at 0.42 and
Nesterov at 0.15 diverge at the edge, and ReLU comes to 0.84 of its threshold (37 of the 53 claims
hold, 11 are not measured). In float32.

Cohen, Kaur, Li, Kolter and Talwalkar (2021), https://arxiv.org/abs/2103.00065; Cohen, Ghorbani,
Krishnan et al. (2022), https://arxiv.org/abs/2207.14484.

Section: Descent and rates
Command: python -m experiments run edge_of_stability
Cost: quick 59 s of processor time, standard 105 s, both with everything to compile, beside much
    else; paper not run, some 3 hours of processor time by that of single steps and looks
Last result: all 36 claims hold under bounds from seed 1000 (2026-11-29, 2 busy cores); medians of
    the last quarter lie within 2 % of the thresholds for tanh, within 5 % for ReLU and other
    widths; with cross-entropy the sharpness falls to 1 % of it. standard not run since
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx
from matplotlib.figure import Figure

from jaxopt_course import observables, problems, theory, transforms
from jaxopt_course.nn import MLP

from .lab.claims import Claim, at_least, at_most, within
from .lab.fields import Checked, Seed, a_folder, above, minimum, one_of
from .lab.full_batch import IMAGES, SETTLED, centred_images, check_records, settled
from .lab.progress import track


def square(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return half the squared distance of outputs from one-hot labels."""
    return jnp.sum((outputs - jax.nn.one_hot(labels, 10)) ** 2, axis=-1) / 2


DECAY = 0.9
"""Decay of both forms of momentum, and of Adam's first moment."""
GAIN = 0.5
"""Factor of Xavier's standard deviation at the start, so that it is flatter than the thresholds."""
ROUNDING = 1e-6
"""Relative increase of the loss below which a step is not said to raise it."""
TRIAL = "; bound from a trial run with seed 1000, which showed {:g} at the worst"
TRIAL_START, TRIAL_CLIMBS, TRIAL_LEFT, TRIAL_RISES, LEAVING_RISES = 0.45, 0.8, 0.28, 0.092, 0.00075
"""Of all cases of a trial run of `quick` with seed 1000 the worst: sharpness at the start over the
threshold, share of the records on the way there above the one before, what was left of the loss at
the edge, and share of the steps that raised it, where the sharpness stays and where it leaves. (At
the edge medians were off by 2.2 % for tanh, 5.7 % for other networks; twice that is allowed.)"""
SOURCE, ADAPTIVE = "Cohen et al. 2021, section 3", "Cohen et al. 2022, section 3"


class Rule(NamedTuple):
    """An update rule and how its stability is judged.

    Attributes:
        make: From the rate to the rule.
        preconditioned: Whether through its preconditioner, or by the Hessian itself.
        source: Where that is seen.
    """

    make: Callable[[Any], optax.GradientTransformation]
    preconditioned: bool = False
    source: str = SOURCE


RULES = {
    "gradient descent": Rule(optax.sgd),
    "heavy ball": Rule(lambda rate: optax.sgd(rate, momentum=DECAY)),
    "Nesterov": Rule(lambda rate: optax.sgd(rate, momentum=DECAY, nesterov=True)),
    "Adam": Rule(
        lambda rate: optax.adam(rate, b1=DECAY, eps=1e-7),
        preconditioned=True,
        source=ADAPTIVE,
    ),
}


class Variant(NamedTuple):
    """Another network or loss, trained by gradient descent.

    Attributes:
        rate: Its rate; of the first one, "tanh", the rules have theirs.
        activation: Of the hidden layers.
        loss: From outputs and labels to the losses of the examples.
        widths: Factor of the hidden widths.
        stays: Whether the sharpness stays at the edge to the end.
        tolerance: How near to the threshold it is to hover.
    """

    rate: float
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    loss: Callable[[Any, Any], jax.Array] = square
    widths: float = 1.0
    stays: bool = True
    tolerance: float = 0.114


VARIANTS = {
    "tanh": Variant(0.0, tolerance=0.044),
    "ReLU": Variant(0.3, activation=jax.nn.relu),
    "cross-entropy": Variant(
        2.0, loss=optax.softmax_cross_entropy_with_integer_labels, stays=False
    ),
    "half the width": Variant(0.3, widths=0.5),
    "four times the width": Variant(0.3, widths=4.0),
}


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The network, the rules with their rates, and how long they train."""

    rules: tuple[Annotated[str, one_of(RULES)], ...] = tuple(RULES)
    """Which rules train."""
    gradient_descent_rates: tuple[Annotated[float, above(0)], ...] = (0.1, 0.15, 0.3)
    """Rates of gradient descent."""
    heavy_ball_rates: tuple[Annotated[float, above(0)], ...] = (0.35, 0.42)
    """Rates of heavy ball."""
    nesterov_rates: tuple[Annotated[float, above(0)], ...] = (0.1, 0.15)
    """Rates of Nesterov's method."""
    adam_rates: tuple[Annotated[float, above(0)], ...] = (0.003,)
    """Rates of Adam."""
    variants: tuple[Annotated[str, one_of(VARIANTS)], ...] = ("tanh",)
    """Which networks and losses: "tanh" by all rules, others by gradient descent."""
    dataset: Annotated[str, one_of(IMAGES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    images: Annotated[int, minimum(1)] = 500
    """Images of the data set, all in every step."""
    hidden: tuple[Annotated[int, minimum(1)], ...] = (32, 32)
    """Widths of the hidden tanh layers."""
    steps: Annotated[int, minimum(1)] = 4000
    """Steps of each run."""
    every: Annotated[int, minimum(1)] = 25
    """Steps between records, odd."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check what depends on two fields, and that records see odd and even steps."""
        super().__post_init__()
        check_records(dataset=self.dataset, images=self.images, steps=self.steps, every=self.every)

    @classmethod
    def quick(cls) -> "Config":
        """Fewer rates, ReLU, cross-entropy and half the width; 500 digits, hidden layers of 32."""
        return cls(
            gradient_descent_rates=(0.15, 0.3),
            heavy_ball_rates=(0.42,),
            nesterov_rates=(0.15,),
            variants=("tanh", "ReLU", "cross-entropy", "half the width"),
        )

    @classmethod
    def standard(cls) -> "Config":
        """All rates and variants, on 500 digits, hidden layers of 32."""
        return cls(variants=tuple(VARIANTS))

    @classmethod
    def paper(cls) -> "Config":
        """5,000 images of MNIST, two hidden layers of 200, as in the paper (there of CIFAR-10)."""
        return cls(
            gradient_descent_rates=(0.03, 0.05, 0.1),
            heavy_ball_rates=(0.1, 0.2),
            nesterov_rates=(0.03, 0.05),
            adam_rates=(0.001,),
            dataset="mnist5k",
            images=5000,
            hidden=(200, 200),
            steps=20_000,
            every=51,
        )

    def rates(self, rule: str) -> tuple[float, ...]:
        """Return the rates of a rule."""
        return {
            "gradient descent": self.gradient_descent_rates,
            "heavy ball": self.heavy_ball_rates,
            "Nesterov": self.nesterov_rates,
            "Adam": self.adam_rates,
        }[rule]


class Counted(NamedTuple):
    """The state of a rule, and how often its steps raised the objective.

    Attributes:
        inner: The rule's own state.
        value: The objective before the last step.
        rises: How many of the values seen exceed the one before.
    """

    inner: Any
    value: jax.Array
    rises: jax.Array


def counting(rule: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Return a rule that steps like another, and counts how often the objective rises."""
    rule = optax.with_extra_args_support(rule)

    def init(params):
        return Counted(rule.init(params), jnp.array(jnp.inf), jnp.array(0))

    def update(updates, state, params=None, **extra_args):
        value = extra_args["value"]
        updates, inner = rule.update(updates, state.inner, params, **extra_args)
        rose = value > state.value * (1 + ROUNDING)
        return updates, Counted(inner, value.astype(state.value.dtype), state.rises + rose)

    return optax.GradientTransformationExtraArgs(init, update)


def training_problem(config: Config, variant: str = "tanh") -> problems.Problem:
    """Return the mean loss of the network, or of one of its variants, over the images."""
    inputs, labels = centred_images(config.dataset, config.images, config.data_folder)
    chosen = VARIANTS[variant]
    hidden = [max(round(width * chosen.widths), 1) for width in config.hidden]

    def build(key):
        return MLP(
            (inputs.shape[1], *hidden, 10),
            activation=chosen.activation,
            kernel_init=jax.nn.initializers.variance_scaling(GAIN**2, "fan_avg", "normal"),
            rngs=nnx.Rngs(key),
        )

    return problems.empirical_loss(build, inputs, labels, loss=chosen.loss)


def threshold(name: str, rate: float) -> float:
    """Return the curvature at which a rule becomes unstable, for Adam that of P H."""
    rule = RULES[name]
    found = theory.stability_threshold(rule.make(rate))
    # P is this times the inverse root of the second moments, which the threshold is relative to.
    return found * rate * (1 - DECAY) if rule.preconditioned else found


def _train(
    config: Config,
    name: str,
    problem: problems.Problem,
    start: Any,
    rates: tuple[float, ...],
    variant: str = "tanh",
) -> xr.Dataset:
    """Train by one rule at all its rates."""
    of_sharpness = jax.random.key(config.seed)

    # The rate is an argument, so that all rates share one compiled program.
    @jax.jit
    def train(rate):
        rule = RULES[name].make(rate)
        if RULES[name].preconditioned:
            observable = observables.preconditioned_sharpness(rule, key=of_sharpness)
        else:
            observable = observables.sharpness(key=of_sharpness)

        # At every look: the sharpness in the rule's own terms, and how many steps raised the loss.
        def observe(params, state, fun):
            return *observable(params, state.inner, fun), state.rises

        found = transforms.path(
            problem.fun,
            counting(rule),
            start,
            config.steps,
            every=config.every,
            observe={"curvature and rises": observe},
        )
        return found.steps, found.value, *found.observed["curvature and rises"]

    # Every rate is a case of its own.
    parts = []
    for rate in rates:
        steps, loss, sharpness, residual, rises = (np.asarray(leaf) for leaf in train(rate))
        parts.append(
            xr.Dataset(
                {
                    "sharpness": ("step", sharpness.reshape(steps.shape)),
                    "residual": ("step", residual.reshape(steps.shape)),
                    "loss": ("step", loss),
                    "rises": ("step", rises),
                    "threshold": threshold(name, rate),
                    "rule": name,
                    "rate": rate,
                    "variant": variant,
                },
                coords={"step": steps},
            )
        )
    return xr.concat(parts, "case", join="exact")


def run(config: Config) -> xr.Dataset:
    """Train by every rule at every rate, from the same start."""
    parts = []
    for variant in track(config.variants, "networks"):
        problem = training_problem(config, variant)
        start = problem.init(jax.random.key(config.seed))
        if variant == "tanh":
            parts += [
                _train(config, name, problem, start, config.rates(name))
                for name in track(config.rules, "rules")
            ]
        else:
            rates = (VARIANTS[variant].rate,)
            parts.append(_train(config, "gradient descent", problem, start, rates, variant))
    return xr.concat(parts, "case", join="exact")


class Rise(NamedTuple):
    """How one run came to the edge, and what it did there.

    Attributes:
        start: The first sharpness there is, over the threshold.
        arrival: Record at which the threshold is first reached; None if never.
        climbs: Share of the records until then that are above the one before.
        raised_before: Share of the steps until then that raised the loss,
        raised_after: and of those from then on.
        falls: Loss at the end over that at the arrival.
    """

    start: float
    arrival: int | None
    climbs: float
    raised_before: float
    raised_after: float
    falls: float


def _first(part: xr.Dataset) -> int:
    """Return the first record that can be: Adam has no preconditioner before its first gradient."""
    return int(RULES[str(part.rule.values)].preconditioned)


def rise(part: xr.Dataset) -> Rise:
    """Return how one run came to the edge; NaN for what it never came to."""
    ratio = (part.sharpness / part.threshold).values
    first = _first(part)
    above_it = np.flatnonzero(ratio[first:] >= 1)
    if not above_it.size or not np.isfinite(ratio[first:]).all():
        return Rise(float(ratio[first]), None, *[np.nan] * 4)
    at = int(above_it[0]) + first
    # Steps on either side of the arrival, of which there may be none.
    steps, rises, loss = part.step.values, part.rises.values, part.loss.values
    climbs = np.diff(ratio[first : at + 1]) > 0
    return Rise(
        float(ratio[first]),
        at,
        float(climbs.mean()) if climbs.size else np.nan,
        float(rises[at] / steps[at]) if at else np.nan,
        float((rises[-1] - rises[at]) / (steps[-1] - steps[at])) if at < len(steps) - 1 else np.nan,
        float(loss[-1] / loss[at]),
    )


def _arrival(part: xr.Dataset, came: Rise) -> str:
    """Return in words when the threshold was reached, and how."""
    if came.arrival is None:
        ratio = (part.sharpness / part.threshold).isel(step=slice(_first(part), None))
        largest = float(ratio.max(skipna=False))
        return f"never reached, at most {largest:.3g} of it" if np.isfinite(largest) else "then NaN"
    return (
        f"reached by step {int(part.step[came.arrival])}, {100 * came.climbs:.3g} % of the records "
        "on the way above the one before"
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the way to the edge, the edge, the loss on it, and the residuals."""
    judged = []
    for case in range(dataset.sizes["case"]):
        part = dataset.isel(case=case)
        name, edge = str(part.rule.values), float(part.threshold)
        rule, came, title = RULES[name], rise(part), f"{name}, rate {float(part.rate):g}"
        variant = str(part.variant.values)
        title = title if variant == "tanh" else f"{variant}, {title}"
        what = "preconditioned sharpness" if rule.preconditioned else "sharpness"
        # A run that became NaN on its way was not measured.
        lost = came.arrival is None and not np.isfinite(part.sharpness).all()
        rises = TRIAL_RISES if VARIANTS[variant].stays else LEAVING_RISES
        start, climbs = TRIAL_START**0.5, 2 * TRIAL_CLIMBS - 1
        tolerance = VARIANTS[variant].tolerance
        judged += [
            Claim(
                f"{title}: the {what} rises until it is at the threshold",
                rule.source + TRIAL.format(TRIAL_START),
                f"from below {start:.2g} of it, {climbs:.0%} of the records above the one before",
                f"from {came.start:.3g} of it, {_arrival(part, came)}",
                holds=None if lost else came.start < start and came.climbs >= climbs,
            ),
            at_most(
                f"{title}: then the sharpness comes down again (median of the last "
                f"{100 * SETTLED:g} % over the threshold)",
                SOURCE + ", of cross-entropy at the end of training",
                bound=1 - tolerance,
                measured=settled(part.sharpness) / edge,
            )
            if not VARIANTS[variant].stays
            else within(
                f"{title}: then the {what} hovers at the threshold (median of the last "
                f"{100 * SETTLED:g} %)",
                rule.source + TRIAL.format(tolerance / 2),
                expected=edge,
                measured=settled(part.sharpness),
                tolerance=tolerance,
            ),
            at_most(
                f"{title}: at the edge the loss falls all the same (at the end, over that on "
                "arrival)",
                rule.source + TRIAL.format(TRIAL_LEFT),
                bound=TRIAL_LEFT**0.5,
                measured=came.falls,
            ),
            at_least(
                f"{title}: it is not monotone there (share of the steps that raise it)",
                rule.source + TRIAL.format(rises),
                bound=rises / 2,
                measured=came.raised_after,
            ),
        ]
        # Momentum may raise the loss while it is stable, gradient descent may not.
        if name == "gradient descent" and variant == "tanh":
            judged.append(
                at_most(
                    f"{title}: before it is (share of the steps that raise it)",
                    "descent lemma along the path",
                    bound=0.0,
                    measured=came.raised_before,
                )
            )
    # Both kinds of sharpness rest on eigenvalues, so that their residuals are judged.
    for preconditioned in sorted({RULES[str(name)].preconditioned for name in dataset.rule.values}):
        chosen = [RULES[str(name)].preconditioned == preconditioned for name in dataset.rule.values]
        part = dataset.isel(case=np.flatnonzero(chosen), step=slice(int(preconditioned), None))
        judged.append(
            at_most(
                f"the {'preconditioned ' * preconditioned}sharpness is known well enough "
                "(largest residual over the threshold)",
                "residuals of the Krylov method, asked for to the least tolerance",
                bound=VARIANTS["tanh"].tolerance,
                measured=float((part.residual / part.threshold).max(skipna=False)),
            )
        )
    return judged


def plot(dataset: xr.Dataset) -> Figure:
    """Draw sharpness over threshold and the loss of every run, a column a rule."""
    others = dataset.variant.values != "tanh"
    names = list(dict.fromkeys(map(str, dataset.rule.values[~others])))
    columns = {name: (dataset.rule.values == name) & ~others for name in names}
    if others.any():
        columns["gradient descent: other\nnetworks, cross-entropy"] = others
    figure = Figure(figsize=(3.1 * len(columns) + 0.6, 6))
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for (top, bottom), (name, chosen) in zip(grid.T, columns.items(), strict=True):
        for case in np.flatnonzero(chosen):
            part = dataset.isel(case=case)
            label = f"rate {float(part.rate):g}"
            label = f"{part.variant.values}, {label}" if others[case] else label
            (line,) = top.plot(part.step, part.sharpness / part.threshold, linewidth=1, label=label)
            bottom.plot(part.step, part.loss, linewidth=1, color=line.get_color(), label=label)
        top.axhline(1, color="0.3", linestyle="--", linewidth=1)
        top.set(title=name, ylim=(0, 1.5))
        bottom.set(yscale="log", xlabel="step")
        bottom.legend()
    grid[0, 0].set(ylabel="sharpness over threshold\n(Adam: preconditioned)")
    grid[1, 0].set(ylabel="loss")
    leaves = not all(VARIANTS[str(name)].stays for name in dataset.variant.values)
    figure.suptitle(
        "The sharpness rises to the rule's stability threshold and stays there"
        + ", but with cross-entropy" * leaves
    )
    return figure
