"""Adaptive rules cancel the conditioning of a quadratic along the axes, and only along the axes.

AdaGrad, RMSProp, AdaDelta and Adam divide each coordinate by a running size of its gradients. On
`1/2 (kappa x^2 + y^2)` that cancels kappa: the path is the same straight line for every kappa.
Turn the same quadratic by 45 degrees, and the gradients of both coordinates have the same size: the
diagonal has nothing to cancel, and the number of steps grows with kappa.

Under a constant gradient the steps are known: AdaGrad's fall as `1 / sqrt(t)`, RMSProp's as
`1 / sqrt(1 - decay^t)`, Adam's stay one learning rate, AdaDelta's grow as `sqrt(t)`.
The learning rates are fixed, not tuned: every rule is compared with itself only.

Section: Adaptive methods
Command: python -m experiments run adaptive
Cost: quick 10 s to kappa = 10^4; paper 15 s to 10^5; on 2 cores
Last result: all 13 claims hold (2026-11-23, quick and paper, 2 cores)
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

from jaxopt_course import plot as draw
from jaxopt_course import transforms

from .lab import progress
from .lab.claims import Claim, at_least, at_most
from .lab.fields import Checked, above, minimum

# Without a guard the gradient's size cancels exactly; AdaDelta's sets the size of its first step.
EPS = 0.0
RULES = {
    "AdaGrad": lambda: transforms.adagrad(0.1, eps=EPS),
    "RMSProp": lambda: transforms.rmsprop(0.01, decay=0.9, eps=EPS),
    "AdaDelta": lambda: transforms.adadelta(1.0, rho=0.95, eps=1e-6),
    "Adam": lambda: transforms.adam(0.01, eps=EPS),
}
LEARNING_RATES = {"AdaGrad": 0.1, "RMSProp": 0.01, "Adam": 0.01}
ANGLES = {"aligned": 0.0, "turned": np.pi / 4}


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Quadratics in the plane, along the axes and across them."""

    condition_numbers: tuple[Annotated[float, minimum(1)], ...] = (1.0, 1e1, 1e2, 1e3, 1e4)
    """Condition numbers kappa."""
    max_steps: Annotated[int, minimum(1)] = 20_000
    """Steps after which a run counts as not arrived."""
    target: Annotated[float, above(0)] = 0.1
    """Distance to the minimum, over that of the start, at which a run has arrived."""
    drawn: Annotated[float, above(0)] = 100.0
    """Condition number of the drawn paths."""
    path_steps: Annotated[int, minimum(1)] = 400
    """Steps of the drawn paths."""
    scales: tuple[Annotated[float, above(0)], ...] = (2.0**-20, 1.0, 2.0**20)
    """Factors of the objective that the path must not depend on; powers of 2 do not round."""
    constant_steps: Annotated[int, minimum(1)] = 100_000
    """Steps under a constant gradient."""

    @classmethod
    def quick(cls) -> "Config":
        """Up to kappa = 10^4."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Up to kappa = 10^5."""
        return cls(condition_numbers=(1.0, 1e1, 1e2, 1e3, 1e4, 1e5), max_steps=1_000_000)


