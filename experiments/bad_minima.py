"""A network with two hidden units has a local minimum that is not global, whatever its activation.

Yun, Sra and Jadbabaie (2019) construct it for three data points: loss 1/3 at the bad minimum, as
near to 0 as one likes elsewhere. At the point itself the gradient vanishes and the Hessian has no
negative eigenvalue, but zeros: minima form a manifold, and second derivatives alone cannot tell
(`saddle.classify` says DEGENERATE). What shows the minimum: no perturbation, of any of three sizes,
goes below 1/3, and gradient descent from the perturbed points comes back to 1/3. What shows that it
is not global: BFGS from random starts gets below 1e-8. All in float64; values equal to 1/3 up to
rounding, 1e-14, count as not below. ReLU and leaky ReLU follow their Theorem 1, the others
Theorem 2.

https://arxiv.org/abs/1802.03487.

Section: Landscape and saddles
Command: python -m experiments run bad_minima
Cost: quick 26 s of processor time with everything to compile; paper not run
Last result: all 30 claims hold, 500 perturbations of each size (2026-11-29, quick, 2 busy cores)
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure
from scipy import optimize

from jaxopt_course import plot as draw
from jaxopt_course import problems, saddle, transforms

from .lab import resumable
from .lab.claims import Claim, at_most
from .lab.fields import Checked, Seed, above, minimum, one_of
from .lab.progress import track
from .lab.statistics import show_share

SOURCE = "Yun, Sra and Jadbabaie 2019"
BAD_VALUE = 1 / 3
LOWER_VALUE = 1e-8
RETURN_TOLERANCE = 1e-8
ROUNDING = 1e-14
MARKERS = "osD^v"
LINES = "-", "-", "-", "-", "--"
# The eigenvalues that are not zero, derived from the data by hand.
SPECTRA = {
    "sigmoid": (0.024336, 0.068096, 0.314210),
    "tanh": (0.106105, 49.8969, 77.3215),
    "softplus": (0.024802, 0.065032, 1.788149),
}


ACTIVATIONS = ("sigmoid", "tanh", "softplus", "relu", "leaky_relu")


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The activations, and how hard to try."""

    activations: tuple[Annotated[str, one_of(ACTIVATIONS)], ...] = ACTIVATIONS
    """Activations of `problems.bad_minimum`."""
    radii: tuple[Annotated[float, above(0)], ...] = (1e-4, 1e-3, 1e-2)
    """Sizes of the perturbations."""
    perturbations: Annotated[int, minimum(1)] = 500
    """Perturbations of each size, uniform on the sphere."""
    returns: Annotated[int, minimum(1)] = 64
    """Runs of gradient descent, from perturbations of the largest size."""
    steps: Annotated[int, minimum(1)] = 20_000
    """Steps of each run of gradient descent, of rate 2/3 over the largest eigenvalue."""
    starts: Annotated[int, minimum(1)] = 40
    """Random starts of BFGS."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """500 perturbations, 64 returns, 40 starts."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """20,000 perturbations, 500 returns, 500 starts."""
        return cls(perturbations=20_000, returns=500, starts=500)


def _run_activation(config: Config, activation: str) -> xr.Dataset:
    """Look around the bad minimum of a network with this activation, and search elsewhere."""
    problem = problems.bad_minimum(activation=activation)
    known = problem.stationary_points[0]
    flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, known.params))
    point = jax.jit(lambda x: saddle.classify(problem.fun, x))(known.params)
    perturb_key, start_key = jax.random.split(jax.random.key(config.seed))

    @jax.jit
    def fun(x):
        return problem.fun(unravel(x))

    directions = jax.random.normal(perturb_key, (config.perturbations, flat.size))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    perturbed = flat[None, None] + jnp.array(config.radii)[:, None, None] * directions[None]
    values = jax.jit(jax.vmap(jax.vmap(fun)))(perturbed)

    largest = np.argmax(config.radii)
    returned = resumable.escape(
        fun,
        transforms.gradient_descent(2 / 3 / point.eigenvalues[-1].item()),
        perturbed[largest, : config.returns],
        max_steps=config.steps,
        record_every=max(config.steps // 200, 1),
    )
    assert returned.record is not None

    slope = jax.jit(jax.value_and_grad(fun))
    starts = jax.vmap(problem.init)(jax.random.split(start_key, config.starts))
    starts = np.asarray(jax.vmap(lambda params: ravel_pytree(params)[0])(starts))
    # BFGS ends where rounding stalls its line search, at 1e-25 or so, which is low enough.
    elsewhere = [optimize.minimize(slope, start, jac=True, method="BFGS").fun for start in starts]

    # The number of parameters depends on the activation.
    eigenvalues = np.full((2, 7), np.nan)
    eigenvalues[:, : flat.size] = point.eigenvalues, known.eigenvalues
    return xr.Dataset(
        {
            "value": ((), float(fun(flat))),
            "gradient_norm": ((), float(point.gradient_norm)),
            "kind": ((), point.name),
            "eigenvalues": (("method", "eigenvalue"), eigenvalues),
            "perturbed": (("radius", "perturbation"), np.asarray(values)),
            "returned": ("returning", np.asarray(returned.value)),
            "path": (("returning", "step"), np.asarray(returned.record.value)),
            "elsewhere": ("start", elsewhere),
        },
        coords={
            "method": ["automatic", "closed form"],
            "radius": list(config.radii),
            "step": np.asarray(returned.record.step),
        },
    ).expand_dims(activation=[activation])


def run(config: Config) -> xr.Dataset:
    """Look at the bad minimum of every activation, around it, and elsewhere."""
    with jax.enable_x64(True):
        parts = [_run_activation(config, name) for name in track(config.activations, "activations")]
    return xr.concat(parts, "activation", join="exact")


def spectrum_error(part: xr.Dataset) -> float:
    """Return the largest error of the eigenvalues, relative to the largest of them.

    Against the closed form, and where there are numbers derived by hand, against these to their
    six digits.
    """
    automatic, closed = (row[np.isfinite(row)] for row in part.eigenvalues.values)
    error = np.max(np.abs(automatic - closed)) / closed[-1]
    by_hand = np.array(SPECTRA.get(part.activation.item(), closed[:0]))
    if by_hand.size:
        digits = np.max(np.abs(automatic[-by_hand.size :] / by_hand - 1))
        error = max(error, digits if digits > 2e-5 else 0.0)
    return float(error)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge that each point is a minimum, and that it is not the lowest."""
    return [
        claim
        for name in dataset.activation.values
        for claim in _claims(dataset.sel(activation=name))
    ]


