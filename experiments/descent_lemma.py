"""On a network too, each gradient step lowers the loss by at least what the descent lemma promises.

Gradient descent with learning rate 1/beta, full batch, on scikit-learn's digits: a network with one
hidden layer of tanh units, cross-entropy, double precision. The loss of a network has no global
smoothness beta; the lemma needs it on the segments of the path only. So beta is measured first, on
the paths of other networks: 1.5 times the largest curvature found at their steps and midpoints of
steps (`theory.estimate_smoothness`). Then it is fixed; that the curvature on the judged networks'
paths stays below it is a claim, and may fail.

The smallest of T gradient norms must stay below `sqrt(2 beta Delta / T)`; Delta is the loss at the
start, since the cross-entropy has no negative values. As a control the same is asked of a rate that
takes beta for 16 times smaller than it is.

Section: Descent and rates
Command: python -m experiments run descent_lemma
Cost: quick 25 s of processor time for 5 networks, 2,000 steps; paper, 10 on all digits, 5,000
    steps, not run since beta is measured on other networks
Last result: all 4 claims hold, also with seed 1; curvature up to 0.78 beta, 0.56 with seed 1
    (2026-11-29, quick)
"""

import dataclasses
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
from .lab.claims import Claim, at_least, at_most
from .lab.fields import Checked, Seed, above, minimum


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Networks on digits."""

    networks: Annotated[int, minimum(1)] = 5
    """Number of networks, each from its own start."""
    examples: Annotated[int, minimum(1)] = 500
    """Number of digits that are trained on."""
    hidden: Annotated[int, minimum(1)] = 16
    """Hidden units."""
    steps: Annotated[int, minimum(1)] = 2000
    """Steps of gradient descent."""
    estimates: Annotated[int, minimum(1)] = 50
    """Number of steps at which the curvature is looked at, denser at first."""
    trials: Annotated[int, minimum(1)] = 5
    """Number of other networks, on whose paths beta is measured."""
    margin: Annotated[float, above(0)] = 1.5
    """beta over the largest curvature found on those other networks' paths."""
    control: Annotated[float, above(0)] = 16.0
    """Factor by which the control underestimates beta."""
    seed: Seed = 0
    """Seed of the starts."""

    @classmethod
    def quick(cls) -> "Config":
        """Five networks."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Ten networks on all digits."""
        return cls(networks=10, trials=10, examples=1797, steps=5000)


def _load(examples: int) -> tuple[jax.Array, jax.Array]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return jnp.asarray(images[:examples] / 16.0), jnp.asarray(labels[:examples])


def _init(key, hidden):
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (64, hidden)) / 8.0,
        "hidden_bias": jnp.zeros(hidden),
        "output": jax.random.normal(second, (hidden, 10)) / hidden**0.5,
        "output_bias": jnp.zeros(10),
    }


def loss(params, images, labels):
    """Return the mean cross-entropy of the network."""
    hidden = jnp.tanh(images @ params["hidden"] + params["hidden_bias"][None])
    logits = hidden @ params["output"] + params["output_bias"][None]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _step(params, learning_rate, data):
    """Take one step of gradient descent; return params, loss and gradient norm before it."""
    optimizer = transforms.gradient_descent(learning_rate)
    value, gradient = jax.value_and_grad(loss)(params, *data)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    return optax.apply_updates(params, updates), value, optax.tree.norm(gradient)


@partial(jax.jit, static_argnames="steps")
def _descend(start, learning_rate, data, steps):
    """Return the losses and gradient norms of all steps."""

    def step(params, _):
        params, *record = _step(params, learning_rate, data)
        return params, record

    return jax.lax.scan(step, start, length=steps)[1]


@jax.jit
def _visit(start, learning_rate, data, steps):
    """Return the params before, and in the middle of, each of the `steps`, which are sorted."""

    def go_on(params, count):
        def step(_, params):
            return _step(params, learning_rate, data)[0]

        before = jax.lax.fori_loop(0, count, step, params)
        after = step(0, before)
        return before, (before, jax.tree.map(lambda a, b: (a + b) / 2, before, after))

    return jax.lax.scan(go_on, start, jnp.diff(steps, prepend=0))[1]


@jax.jit
def _curvature(params, data, key):
    return theory.estimate_smoothness(lambda p: loss(p, *data), params, key=key, tolerance=1e-2)


def _curvatures(params, data, key):
    """Return the largest curvature at each of a batch of points, leading axes (network, at)."""
    shape = jax.tree.leaves(params)[0].shape[:2]
    points = progress.track(list(np.ndindex(shape)), "curvature")
    at = [_curvature(jax.tree.map(lambda x, i=i: x[i], params), data, key) for i in points]
    return np.array(at).reshape(shape)


def _settle(smoothness, margin, curvature):
    """Return a smoothness above the curvature of the paths that it gives, by the margin or more."""
    while (found := curvature(1 / smoothness)).max() > smoothness:
        smoothness = margin * float(found.max())
    return max(smoothness, margin * float(found.max())), found