def _quadratic(kappa, angle):
    """Return Hessian and start; in the axes of the Hessian the start is always (1, 1)."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    axes = jnp.stack([jnp.stack([cos, -sin]), jnp.stack([sin, cos])])
    curvatures = jnp.stack([jnp.asarray(kappa), jnp.ones_like(kappa)])
    return axes @ (curvatures[:, None] * axes.T), axes @ jnp.ones(2)


def _path(rule, kappa, angle, scale, steps):
    """Return the iterates in the plane, the start included."""
    hessian, start = _quadratic(kappa, angle)

    def fun(x):
        return scale * (x @ (hessian @ x)) / 2

    return transforms.path(fun, rule, start, steps).observed["params"]


def _steps_to_target(rule, kappa, angle, target, max_steps):
    """Return the number of steps until the run arrives, `max_steps` if it does not."""
    hessian, start = _quadratic(kappa, angle)

    def step(carry):
        x, state, count = carry
        updates, state = rule.update(hessian @ x, state, x)
        return optax.apply_updates(x, updates), state, count + 1

    def under_way(carry):
        x, _, count = carry
        far = jnp.linalg.norm(x) > target * jnp.linalg.norm(start)
        return far & (count < max_steps)

    return jax.lax.while_loop(under_way, step, (start, rule.init(start), 0))[2]


def _constant_gradient_steps(rule, steps):
    """Return the lengths of the steps under the gradient 1."""

    def step(state, _):
        update, state = rule.update(jnp.ones(()), state, jnp.zeros(()))
        return state, -update

    return jax.lax.scan(step, rule.init(jnp.zeros(())), length=steps)[1]


def run(config: Config) -> xr.Dataset:
    """Run every rule on every quadratic, on scaled ones, and under a constant gradient."""
    # Geometrically spaced steps show the whole range without keeping all of it.
    shown = np.unique(np.geomspace(1, config.constant_steps, 200).astype(int))
    counts, paths, scaled, constant = [], [], [], []
    with jax.enable_x64(True):
        angles = jnp.array(list(ANGLES.values()))
        kappas, scales = jnp.array(config.condition_numbers), jnp.array(config.scales)
        for make in progress.track(RULES.values(), "rules", total=len(RULES)):
            rule = make()

            @jax.jit
            @jax.vmap
            def count(angle, rule=rule):
                return jax.vmap(
                    lambda kappa: _steps_to_target(
                        rule, kappa, angle, config.target, config.max_steps
                    )
                )(kappas)

            @jax.jit
            def path(angle, scale, rule=rule):
                return _path(rule, jnp.asarray(config.drawn), angle, scale, config.path_steps)

            counts.append(count(angles))
            paths.append(jax.vmap(path, (0, None))(angles, jnp.ones(())))
            scaled.append(jax.vmap(path, (None, 0))(angles[1], scales))
            steps = jax.jit(lambda rule=rule: _constant_gradient_steps(rule, config.constant_steps))
            constant.append(np.asarray(steps())[shown - 1])
    return xr.Dataset(
        {
            "steps": (("rule", "axes", "condition_number"), np.stack(counts)),
            "path": (("rule", "axes", "time", "coordinate"), np.stack(paths)),
            "scaled_path": (("rule", "scale", "time", "coordinate"), np.stack(scaled)),
            "step_size": (("rule", "t"), np.stack(constant)),
        },
        coords={
            "rule": list(RULES),
            "axes": list(ANGLES),
            "condition_number": list(config.condition_numbers),
            "scale": list(config.scales),
            "t": shown,
        },
        attrs={"max_steps": config.max_steps, "drawn": config.drawn},
    )


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the dependence on conditioning and scale, and the step sizes."""
    derived = "derived: a diagonal preconditioner"
    found = []
    last = dataset.isel(condition_number=-1)
    kappa = last.condition_number.item()
    for rule in dataset.rule.values:
        aligned = dataset.steps.sel(rule=rule, axes="aligned")
        found.append(
            Claim(
                f"{rule}: along the axes the number of steps is the same for every condition "
                f"number from 1 to {kappa:.0e}",
                derived,
                "one number",
                ", ".join(str(count) for count in np.unique(aligned)),
                len(np.unique(aligned)) == 1 and aligned.max().item() < dataset.attrs["max_steps"],
            )
        )
        turned = last.steps.sel(rule=rule, axes="turned").item()
        not_arrived = " (not arrived)" if turned == dataset.attrs["max_steps"] else ""
        found.append(
            at_least(
                f"{rule}: turned by 45 degrees it needs many times more steps at condition number "
                f"{kappa:.0e}, times{not_arrived}",
                derived,
                bound=10.0,
                measured=turned / last.steps.sel(rule=rule, axes="aligned").item(),
            )
        )
    # AdaDelta's guard sets the size of its first steps, so that the scale does matter to it.
    scaled = dataset.scaled_path.drop_sel(rule="AdaDelta")
    spread = scaled.max("scale", skipna=False) - scaled.min("scale", skipna=False)
    found.append(
        at_most(
            "AdaGrad, RMSProp, Adam: multiplying the objective by 2^-20 or 2^20 changes no bit of "
            "the path; largest change",
            "derived: the size of the gradients cancels",
            bound=0.0,
            measured=spread.max(skipna=False).item(),
        )
    )
    return found + _step_size_claims(dataset)


