r"""The lecture's bounds on gradient descent are attained, so that none of them can be improved.

Four bounds, each on a function made to attain it, with gradient descent of constant rate:

    descent lemma      f(x') <= f(x) - eta (1 - eta beta/2) |g|^2         quadratic, top eigenvector
    contraction        |x_t| <= (1 - eta mu)^t |x_0|, eta <= 1/L          quadratic, flattest one
    convex value       f(x_N) - f* <= beta R^2 / (4 N + 2)                Huber's function
    gradient norm      |g| <= eps within 2 beta Delta / eps^2 steps       the sawtooth below

Huber's function is quadratic up to R / (2 N + 1) and linear beyond (Drori and Teboulle 2014). The
sawtooth's slope is `-eps` at the points that gradient descent of rate 1/beta visits, a grid of
spacing eps/beta, and changes by beta between them, as fast as it may:

    -f'(x) = eps - beta dist(x, grid)    until the last point, from where it falls to 0.

A step lowers it by 3/4 eps^2/beta, so that 4/3 beta Delta / eps^2 steps find no smaller gradient:
2/3 of the bound, whatever eps and beta. The points are unstable, so eps and beta are powers of two,
with which all numbers are exact. (No function does worse: Abbaszadehpeivasti, de Klerk and
Zamani 2021, https://arxiv.org/abs/2104.00583.) In float64; nothing is random.

Section: Descent and rates
Command: python -m experiments run tight_bounds
Cost: quick 11 s of processor time, with compiled programs at hand (27 s beside much else); paper
    not run
Last result: all 9 claims hold (2026-11-29, quick)
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

from .lab.claims import Claim, at_least, at_most, within
from .lab.fields import Checked, above, minimum

ROUNDING = 1e-9
FLATTEST, TOP, MIXED = "flattest eigenvector", "top eigenvector", "all alike"
STARTS = FLATTEST, TOP, MIXED
RATES = (0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Learning rates in units of 1/L, within the bound of contraction. One beyond is (2 - 1/kappa)."""
GAP = 8.0
"""Value at the start of the sawtooth above its minimum, as nearly as whole steps allow."""


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Functions that attain the bounds."""

    condition_number: Annotated[float, above(20)] = 100.0
    """Condition number of the quadratic."""
    dimension: Annotated[int, minimum(2)] = 10
    """Dimension of the quadratic."""
    steps: Annotated[int, minimum(2)] = 300
    """Steps on the quadratic."""
    lengths: tuple[Annotated[int, minimum(1)], ...] = (1, 3, 10, 30, 100, 300)
    """Steps on Huber's functions."""
    epsilons: tuple[Annotated[float, above(0)], ...] = (2**-1, 2**-3, 2**-5, 2**-7)
    """Gradient norms of the sawtooth, powers of two."""
    smoothnesses: tuple[Annotated[float, above(0)], ...] = (1.0, 4.0, 16.0)
    """Smoothness of the sawtooth, powers of two."""

    @classmethod
    def quick(cls) -> "Config":
        """Up to 2.8 million steps."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Up to 11 million steps, 1,000 dimensions."""
        return cls(
            condition_number=1e4,
            dimension=1000,
            steps=10_000,
            epsilons=(2**-1, 2**-3, 2**-5, 2**-7, 2**-8),
        )


@partial(jax.jit, static_argnames=("fun", "steps"))
def _descend(
    fun: Callable[..., jax.Array],
    steps: int,
    start: jax.Array,
    rate: jax.Array,
    *constants: jax.Array,
) -> tuple[jax.Array, ...]:
    """Return points, values and gradient norms before each step and after the last."""
    rule = transforms.gradient_descent(rate)

    def step(x, _):
        value, gradient = jax.value_and_grad(fun)(x, *constants)
        updates, _ = rule.update(gradient, rule.init(x), x)
        return optax.apply_updates(x, updates), (x, value, jnp.linalg.norm(gradient))

    return jax.lax.scan(step, start, length=steps + 1)[1]


