r"""A linear classifier of digits whose every training example has a feature of its own.

Training example i has, beside its pixels and a constant, one feature that no other example has, of
size s; a new example has none of them. Adaptive methods give the many rare features as long steps
as the few common ones, and so learn by heart: Wilson et al.'s example carried to real data.

The classifier is linear with a softmax, starts from 0 and sees all examples at every step. They
can be separated, so the loss has no minimum: the larger the rate, the lower the loss in the end,
without limit. What is compared is therefore where each method stands when the training loss has
fallen to the same level. A small rate takes many steps to get there and a large one overshoots: the
best rate is the one of the fewest steps.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

from jaxopt_course import training

from ..lab import data, progress
from ..lab.claims import Claim
from ..lab.statistics import mean_interval, show_mean
from ._five_methods import ADAPTIVE, METHODS, NON_ADAPTIVE

# As many for every method, half a decade apart, around the rates of a trial run.
RATES = {
    "SGD": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    "heavy ball": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    "AdaGrad": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    "RMSProp": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
    "Adam": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0),
}


def divide(loaded: data.Dataset, examples: int | None, seed: int) -> tuple[data.Split, data.Split]:
    """Return training and test data: `examples` at random and the rest, or as published."""
    if examples is None:
        return loaded.train, loaded.test
    images, labels = map(np.concatenate, zip(loaded.train, loaded.test, strict=True))
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen, rest = np.split(order, [examples])
    return data.Split(images[chosen], labels[chosen]), data.Split(images[rest], labels[rest])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _train(method, level, max_steps, rates, sizes, train, test):
    """Return steps to the level and the test error there, sizes x rates; NaN if not reached."""
    images, labels = train
    start = jnp.zeros((images.shape[1], 10)), jnp.zeros((len(labels), 10))

    def one(size, rate):
        optimizer = METHODS[method](rate)

        # Example i has private feature i alone: their part of the outputs is size * weights[1].
        def loss(weights):
            outputs = images @ weights[0] + size * weights[1]
            return training.cross_entropy(outputs, labels).mean()

        def step(carry):
            weights, opt_state, _, count = carry
            value, gradient = jax.value_and_grad(loss)(weights)
            updates, opt_state = optimizer.update(gradient, opt_state, weights)
            # The value is that before the step: once it is at the level, the weights stay.
            moved = optax.apply_updates(weights, updates)
            weights = jax.tree.map(lambda a, b: jnp.where(value > level, a, b), moved, weights)
            return weights, opt_state, value, count + 1

        def above(carry):
            return (carry[2] > level) & (carry[3] <= max_steps)

        weights, _, value, count = jax.lax.while_loop(
            above, step, (start, optimizer.init(start), jnp.inf, 0)
        )
        error = 1 - training.correct(test[0] @ weights[0], test[1]).mean()
        reached = value <= level
        return jnp.where(reached, count - 1, jnp.nan), jnp.where(reached, error, jnp.nan)

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(sizes, rates)


def train(
    divisions: int, examples: int, sizes: tuple[float, ...], level: float, max_steps: int, seed: int
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Train by every method at every rate, for every division of the digits and size.

    Args:
        divisions: Divisions into training and test examples.
        examples: Training examples of each.
        sizes: Sizes of the private features.
        level: Training loss at which training ends.
        max_steps: Most steps until then.
        seed: Of the first division.

    Returns:
        `bridge_steps` and `bridge_error` at the end, NaN where the level was not reached, and
        `bridge_learning_rate`; each with the names of its axes.
    """
    loaded = data.load("digits").standardized()
    found = []
    for index in progress.track(range(divisions), "private features"):
        divided = []
        for images, labels in divide(loaded, examples, seed + index):
            flat = images.reshape(len(labels), -1)
            divided.append((np.concatenate([flat, np.ones_like(flat[:, :1])], axis=1), labels))
        found.append(
            [
                _train(method, level, max_steps, jnp.array(rates), jnp.array(sizes), *divided)
                for method, rates in RATES.items()
            ]
        )
    values = np.array(jax.device_get(found))
    dims = ("division", "optimizer", "size", "bridge_rate")
    return {
        "bridge_steps": (dims, values[:, :, 0]),
        "bridge_error": (dims, values[:, :, 1]),
        "bridge_learning_rate": (("optimizer", "bridge_rate"), np.array(list(RATES.values()))),
    }


