"""On quadratics every method contracts at the rate that the spectral radius predicts.

Gradient descent, heavy ball and Nesterov's method minimize `1/2 sum_i h_i x_i^2` with curvatures
`h_i` spaced evenly in the logarithm over `[1, kappa]`, with constant parameters that are optimal
for `[1, kappa]`. The rate is the slope of `log ||x||` in the second half of the run. Every run
lasts many of its own time constants `1 / |ln rho|`, since the optimal momentum makes the iteration
matrix defective: the error falls as `t rho^t`, and the factor t bends the slope by `1 / t`.

Section: Momentum and second order
Command: python -m experiments run quadratic_rates
Cost: quick 5 s in 10 dimensions; paper 30 s in 100; on 2 cores
Last result: all 7 claims hold; slopes within 0.5 % of the prediction (2026-11-23, 2 cores)
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import theory, transforms

from .lab import progress
from .lab.claims import Claim, within
from .lab.fields import Checked, above, minimum


@dataclasses.dataclass(frozen=True)
class Method:
    """A method with its parameters for a condition number.

    Attributes:
        name: As the legend has it.
        optimizer: From learning rate and decay to the transformation.
        theory: From the ends of the spectrum to learning rate, decay and predicted rate.
    """

    name: str
    optimizer: Callable[..., optax.GradientTransformation]
    theory: Callable[..., theory.QuadraticRate]

    def parameters(self, kappa: float) -> theory.QuadraticRate:
        """Return learning rate, decay and predicted rate for mu = 1, L = kappa."""
        return self.theory(strong_convexity=1.0, smoothness=kappa)


def _gradient_descent(learning_rate, decay):
    del decay
    return transforms.gradient_descent(learning_rate)


METHODS = (
    Method(
        "gradient descent, 1/L",
        _gradient_descent,
        partial(theory.gradient_descent_rate, tuned=False),
    ),
    Method("gradient descent, 2/(L + mu)", _gradient_descent, theory.gradient_descent_rate),
    Method("Nesterov, 1/L", transforms.nesterov, partial(theory.nesterov_rate, tuned=False)),
    Method("Nesterov, tuned", transforms.nesterov, theory.nesterov_rate),
    Method("heavy ball", transforms.heavy_ball, theory.heavy_ball_rate),
)


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Quadratics of several condition numbers."""

    condition_numbers: tuple[Annotated[float, minimum(1)], ...] = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
    """Condition numbers kappa; mu = 1 and L = kappa."""
    dimension: Annotated[int, minimum(2)] = 10
    """Number of curvatures, spaced evenly in the logarithm."""
    time_constants: Annotated[float, above(0)] = 12.0
    """Length of a gradient descent run in units of 1/|ln rho|."""
    momentum_time_constants: Annotated[float, above(0)] = 300.0
    """Length of a run with momentum in these units, 1/|ln rho|: longer, as 1/t bends the slope."""
    records: Annotated[int, minimum(2)] = 200
    """Points recorded of every run."""

    @classmethod
    def quick(cls) -> "Config":
        """Ten dimensions."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """A hundred dimensions, with proportionally longer runs of gradient descent."""
        return cls(dimension=100, time_constants=120.0)


def _steps(config: Config, method: Method, kappa: float) -> np.ndarray:
    """Return the steps at which the error is recorded, for each of `_fractions` of the run."""
    _, decay, rate = method.parameters(kappa)
    constants = config.momentum_time_constants if decay > 0 else config.time_constants
    last = constants / -np.log(rate)
    return (last * _fractions(config)).round().astype(int)


def _fractions(config: Config) -> np.ndarray:
    """Return 0, then fractions evenly spaced in the logarithm, then from 1/2 to 1 evenly."""
    late = config.records // 4
    early = config.records - late - 1
    return np.r_[0, np.geomspace(1e-4, 0.5, early), np.linspace(0.5, 1, late + 1)[1:]]


@partial(jax.jit, static_argnames="make_optimizer")
def _errors(make_optimizer, curvatures, learning_rate, decay, steps):
    """Return ||x|| after each of the `steps`, which are sorted and start at 0."""
    optimizer = make_optimizer(learning_rate, decay)
    start = jnp.ones_like(curvatures)

    def step(_, carry):
        x, state = carry
        updates, state = optimizer.update(curvatures * x, state, x)
        return optax.apply_updates(x, updates), state

    def record(carry, count):
        carry = jax.lax.fori_loop(0, count, step, carry)
        return carry, jnp.linalg.norm(carry[0])

    counts = jnp.diff(steps, prepend=0)
    return jax.lax.scan(record, (start, optimizer.init(start)), counts)[1]


def run(config: Config) -> xr.Dataset:
    """Record the error of every method on every quadratic."""
    shape = len(METHODS), len(config.condition_numbers)
    steps = np.zeros((*shape, config.records), int)
    errors = np.zeros((*shape, config.records))
    predicted = np.zeros(shape)
    cases = [(i, j) for j in range(shape[1]) for i in range(shape[0])]
    # At condition number 10^6 the contraction 1 - 10^-6 is far below what float32 resolves.
    with jax.enable_x64(True):
        for i, j in progress.track(cases, "quadratics"):
            method, kappa = METHODS[i], config.condition_numbers[j]
            steps[i, j] = _steps(config, method, kappa)
            curvatures = jnp.geomspace(1.0, kappa, config.dimension)
            learning_rate, decay, predicted[i, j] = method.parameters(kappa)
            errors[i, j] = _errors(
                method.optimizer, curvatures, learning_rate, decay, jnp.asarray(steps[i, j])
            )
    return xr.Dataset(
        {
            "step": (("optimizer", "condition_number", "fraction"), steps),
            "error": (("optimizer", "condition_number", "fraction"), errors),
            "predicted_rate": (("optimizer", "condition_number"), predicted),
        },
        coords={
            "optimizer": [method.name for method in METHODS],
            "condition_number": list(config.condition_numbers),
            "fraction": ("fraction", _fractions(config), {"long_name": "fraction of the run"}),
        },
    )


def measured_slopes(dataset: xr.Dataset) -> xr.DataArray:
    """Return the mean decrease of the logarithm of the error a step, over the second half."""
    middle = dataset.sel(fraction=0.5, method="nearest")
    last = dataset.isel(fraction=-1)
    return np.log(middle.error / last.error) / (last.step - middle.step)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the slopes, and how they grow with the condition number."""
    slopes = measured_slopes(dataset)
    predicted = -np.log(dataset.predicted_rate)
    found = []
    for method in dataset.optimizer.values:
        ratio = (slopes / predicted).sel(optimizer=method)
        worst = ratio[int(abs(ratio - 1).fillna(np.inf).argmax("condition_number"))]
        largest = float(dataset.condition_number.max())
        found.append(
            within(
                f"{method}: measured slope over predicted slope, the worst of condition numbers "
                f"10 to {largest:.0e}",
                "spectral radius; Lessard, Recht and Packard 2016, Proposition 1",
                expected=1.0,
                measured=float(worst),
                tolerance=0.02,
            )
        )
    steep = dataset.condition_number >= 100
    logs = np.log(dataset.condition_number[steep])
    for method, power in (("gradient descent, 1/L", 1.0), ("heavy ball", 0.5)):
        growth = np.polyfit(logs, -np.log(slopes.sel(optimizer=method)[steep]), 1)[0]
        found.append(
            within(
                f"{method}: steps for a given accuracy grow as kappa^p, p from 100 on",
                "Polyak 1964",
                expected=power,
                measured=float(growth),
                tolerance=0.02,
            )
        )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Draw the errors at one condition number and the rates at all of them."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    slopes = measured_slopes(dataset)
    kappa = 1e3 if 1e3 in dataset.condition_number else float(dataset.condition_number[-1])
    markers = "osD^v"
    for method, marker in zip(dataset.optimizer.values, markers, strict=True):
        one = dataset.sel(optimizer=method, condition_number=kappa)
        (line,) = left.plot(one.step + 1, one.error, label=method)
        predicted = -np.log(dataset.predicted_rate.sel(optimizer=method))
        right.loglog(dataset.condition_number, 1 / predicted, color=line.get_color(), lw=1)
        right.loglog(
            dataset.condition_number,
            1 / slopes.sel(optimizer=method),
            marker,
            color=line.get_color(),
            label=method,
        )
    left.set(
        xscale="log",
        yscale="log",
        ylim=(1e-12, 3e1),
        xlabel="step",
        ylabel="distance to the minimum",
        title=f"condition number {kappa:.0f}",
    )
    left.legend(loc="lower left")
    right.set(
        xlabel="condition number",
        ylabel="steps to divide the error by e",
        title="points: measured, lines: predicted",
    )
    right.legend(loc="upper left")
    figure.suptitle("Momentum needs the square root of gradient descent's steps, as predicted")
    return figure