def predicted_step_sizes(t: np.ndarray) -> dict[str, np.ndarray]:
    """Return the steps under a constant gradient that are known in closed form."""
    shapes = {"AdaGrad": t**-0.5, "RMSProp": (1 - 0.9**t) ** -0.5, "Adam": np.ones(len(t))}
    return {rule: LEARNING_RATES[rule] * shape for rule, shape in shapes.items()}


def _step_size_claims(dataset: xr.Dataset) -> list[Claim]:
    """What is claimed of the step sizes under a constant gradient."""
    t = dataset.t.values.astype(float)
    names = {
        "AdaGrad": "rate / sqrt(t)",
        "RMSProp": "rate / sqrt(1 - decay^t)",
        "Adam": "one learning rate",
    }
    found = []
    for rule, predicted in predicted_step_sizes(t).items():
        deviation = abs(dataset.step_size.sel(rule=rule).values / predicted - 1).max()
        found.append(
            at_most(
                f"{rule}: steps under a constant gradient are {names[rule]}; relative deviation",
                "closed form",
                bound=1e-9,
                measured=float(deviation),
            )
        )
    late = t >= t[-1] / 10
    sizes = dataset.step_size.sel(rule="AdaDelta").values[late]
    power = np.polyfit(np.log(t[late]), np.log(sizes), 1)[0]
    found.append(
        at_most(
            "AdaDelta: steps under a constant gradient grow as t to the power 1/2; deviation of "
            "the power",
            "derived: the average of squared steps grows by (1 - rho) eps a step",
            bound=0.01,
            measured=abs(float(power) - 0.5),
        )
    )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Draw paths along and across the axes, steps against conditioning, and step sizes."""
    figure = Figure(figsize=(10, 7.4), layout="constrained")
    (aligned, turned), (counts, sizes) = figure.subplots(2, 2)
    markers = dict(zip(dataset.rule.values, "os^D", strict=True))
    # Above: paths on the quadratic, along the axes and turned.
    kappa = dataset.attrs["drawn"]
    for axes, panel in (("aligned", aligned), ("turned", turned)):
        cos, sin = np.cos(ANGLES[axes]), np.sin(ANGLES[axes])
        turned_by = np.array([[cos, sin], [-sin, cos]])
        draw.surface(
            lambda x, basis=turned_by: jnp.array([kappa, 1.0]) @ (basis @ x) ** 2,
            ((-0.9, 1.6), (-0.3, 1.6)),
            levels=12,
            ax=panel,
        )
        for rule, marker in markers.items():
            path = dataset.path.sel(rule=rule, axes=axes)
            look = {"marker": marker, "ms": 4, "markevery": 25, "lw": 1.4, "alpha": 0.85}
            draw.path(path.values, ax=panel, **look)
        panel.plot(0, 0, "k*", ms=13)
        panel.set(xlabel="x", ylabel="y", xlim=(-0.9, 1.6), ylim=(-0.3, 1.6))
    aligned.set_title(f"along the axes: one straight path (condition number {kappa:.0f})")
    turned.set_title("the same quadratic turned by 45 degrees")
    for rule, marker in markers.items():
        (line,) = counts.loglog(
            dataset.condition_number, dataset.steps.sel(rule=rule, axes="turned"), marker + "-"
        )
        counts.loglog(
            dataset.condition_number,
            dataset.steps.sel(rule=rule, axes="aligned"),
            marker + "--",
            color=line.get_color(),
            mfc="white",
        )
        sizes.loglog(
            dataset.t, dataset.step_size.sel(rule=rule), marker=marker, markevery=20, label=rule
        )
    # Below: steps against the condition number, and step sizes.
    counts.axhline(dataset.attrs["max_steps"], color="0.5", lw=0.8, ls=":")
    counts.set(
        xlabel="condition number",
        ylabel="steps to a tenth of the distance",
        title="dashed: along the axes, solid: turned, dotted: budget",
    )
    sizes.set(xlabel="step t", ylabel="step size", title="steps under a constant gradient 1")
    sizes.legend(loc="lower left")
    figure.suptitle("Adaptive rules cancel bad conditioning along the axes only")
    return figure