def fastest(dataset: xr.Dataset) -> xr.DataArray:
    """Return the index of the rate of the fewest steps on average over the divisions.

    A rate that fails in one of them is out.
    """
    steps = dataset.bridge_steps.mean("division", skipna=False)
    return steps.fillna(np.inf).argmin("bridge_rate")


def errors(dataset: xr.Dataset, *, by_test: bool = False) -> xr.DataArray:
    """Return test errors in % at the fastest rate, or at the rate of the lowest test error."""
    percent = 100 * dataset.bridge_error
    chosen = fastest(dataset)
    if by_test:
        means = percent.mean("division", skipna=False)
        chosen = means.fillna(np.inf).argmin("bridge_rate")
    return percent.isel(bridge_rate=chosen)


def gap(dataset: xr.Dataset, *, by_test: bool = False) -> xr.DataArray:
    """Return the mean error of the adaptive methods less that of the others, in points."""
    found = errors(dataset, by_test=by_test)
    return found.sel(optimizer=list(ADAPTIVE)).mean("optimizer", skipna=False) - found.sel(
        optimizer=list(NON_ADAPTIVE)
    ).mean("optimizer", skipna=False)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Judge that every rate is a choice, and the gap at the fastest and at the best rates."""
    # A fastest rate at an end of its grid could be faster beyond it, so that first none may be.
    chosen = fastest(dataset)
    last = dataset.sizes["bridge_rate"] - 1
    rates = dataset.bridge_learning_rate.isel(bridge_rate=chosen)
    sizes = dataset["size"].values
    least, largest = sizes[[0, -1]]
    level = f"at training loss {dataset.attrs['bridge_level']:g}"
    result = [
        Claim(
            f"digits with private features: every method gets to training loss "
            f"{dataset.attrs['bridge_level']:g} fastest at a rate inside its grid",
            "control",
            "neither the smallest nor the largest, every method and size",
            "; ".join(
                f"{method} " + ", ".join(f"{float(rate):g}" for rate in rates.sel(optimizer=method))
                for method in METHODS
            ),
            bool(((chosen > 0) & (chosen < last)).all())
            and bool(dataset.bridge_steps.isel(bridge_rate=chosen).notnull().all()),
        )
    ]
    # The gap, and its growth, at both choices of the rates: neither may make it.
    for by_test, rate, trial in (
        (False, "the fastest rates", 6.08),
        (True, "the rates best on the test", 1.25),
    ):
        gaps = gap(dataset, by_test=by_test)
        of_largest = gaps.sel(size=largest)
        mean, half = mean_interval(of_largest)
        growth = of_largest - gaps.sel(size=least)
        grown, margin = mean_interval(growth)
        means = gaps.mean("division", skipna=False)
        steps = gaps.diff("size").transpose("size", "division")
        # From one size to the next: mean and half width, paired by division.
        rises = [mean_interval(step) for step in steps]
        result += [
            Claim(
                f"private features of size {largest:g}, {level}, {rate}: test error of the "
                "adaptive methods less that of the others (points, paired)",
                f"half of what a trial run with seed 1000 showed, {trial:g}",
                f"at least {trial / 2:.2g}, 95 % interval above 0",
                show_mean(of_largest),
                mean >= trial / 2 and mean - half > 0,
            ),
            Claim(
                f"the gap at {rate} grows with the features' size (size {largest:g} less size "
                f"{least:g}, paired)",
                "derived: private features are what adaptive rules fit first",
                "above 0 with its 95 % interval, and to no next size a certain fall",
                f"{show_mean(growth)}; gaps "
                + ", ".join(f"{float(value):.2f}" for value in means)
                + "; rises "
                + ", ".join(f"{rise:+.2g} ± {half:.2g}" for rise, half in rises),
                grown - margin > 0 and all(rise + half >= 0 for rise, half in rises),
            ),
        ]
    return result