def run(config: Config) -> xr.Dataset:
    """Measure beta on networks of their own; then record runs with 1/beta and the control."""
    with jax.enable_x64(True):
        data = _load(config.examples)
        keys = jax.random.split(jax.random.key(config.seed), config.trials + config.networks)
        every = jax.vmap(lambda key: _init(key, config.hidden))(keys)
        trials, starts = (
            jax.tree.map(lambda x, part=part: x[part], every)
            for part in (slice(config.trials), slice(config.trials, None))
        )
        # The curvature changes fastest at first.
        at = np.unique(np.geomspace(1, config.steps, config.estimates).astype(int)) - 1

        def descend(rate):
            return jax.vmap(lambda start: _descend(start, rate, data, config.steps))(starts)

        def curvature(starts, rate):
            visit = jax.vmap(lambda start: _visit(start, rate, data, jnp.asarray(at)))
            return np.stack([_curvatures(points, data, keys[0]) for points in visit(starts)], -1)

        at_start = _curvatures(jax.tree.map(lambda x: x[:, None], trials), data, keys[0])
        first = config.margin * float(at_start.max())
        smoothness, tried = _settle(first, config.margin, partial(curvature, trials))
        found = curvature(starts, 1 / smoothness)
        losses, slopes = descend(1 / smoothness)
        control, control_norms = descend(config.control / smoothness)
        return xr.Dataset(
            {
                "loss": (("network", "step"), np.asarray(losses)),
                "gradient_norm": (("network", "step"), np.asarray(slopes)),
                "curvature": (("network", "at", "where"), found),
                "trial_curvature": (("trial", "at", "where"), tried),
                "control_loss": (("network", "step"), np.asarray(control)),
                "control_gradient_norm": (("network", "step"), np.asarray(control_norms)),
            },
            coords={
                "step": np.arange(losses.shape[1]),
                "at": at,
                "where": ["start of the step", "middle of the step"],
            },
            attrs={"smoothness": smoothness, "control": config.control},
        )


def decrease_ratios(
    values: xr.DataArray, norms: xr.DataArray, learning_rate: float, smoothness: float
) -> xr.DataArray:
    """Return the decrease of each step over the guaranteed one: at least 1 by the lemma."""
    promised = theory.guaranteed_decrease(1.0, learning_rate=learning_rate, smoothness=smoothness)
    squares = norms.isel(step=slice(None, -1)) ** 2
    return -values.diff("step", label="lower") / (promised * squares)


def _ratios(dataset: xr.Dataset) -> xr.DataArray:
    beta = dataset.attrs["smoothness"]
    return decrease_ratios(dataset.loss, dataset.gradient_norm, 1 / beta, beta)


def _bound_shares(dataset: xr.Dataset) -> xr.DataArray:
    """Return the smallest gradient norm so far over its bound, for every network and T."""
    smallest = np.minimum.accumulate(dataset.gradient_norm.values, axis=1)
    bound = theory.gradient_norm_bound(
        dataset.step.values + 1.0,
        smoothness=dataset.attrs["smoothness"],
        function_gap=dataset.loss.isel(step=0).values[:, None],
    )
    return dataset.gradient_norm.copy(data=smallest / bound)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge the lemma, its assumption, its consequence and the control."""
    nesterov = "descent lemma; Nesterov 2004, section 1.2.3"
    beta = dataset.attrs["smoothness"]
    ratios, shares = _ratios(dataset), _bound_shares(dataset)
    small = beta / dataset.attrs["control"]
    control = decrease_ratios(dataset.control_loss, dataset.control_gradient_norm, 1 / small, small)
    broken = int((~(control >= 1)).sum())
    networks = f"{dataset.sizes['network']} networks"
    return [
        at_most(
            "the curvature found on the path stays below beta, as the lemma assumes: largest of "
            f"{dataset.curvature.size} estimates over beta, which {dataset.sizes['trial']} other "
            "networks gave",
            "measured before",
            bound=1.0,
            measured=float(dataset.curvature.max(skipna=False)) / beta,
        ),
        at_least(
            "every step lowers the loss by what the lemma promises: smallest of "
            f"{ratios.size} steps' ratios of decrease to promise, {networks}",
            nesterov,
            bound=1.0,
            measured=float(ratios.min(skipna=False)),
        ),
        at_most(
            "the smallest of T gradient norms stays below sqrt(2 beta Delta / T) for every T: "
            f"largest share of the bound, {networks}",
            "sum of the descent lemma over T steps",
            bound=1.0,
            measured=float(shares.max(skipna=False)),
        ),
        Claim(
            f"with beta taken {dataset.attrs['control']:g} times too small the inequality fails",
            "control",
            "at least once",
            f"in {broken} of {control.size} steps",
            broken > 0,
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Draw decrease over promise, gradient norms under their bound, and the curvature."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    ratios = _ratios(dataset)
    left.semilogx(ratios.step + 1, ratios.T, color="C0", lw=1)
    left.axhline(1, color="black", lw=0.8, ls=":")
    left.set(
        xlabel="step", ylabel="decrease / promise", ylim=(0, None), title="every step keeps it"
    )
    bound = theory.gradient_norm_bound(
        dataset.step.values + 1.0,
        smoothness=dataset.attrs["smoothness"],
        function_gap=float(dataset.loss.isel(step=0).max()),
    )
    smallest = np.minimum.accumulate(dataset.gradient_norm.values, axis=1)
    middle.loglog(dataset.step + 1, smallest.T, color="C0", lw=1)
    middle.loglog(dataset.step + 1, bound, color="C1", label="bound")
    middle.set(xlabel="steps T", ylabel="smallest gradient norm", title="far below the bound")
    middle.legend()
    right.semilogx(dataset["at"] + 1, dataset.curvature.max("where").T, color="C0", lw=1)
    right.axhline(dataset.attrs["smoothness"], color="C1", label="beta")
    right.set(xlabel="step", ylabel="largest curvature", ylim=(0, None), title="beta stays above")
    right.legend()
    figure.suptitle(
        "Each step of rate 1/beta lowers a network's loss by at least the promised amount"
    )
    return figure
