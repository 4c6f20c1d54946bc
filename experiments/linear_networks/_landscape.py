"""Stationary points of linear networks on data: searched, constructed, and named."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import problems, saddle, transforms
from jaxopt_course.problems._quadratic import random_orthogonal

from ..lab import resumable

INPUTS, BOTTLENECK, OUTPUTS = 3, 2, 3
EXAMPLES = 20
# 0.05 throws one start of the thousand with four layers to infinity.
LEARNING_RATE = 0.02
VALUE_TOLERANCE = 1e-6
RANK_TOLERANCE = 1e-3
# To W = 0 searches converge linearly, and give up where loss and Hessian drown in rounding, at
# weights of 1e-9 or so: nearer than this they have found W = 0.
ORIGIN_RADIUS = 1e-6
SYMMETRIES: Callable[[Any], Any] = saddle.change_of_basis_null_space
SOURCES = "end of descent", "search", "balanced", "unbalanced"


class Points(NamedTuple):
    """Stationary points by the way they were come by, the origin last among the balanced ones.

    Attributes:
        source: Index into `SOURCES`.
        kind: What `saddle.classify` says.
        expected_kind: What the closed form says; -1 where there is none.
        order: Of the derivatives that decided.
        min_eigenvalue: Of the Hessian.
        value: Of the loss.
        hidden_rank: Rank of `W_(N-1) ... W_2`; at N = 2 this product is empty, and of full rank.
        origin: 1 if it is W = 0, else 0.
    """

    source: np.ndarray
    kind: np.ndarray
    expected_kind: np.ndarray
    order: np.ndarray
    min_eigenvalue: np.ndarray
    value: np.ndarray
    hidden_rank: np.ndarray
    origin: np.ndarray


def network(depth: int, seed: int) -> problems.Problem:
    """Return the loss of a network with a bottleneck on random examples of a noisy linear map."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(EXAMPLES, INPUTS)) / math.sqrt(EXAMPLES)
    noise = 0.1 * rng.normal(size=(EXAMPLES, OUTPUTS)) / math.sqrt(EXAMPLES)
    left, right = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    targets = inputs @ (left * [2.0, 1.2, 0.6]) @ right + noise
    return problems.linear_network_on_data(
        inputs, targets, hidden_widths=(BOTTLENECK,) * (depth - 1)
    )


def keys_of(key: jax.Array, count: int) -> jax.Array:
    """Return keys of which the i-th does not depend on their number."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(count))


def descend(problem: problems.Problem, starts: Any, steps: int) -> saddle.EscapeRuns:
    """Run gradient descent until the value is the minimum up to `VALUE_TOLERANCE`, or in vain."""
    assert problem.minimum_value is not None
    return resumable.escape(
        problem.fun,
        transforms.gradient_descent(LEARNING_RATE),
        starts,
        max_steps=steps,
        target_value=(1 + VALUE_TOLERANCE) * problem.minimum_value,
    )


def stationary_points(
    problem: problems.Problem, ends: Any, key: jax.Array, draws: int
) -> tuple[Points, np.ndarray]:
    """Search from ends of descent and from as many random starts, and name the known points too.

    Args:
        problem: The network's loss.
        ends: Where descents ended, with the runs as leading axis.
        key: Of the random starts and the changes of basis.
        draws: How many starts are drawn, of which the first are searched from.

    Returns:
        The points, and how many of each source were tried.
    """
    search_key, basis_key = jax.random.split(key)
    count = len(jax.tree.leaves(ends)[0])
    # As many draws as for the descents, which have compiled that; start i does not depend on it.
    drawn = jax.vmap(problem.init)(keys_of(search_key, draws))
    starts = jax.tree.map(lambda leaf: leaf[:count], drawn)
    runs = resumable.find(
        problem.fun,
        jax.tree.map(lambda *parts: jnp.concatenate(parts), ends, starts),
        method="levenberg_marquardt",
        null_space=SYMMETRIES,
        # The ends are named one by one below, not as distinct points.
        max_points=1,
    ).runs
    found = np.asarray(runs.outcome) == saddle.Outcome.STATIONARY
    # The known points, also in other bases of the hidden layers: neither loss nor kind changes.
    known = problem.stationary_points
    changed = [
        _changed_basis(point.params, jax.random.fold_in(basis_key, i))
        for i, point in enumerate(known)
    ]
    params = jax.tree.map(
        lambda searched, *others: np.concatenate([searched, np.stack(others)]),
        _snapped(jax.tree.map(lambda leaf: np.asarray(leaf)[found], runs.params)),
        *[point.params for point in known],
        *changed,
    )
    points = _classify(problem.fun, jax.tree.map(jnp.asarray, params))
    # Where each point is from, and the kind it must have: -1 where a search found it.
    assert points.evidence is not None
    sources = np.repeat(np.arange(4), [count, count, len(known), len(known)])
    searched = int(found.sum())
    expected = 2 * [saddle.Kind[point.kind] for point in known]
    named = Points(
        source=np.concatenate([sources[: 2 * count][found], sources[2 * count :]]),
        kind=np.asarray(points.kind),
        expected_kind=np.array([-1] * searched + expected),
        order=np.asarray(points.evidence.order),
        min_eigenvalue=np.asarray(points.min_eigenvalue),
        value=np.asarray(jax.jit(jax.vmap(problem.fun))(params)),
        hidden_rank=_hidden_rank(params),
        origin=np.eye(searched + len(expected), dtype=int)[searched + len(known) - 1],
    )
    return named, np.bincount(sources, minlength=4)


@functools.partial(jax.jit, static_argnums=0)
def _classify(fun, batch: Any) -> saddle.StationaryPoint:
    name = functools.partial(saddle.classify, fun, order=4, null_space=SYMMETRIES)
    return jax.vmap(name)(batch)


def _snapped(weights: tuple) -> tuple:
    """Return a batch with zeros in place of all that is within `ORIGIN_RADIUS` of W = 0."""
    largest = np.max([np.max(np.abs(weight), axis=(1, 2)) for weight in weights], axis=0)
    kept = largest[:, None, None] > ORIGIN_RADIUS
    return tuple(np.where(kept, weight, 0.0) for weight in weights)


def _changed_basis(weights: tuple, key: jax.Array) -> tuple:
    """Return weights with the same product: a random regular matrix acts in each hidden layer."""
    changed = [np.asarray(weight) for weight in weights]
    for k in range(len(weights) - 1):
        first, second, third = jax.random.split(jax.random.fold_in(key, k), 3)
        stretch = np.asarray(jax.random.uniform(third, (BOTTLENECK,), minval=0.5, maxval=2.0))
        before, after = (random_orthogonal(part, BOTTLENECK) for part in (first, second))
        basis = before * stretch @ after
        changed[k] = basis @ changed[k]
        changed[k + 1] = changed[k + 1] @ np.linalg.inv(basis)
    return tuple(changed)


def _hidden_rank(weights: tuple) -> np.ndarray:
    identity = np.broadcast_to(np.eye(BOTTLENECK), (len(weights[0]), BOTTLENECK, BOTTLENECK))
    product = functools.reduce(lambda so_far, weight: weight @ so_far, weights[1:-1], identity)
    return np.linalg.matrix_rank(product, tol=RANK_TOLERANCE)
