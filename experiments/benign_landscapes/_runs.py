"""One benign problem: its stationary points, and runs from random starts and from saddles."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxopt_course import saddle, transforms

from ..lab import resumable
from ._config import Config
from ._families import Family

LEFT = 0.01
RANDOM, SADDLE, PLAIN = "noise, random start", "noise, from a saddle", "no noise, from a saddle"
QUANTILES = 0.0, 0.5, 1.0
LANES = 256


def _keys(key: jax.Array, count: int) -> jax.Array:
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(count))


def _census(config: Config, family: Family, key: jax.Array) -> saddle.Census:
    """Search from random starts and from the known points."""
    problem = family.problem
    known = [jax.tree.map(jnp.asarray, point.params) for point in problem.stationary_points]
    random = jax.vmap(problem.init)(_keys(key, config.searches))
    starts = jax.tree.map(
        lambda some, *others: jnp.concatenate([some, jnp.stack(others)]), random, *known
    )
    return resumable.find(
        problem.fun,
        starts,
        # The points are not isolated, but orbits of the symmetries.
        method="levenberg_marquardt",
        canonical=family.canonical,
        null_space=family.null_space,
    )


def _left(values: np.ndarray, minimum: float, every: int) -> np.ndarray:
    """Return the first recorded step at which each run has left; infinity for none."""
    start = values[:, :1]
    fallen = values < start - LEFT * (start - minimum)
    return np.where(fallen.any(axis=1), every * fallen.argmax(axis=1), np.inf)


def run_family(config: Config, family: Family, key: jax.Array) -> xr.Dataset:
    """Take a census of one family's stationary points, and run descent with and without noise."""
    problem, every = family.problem, config.record_every
    minimum = problem.minimum_value
    assert minimum is not None
    search_key, start_key, noise_key = jax.random.split(key, 3)
    # The stationary points, and those that are no minima.
    census = _census(config, family, search_key)
    points = census.point
    rest = np.flatnonzero(np.asarray(points.kind) != saddle.Kind.MINIMUM)
    saddles = jax.tree.map(lambda leaf: leaf[rest], census.params)
    lowest = float(census.value[rest].min()) - minimum

    # Descent from these exactly, without noise; then with noise, and from random starts as well.
    escape = partial(resumable.escape, problem.fun, record_every=every)
    plain = escape(
        transforms.gradient_descent(family.learning_rate), saddles, max_steps=config.stay_steps
    )
    at = np.arange(config.runs) % rest.size
    starts = jax.tree.map(
        lambda some, others: jnp.concatenate([some, others[at]]),
        jax.vmap(problem.init)(_keys(start_key, config.runs)),
        saddles,
    )
    noisy = escape(
        lambda key: transforms.noisy_gradient_descent(family.learning_rate, config.noise, key),
        starts,
        _keys(noise_key, 2 * config.runs),
        max_steps=config.steps,
        lanes=LANES,
    )
    assert plain.record is not None
    assert noisy.record is not None
    # When the noisy runs left, and how high all of them were along the way.
    with_noise, without = np.asarray(noisy.record.value), np.asarray(plain.record.value)
    left = _left(with_noise[config.runs :], minimum, every)
    slowest = np.full(rest.size, -np.inf)
    np.maximum.at(slowest, at, left)
    length = config.steps // every + 1
    paths = with_noise[: config.runs], with_noise[config.runs :], without[:, :length]
    quantiles = [np.quantile(values, QUANTILES, axis=0) for values in paths]

    def of_saddles(values: Any) -> tuple[str, np.ndarray]:
        """Spread what is known of the saddles over all points, NaN at minima."""
        spread = np.full(points.kind.shape, np.nan)
        spread[rest] = values
        return "point", spread

    # What is known of every point, and of every run at its end.
    moved = jax.tree.map(
        lambda end, start: np.any(np.asarray(end != start), axis=tuple(range(1, end.ndim))),
        plain.params,
        saddles,
    )
    heights = np.asarray(noisy.value).reshape(2, config.runs)
    return xr.Dataset(
        {
            "height": (("sort", "quantile", "step"), (np.stack(quantiles) - minimum) / lowest),
            "end_height": (("start", "run"), (heights - minimum) / lowest),
            "kind": ("point", np.asarray(points.kind)),
            "index": ("point", np.asarray(points.index)),
            "min_eigenvalue": ("point", np.asarray(points.min_eigenvalue)),
            "min_eigenvalue_error": ("point", np.asarray(points.min_eigenvalue_error)),
            "gradient_norm": ("point", np.asarray(points.gradient_norm)),
            "point_height": ("point", (np.asarray(census.value) - minimum) / lowest),
            "count": ("point", np.asarray(census.count)),
            "unfinished": float(np.mean(np.asarray(census.runs.point) < 0)),
            "stay": of_saddles(_left(without, minimum, every)),
            "slowest": of_saddles(slowest),
            "moved": of_saddles(np.any(jax.tree.leaves(moved), axis=0)),
        },
        coords={
            "sort": [RANDOM, SADDLE, PLAIN],
            "start": [RANDOM, SADDLE],
            "quantile": list(QUANTILES),
            "step": every * np.arange(length),
            "point": np.arange(points.kind.size),
        },
    )
