"""One benign problem: its stationary points, and runs from random starts and from saddles."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree

from jaxopt_course import saddle, transforms

from ..lab import resumable
from ._config import Config
from ._families import Family

# A run has left once it has fallen by this share of the way from its start to the minimum.
LEFT = 0.01
RANDOM, SADDLE, PLAIN = "noise, random start", "noise, from a saddle", "no noise, from a saddle"
QUANTILES = 0.0, 0.5, 1.0
# The number of saddles differs between draws, which share a program all the same.
PLAIN_LANES = 64
# Points nearer than this, relative to their size and but for symmetries, are one.
SAME = 1e-4


def _keys(key: jax.Array, count: int) -> jax.Array:
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(count))


def _find(family: Family, starts: Any, **options: Any) -> saddle.Census:
    """Search from every start twice, for minima and for all points, up to the symmetries."""
    return resumable.find(
        family.problem.fun,
        starts,
        # The points are not isolated, but orbits of the symmetries.
        canonical=family.canonical,
        null_space=family.null_space,
        **options,
    )


def _census(searches: int, family: Family, key: jax.Array) -> saddle.Census:
    """Search from random starts and from the known points, for minima and for all points."""
    problem = family.problem
    known = [jax.tree.map(jnp.asarray, point.params) for point in problem.stationary_points]
    random = jax.vmap(problem.init)(_keys(key, searches))
    starts = jax.tree.map(
        lambda some, *others: jnp.concatenate([some, jnp.stack(others)]), random, *known
    )
    return _find(family, starts)


def _divisor(family: Family, points: saddle.StationaryPoint) -> int:
    """Return by what the family's rate is divided, to be one over the largest curvature at most."""
    largest = float(np.abs(np.asarray(points.eigenvalues)).max())
    return max(1, math.ceil(family.learning_rate * largest))


def _left(values: np.ndarray, minimum: float, every: int) -> np.ndarray:
    """Return the first recorded step at which each run has left; infinity for none."""
    start = values[:, :1]
    fallen = values < start - LEFT * (start - minimum)
    return np.where(fallen.any(axis=1), every * fallen.argmax(axis=1), np.inf)


def _not_among(census: saddle.Census, others: saddle.Census, family: Family) -> np.ndarray:
    """Return which of the other points are none of the census."""

    def features(params: Any) -> np.ndarray:
        return np.asarray(jax.vmap(lambda x: ravel_pytree(family.canonical(x))[0])(params))

    known, found = features(census.params), features(others.params)
    distances = np.linalg.norm(found[:, None] - known[None], axis=-1).min(axis=1)
    return np.flatnonzero(distances > SAME * (1 + np.linalg.norm(found, axis=1)))


def run_family(config: Config, family: Family, key: jax.Array, *, share: int) -> xr.Dataset:
    """Search and run on one draw of a problem, with one of `share` parts of all runs."""
    problem, every = family.problem, config.record_every
    runs = max(1, config.runs // share)
    minimum = problem.minimum_value
    assert minimum is not None
    search_key, start_key, noise_key = jax.random.split(key, 3)
    # The stationary points, and those that are no minima.
    census = _census(max(1, config.searches // share), family, search_key)
    points = census.point
    rest = np.flatnonzero(np.asarray(points.kind) != saddle.Kind.MINIMUM)
    saddles = jax.tree.map(lambda leaf: leaf[rest], census.params)
    lowest = float(census.value[rest].min()) - minimum
    # As many times more steps as the rate is divided by, of which as many are one in all records.
    divisor = _divisor(family, points)
    rate = jnp.asarray(family.learning_rate / divisor)

    # Descent from these exactly, without noise; then with noise, and from random starts as well.
    escape = partial(resumable.escape, problem.fun, record_every=divisor * every)
    plain = escape(
        transforms.gradient_descent(rate),
        saddles,
        max_steps=divisor * config.stay_steps,
        lanes=PLAIN_LANES,
    )
    at = np.arange(runs) % rest.size
    starts = jax.tree.map(
        lambda some, others: jnp.concatenate([some, others[at]]),
        jax.vmap(problem.init)(_keys(start_key, runs)),
        saddles,
    )
    noisy = escape(
        lambda key: transforms.noisy_gradient_descent(rate, config.noise, key),
        starts,
        _keys(noise_key, 2 * runs),
        max_steps=divisor * config.steps,
    )
    assert plain.record is not None
    assert noisy.record is not None
    # A minimum that runs with noise end at counts, too, whether the search has found it or not: as
    # many of the highest are followed as there were searches, so that one program serves both.
    searches = census.runs.steps.size // 2
    highest = np.resize(np.argsort(-np.asarray(noisy.value)), searches)
    ends = _find(family, jax.tree.map(lambda leaf: leaf[highest], noisy.params), index=0)
    new = _not_among(census, ends, family)
    points = jax.tree.map(
        lambda some, more: np.concatenate([some, np.asarray(more)[new]]), points, ends.point
    )
    values = np.concatenate([census.value, np.asarray(ends.value)[new]])
    hits = np.concatenate([census.count, np.asarray(ends.count)[new]])
    # When the noisy runs left, and how high all of them were along the way.
    with_noise, without = np.asarray(noisy.record.value), np.asarray(plain.record.value)
    left = _left(with_noise[runs:], minimum, every)
    slowest = np.full(rest.size, -np.inf)
    np.maximum.at(slowest, at, left)
    length = config.steps // every + 1
    paths = with_noise[:runs], with_noise[runs:], without[:, :length]
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
    heights = np.asarray(noisy.value).reshape(2, runs)
    return xr.Dataset(
        {
            "height": (("sort", "quantile", "step"), (np.stack(quantiles) - minimum) / lowest),
            "end_height": (("start", "run"), (heights - minimum) / lowest),
            "kind": ("point", np.asarray(points.kind)),
            "index": ("point", np.asarray(points.index)),
            "min_eigenvalue": ("point", np.asarray(points.min_eigenvalue)),
            "min_eigenvalue_error": ("point", np.asarray(points.min_eigenvalue_error)),
            "gradient_norm": ("point", np.asarray(points.gradient_norm)),
            "point_height": ("point", (values - minimum) / lowest),
            "hits": ("point", hits.astype(float)),
            "learning_rate": float(rate),
            "num_runs": runs,
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