def _claims(part: xr.Dataset) -> list[Claim]:
    """What is claimed of the bad minimum with one activation."""
    name = part.activation.item() + ": "
    # Eigenvalues that are zero or positive, and where runs from beside the point and from afar end.
    automatic = part.eigenvalues.values[0]
    automatic = automatic[np.isfinite(automatic)]
    zeros = int(np.sum(np.abs(automatic) <= 1e-8 * automatic[-1]))
    rest = automatic.size - zeros
    stationary = part.gradient_norm <= 1e-12 and abs(part.value - BAD_VALUE) <= ROUNDING
    below = int((part.perturbed < BAD_VALUE - ROUNDING).sum())
    back = int((abs(part.returned - BAD_VALUE) <= RETURN_TOLERANCE).sum())
    low = int((part.elsewhere < LOWER_VALUE).sum())
    return [
        # The point is stationary, and second derivatives do not show that it is a minimum.
        Claim(
            name + "the constructed point is stationary, with value 1/3",
            SOURCE,
            "gradient at most 1e-12",
            f"gradient {float(part.gradient_norm):.1e}, value {float(part.value):.16f}",
            holds=stationary,
        ),
        Claim(
            name + "its Hessian is positive semidefinite and singular, so that order 2 alone does "
            "not decide",
            SOURCE,
            "DEGENERATE",
            f"{part.kind.item()}; {zeros} zero and {rest} positive eigenvalues, least of these "
            f"{automatic[zeros]:.6g}",
            holds=part.kind == "DEGENERATE" and automatic[0] >= -1e-8 * automatic[-1],
        ),
        at_most(
            name + "eigenvalues are the closed form's, and those derived by hand where there are: "
            "largest error over the largest eigenvalue",
            "derived",
            bound=1e-12,
            measured=spectrum_error(part),
        ),
        # It is a minimum: nothing beside it is lower, and descent comes back to it.
        Claim(
            name + "no perturbation goes below 1/3",
            SOURCE,
            f"0 of {part.perturbed.size}",
            f"{below} of {part.perturbed.size}, lowest 1/3 + "
            f"{float(part.perturbed.min()) - BAD_VALUE:.1e}",
            holds=below == 0 and bool(np.isfinite(part.perturbed).all()),
        ),
        Claim(
            name + f"gradient descent from perturbations of size {part.radius.values.max():g} ends "
            f"at 1/3, within {RETURN_TOLERANCE:g}",
            SOURCE,
            "every run",
            show_share(back, part.returned.size),
            holds=back == part.returned.size,
        ),
        # It is a bad one: there are lower values elsewhere.
        Claim(
            name + f"the minimum is not global: BFGS from random starts gets below {LOWER_VALUE:g}",
            SOURCE,
            "at least one start",
            f"{show_share(low, part.elsewhere.size)}, lowest {float(part.elsewhere.min()):.1e}",
            holds=low > 0,
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw what perturbations do to the value, the way back, and the values found elsewhere."""
    figure = Figure(figsize=(11, 4.2))
    around, back, elsewhere = figure.subplots(1, 3)
    # The three panels, one activation after the other.
    for i, name in enumerate(dataset.activation.values):
        part = dataset.sel(activation=name)
        label = name.replace("_", " ")
        rise = (part.perturbed - BAD_VALUE).quantile([0, 0.5, 1], "perturbation").values
        middle = np.maximum(rise[1], 1e-18)
        whiskers = np.abs(np.maximum(rise[[0, 2]], 1e-18) - middle)
        beside = part.radius * 1.2**i
        around.errorbar(beside, middle, whiskers, fmt=MARKERS[i % 5], ms=5, capsize=2, label=label)
        gap = np.maximum(abs(part.path - BAD_VALUE).median("returning"), 1e-17)
        back.plot(part.step + 1, gap, label=label, linestyle=LINES[i % 5])
        values = np.maximum(part.elsewhere.values, 1e-32)
        draw.distribution(values, ax=elsewhere, linestyle=LINES[i % 5])
    # Their axes and the value of the bad minimum.
    count = dataset.sizes["perturbation"]
    around.set(
        xscale="log",
        yscale="log",
        title="around it the loss only rises",
        xlabel="size of the perturbation (set apart)",
        ylabel=f"loss - 1/3 (least, median, most of {count})",
    )
    back.set(
        xscale="log",
        yscale="log",
        title="descent comes back to 1/3",
        xlabel="1 + step of gradient descent",
        ylabel=f"|loss - 1/3| (median of {dataset.sizes['returning']} runs)",
    )
    elsewhere.axvline(BAD_VALUE, color="0.4", linestyle=":")
    elsewhere.annotate("1/3", (BAD_VALUE, 0.92), (-3, 0), textcoords="offset points", ha="right")
    elsewhere.set(
        xscale="log",
        title="yet there is lower ground",
        xlabel="loss where BFGS ends",
        ylabel=f"share of {dataset.sizes['start']} random starts",
    )
    around.legend(loc="upper left")
    lowest = float(dataset.elsewhere.max("activation").min())
    figure.suptitle(
        f"A loss of 1/3 is a local minimum, while other weights have one below {lowest:.0e}"
    )
    return figure