@partial(jax.jit, static_argnames="fun")
def _steps_until(
    fun: Callable[..., jax.Array], epsilon: jax.Array, rate: jax.Array, *constants: jax.Array
) -> jax.Array:
    """Return the steps from 0 until the gradient's norm is at most epsilon."""
    rule = transforms.gradient_descent(rate)
    slope = jax.grad(fun)

    def step(carry):
        x, count = carry
        updates, _ = rule.update(slope(x, *constants), rule.init(x), x)
        return optax.apply_updates(x, updates), count + 1

    def goes_on(carry):
        return jnp.abs(slope(carry[0], *constants)) > epsilon

    return jax.lax.while_loop(goes_on, step, (jnp.zeros(()), jnp.zeros((), int)))[1]


def quadratic(x: jax.Array, curvatures: jax.Array) -> jax.Array:
    """Return half the sum of curvatures times squares."""
    return jnp.dot(curvatures, x**2) / 2


def huber(x: jax.Array, smoothness: jax.Array, corner: jax.Array) -> jax.Array:
    """Return Huber's function of a vector of one number: linear beyond the corner."""
    size = jnp.abs(x[0])
    inside = smoothness / 2 * size**2
    return jnp.where(size <= corner, inside, smoothness * corner * (size - corner / 2))


def sawtooth(
    x: jax.Array, smoothness: jax.Array, epsilon: jax.Array, cells: jax.Array
) -> jax.Array:
    """Return the module's function of a number, 0 at the start, with so many cells of its grid."""
    spacing = epsilon / smoothness
    cell = jnp.minimum(jnp.floor(x / spacing), cells)
    y = x - cell * spacing
    near = jnp.where(y <= spacing / 2, y**2 / 2, spacing**2 / 4 - (spacing - y) ** 2 / 2)
    within_cell = jnp.where(cell < cells, near, y**2 / 2)
    return smoothness * (cell * spacing**2 / 4 + within_cell) - epsilon * x


def _on_quadratic(config: Config) -> xr.Dataset:
    """Run on the quadratic, from every start with every rate."""
    curvatures = jnp.geomspace(1.0, config.condition_number, config.dimension)
    starts = jnp.stack([jnp.eye(config.dimension)[0], jnp.eye(config.dimension)[-1]])
    starts = jnp.concatenate([starts, jnp.ones((1, config.dimension))])
    relative = [*RATES, 2 - 1 / config.condition_number]
    rates = jnp.array(relative) / config.condition_number
    descend = partial(_descend, quadratic, config.steps)
    over = jax.vmap(jax.vmap(descend, (0, None, None)), (None, 0, None))
    points, values, norms = over(starts, rates, curvatures)
    axes = ("rate", "start", "step")
    return xr.Dataset(
        {
            "distance": (axes, np.linalg.norm(points, axis=-1)),
            "value": (axes, np.asarray(values)),
            "gradient_norm": (axes, np.asarray(norms)),
        },
        coords={
            "rate": relative,
            "start": list(STARTS),
            "step": np.arange(config.steps + 1),
        },
    )


def run(config: Config) -> xr.Dataset:
    """Run on every function."""
    with jax.enable_x64(True):
        dataset = _on_quadratic(config)
        # Huber's function, started where it is linear.
        smoothness, start = 3.0, 2.0
        ends = [
            _descend(
                huber,
                length,
                jnp.array([start]),
                1 / smoothness,
                smoothness,
                start / (2 * length + 1),
            )[1][-1]
            for length in config.lengths
        ]
        # The sawtooth, on which the gradient stays large for as long as the bound allows.
        shape = len(config.epsilons), len(config.smoothnesses)
        steps, bounds = np.empty(shape), np.empty(shape)
        for i, epsilon in enumerate(config.epsilons):
            for j, beta in enumerate(config.smoothnesses):
                cells = max(round((GAP * beta / epsilon**2 - 1 / 2) * 4 / 3), 1)
                gap = (cells * 3 / 4 + 1 / 2) * epsilon**2 / beta
                # At the points of the grid the slope is epsilon but for rounding, which is not to
                # count as less.
                wanted = (1 - 1e-6) * epsilon
                steps[i, j] = _steps_until(sawtooth, wanted, 1 / beta, beta, epsilon, cells)
                bounds[i, j] = theory.stationarity_iterations(
                    smoothness=beta, function_gap=gap, epsilon=wanted
                )
    huber_bounds = [
        theory.convex_value_bound(length, smoothness=smoothness, distance=start)
        for length in config.lengths
    ]
    return (
        dataset.assign(
            huber=("length", np.array(ends, float)),
            huber_bound=("length", np.array(huber_bounds, float)),
            sawtooth=(("epsilon", "beta"), steps),
            sawtooth_bound=(("epsilon", "beta"), bounds),
        )
        .assign_coords(
            length=list(config.lengths),
            epsilon=list(config.epsilons),
            beta=list(config.smoothnesses),
        )
        .assign_attrs(condition_number=config.condition_number)
    )


def decrease_ratios(dataset: xr.Dataset) -> xr.DataArray:
    """Return each step's decrease over the lemma's promise, NaN once all is rounding."""
    beta = dataset.attrs["condition_number"]
    norms = dataset.gradient_norm.isel(step=slice(None, -1))
    promised = norms**2 * dataset.rate / beta * (1 - dataset.rate / 2)
    values = dataset.value
    # Where the value is far below that of the start, its differences are exact enough still.
    return (-values.diff("step", label="lower") / promised).where(values > 1e-200)


def contraction_shares(dataset: xr.Dataset) -> xr.DataArray:
    """Return the distance over its bound at every step."""
    kappa = dataset.attrs["condition_number"]
    bound = (1 - dataset.rate / kappa) ** dataset.step * dataset.distance.isel(step=0)
    return dataset.distance / bound


def _power(x: xr.DataArray, steps: xr.DataArray) -> float:
    """Return the exponent of the steps in x, the one furthest from the others' mean."""
    rows = steps.transpose(x.name, ...).values.reshape(x.size, -1)
    slopes = np.array([np.polyfit(np.log(x.values), np.log(row), 1)[0] for row in rows.T])
    return float(slopes[np.abs(slopes - slopes.mean()).argmax()])


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge that each bound holds, and that it is attained."""
    # Each result over its bound: 1 where the bound is attained.
    ratios, shares = decrease_ratios(dataset), contraction_shares(dataset)
    allowed = shares.sel(rate=list(RATES))
    along_top = ratios.sel(start=TOP)
    huber_shares = (dataset.huber / dataset.huber_bound).values
    worst = huber_shares[np.abs(huber_shares - 1).argmax()]
    saw = (dataset.sawtooth / dataset.sawtooth_bound).values.ravel()
    nesterov = "Nesterov 2004, section 1.2.3"
    return [
        # The descent lemma holds, and along one eigenvector with equality.
        at_least(
            "descent lemma: no step on the quadratic, of any rate below 2/beta, falls short of the "
            f"promise: smallest of {int(ratios.count())} ratios, but for rounding",
            nesterov,
            bound=1 - ROUNDING,
            measured=float(ratios.min()),
        ),
        at_most(
            "descent lemma: along the top eigenvector every step keeps just the promise: largest "
            "distance of the ratio from 1",
            nesterov,
            bound=ROUNDING,
            measured=float(np.abs(along_top - 1).max()),
        ),
        # So does the contraction of distances, which fails beyond its largest rate.
        at_most(
            "contraction: at every step and every rate up to 1/L the distance is at most "
            "(1 - eta mu)^t of that at the start: largest share of the bound, but for rounding",
            "eigenvalues of I - eta H",
            bound=1 + ROUNDING,
            measured=float(allowed.max()),
        ),
        at_least(
            "contraction: along the flattest eigenvector the bound is attained at every step and "
            "rate: smallest share",
            "eigenvalues of I - eta H",
            bound=1 - ROUNDING,
            measured=float(allowed.sel(start=FLATTEST).min(skipna=False)),
        ),
        at_least(
            "contraction: at (2 - 1/kappa)/L the inequality fails: largest share of the bound",
            "control",
            bound=2.0,
            measured=float(shares.isel(rate=-1).max()),
        ),
        # Functions on which descent takes about as long as the theorems allow.
        within(
            "convex value: Huber's function attains beta R^2/(4 N + 2) after N steps, the worst "
            f"share of {huber_shares.size}",
            "Drori and Teboulle 2014, Theorem 3.1",
            expected=1.0,
            measured=float(worst),
            tolerance=ROUNDING,
        ),
        within(
            "gradient norm: on the sawtooth steps grow as eps^p",
            "2 beta Delta/eps^2",
            expected=-2.0,
            measured=_power(dataset.epsilon, dataset.sawtooth),
            tolerance=0.01,
        ),
        within(
            "gradient norm: on the sawtooth steps grow as beta^p",
            "2 beta Delta/eps^2",
            expected=1.0,
            measured=_power(dataset.beta, dataset.sawtooth),
            tolerance=0.02,
        ),
        within(
            "gradient norm: the sawtooth takes 2/3 of the steps of the bound, the worst of "
            f"{saw.size} pairs of eps and beta",
            "Abbaszadehpeivasti, de Klerk and Zamani 2021, Theorem 2",
            expected=2 / 3,
            measured=float(saw[np.abs(saw - 2 / 3).argmax()]),
            tolerance=0.05,
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw each quantity with the bound that it attains."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    lemma, contraction, convex, gradient = figure.subplots(2, 2).flat
    ratios, shares = decrease_ratios(dataset), contraction_shares(dataset)
    # The descent lemma.
    for start, marker in zip(STARTS, "o^s", strict=True):
        one = ratios.sel(start=start, rate=list(RATES)).isel(step=0)
        lemma.plot(one.rate, one, f"{marker}-", label=f"start: {start}", ms=5)
    lemma.axhline(1, color="black", ls=":")
    lemma.set(
        xlabel="rate in units of 1/beta",
        ylabel="decrease / promise, first step",
        ylim=(0, None),
        title="descent lemma: equality along the top eigenvector",
    )
    lemma.legend()
    # The contraction.
    for start, style in zip(STARTS, ("-", "-.", "--"), strict=True):
        one = shares.sel(start=start, rate=1.0)
        contraction.semilogy(one.step, one, f"C0{style}", label=f"rate 1/L, {start}")
    one = shares.sel(start=MIXED).isel(rate=-1)
    contraction.semilogy(one.step, one, "C1", label=f"rate {float(one.rate):.2f}/L, {MIXED}")
    contraction.axhline(1, color="black", ls=":")
    contraction.set(
        xlabel="step t",
        ylabel=r"$|x_t|$ / bound",
        ylim=(1e-2, 1e2),
        title="contraction: equality along the flattest",
    )
    contraction.legend()
    # The convex bound.
    convex.loglog(dataset.length, dataset.huber_bound, "C1", label="bound")
    convex.loglog(dataset.length, dataset.huber, "o", label="Huber's function")
    convex.set(xlabel="steps N", ylabel="value after N steps", title="convex value: equality")
    convex.legend()
    # The bound on the gradient's norm.
    for beta, colour in zip(dataset.beta.values, ("C0", "C2", "C3", "C4"), strict=False):
        one = dataset.sel(beta=beta)
        gradient.loglog(one.epsilon, one.sawtooth, "o", color=colour, label=f"beta = {beta:g}")
        gradient.loglog(one.epsilon, one.sawtooth_bound, ":", color=colour)
    gradient.set(
        xlabel="gradient norm eps",
        ylabel="steps (dotted: the bound)",
        title="gradient norm: 2/3 of the bound",
    )
    gradient.legend()
    figure.suptitle("Gradient descent attains its bounds; the last up to a factor of 2/3")
    return figure
