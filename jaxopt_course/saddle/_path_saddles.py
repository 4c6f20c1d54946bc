r"""The saddles that a run passes: where its path is slow, and the stationary point beside.

Along a path x_0, x_1, ... the gradient norm falls where the run comes near a stationary point and
rises where it leaves it. A *slow place* is an entry i from which the norm has to rise by a factor
on every way to a lower entry, which tells a passage from ripples:

    min over the sides of i that have a lower entry of
        max of |g| from i to the nearest lower entry on that side    >=  prominence |g_i|

The lowest entry of all is one, too. From each `find` searches for the stationary point beside it.

Jacot, Ged, Şimşek, Hongler and Gabriel (2021), https://arxiv.org/abs/2106.15933: from small starts
deep linear networks go from saddle to saddle, each of one rank more.
"""

from collections.abc import Callable
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_batch,
    check_not_empty,
    check_positive,
    check_real_array,
    check_real_floating,
    is_traced,
)
from jaxopt_course._reading import LISTED, Reading, how_many, in_words, number, readable
from jaxopt_course._tracing import Traced, trace_objective
from jaxopt_course.saddle._point import StationaryPoint
from jaxopt_course.saddle._search import Objective, find
from jaxopt_course.saddle._search_program import Outcome
from jaxopt_course.transforms._leaves import global_norm


@readable
@flax.struct.dataclass
class SlowPlaces:
    """Where a path is slow, in its order; every leaf has the places as its leading axis.

    Attributes:
        entry: Which entry of the path, int32.
        step: The step of that entry.
        value: The objective there.
        gradient_norm: The norm of its gradient there.
        outcome: How the search from there ended, an `Outcome` as int32.
        distance: From there to where it ended.
        point: Which point of the `PathSaddles` that is; -1 if none.
    """

    entry: jax.Array
    step: jax.Array
    value: jax.Array
    gradient_norm: jax.Array
    outcome: jax.Array
    distance: jax.Array
    point: jax.Array

    def _reading(self) -> Reading | None:
        """How slow the path is at each place, and how the search from there ended."""
        if np.ndim(self.step) != 1:
            return None
        rows = [
            (
                f"step {int(self.step[i])}",
                f"value {number(self.value[i])}, gradient norm {number(self.gradient_norm[i])}, "
                f"{in_words(Outcome(int(self.outcome[i])))} after {number(self.distance[i])}",
            )
            for i in range(min(np.size(self.step), LISTED))
        ]
        return Reading(f"{how_many(np.size(self.step), 'slow place')} of a path", rows)


@readable
@flax.struct.dataclass
class PathSaddles:
    """Stationary points that a path passes, in its order; the points are the leading axis.

    Attributes:
        params: The points, leaves of shape `(points, ...)`.
        value: The objective at each.
        point: A `StationaryPoint` with leading axis `points`; `point.name`, `point.index`, ...
        entry: Which entry of the path lies beside it, int32: of the slow places that lead to this
            point the one from which it is the least far.
        step: The step of that entry.
        distance: From that entry to the point, in the Euclidean norm over all parameters.
        places: The `SlowPlaces`, those included that led to no stationary point.
    """

    params: chex.ArrayTree
    value: jax.Array
    point: StationaryPoint
    entry: jax.Array
    step: jax.Array
    distance: jax.Array
    places: SlowPlaces

    def _reading(self) -> Reading | None:
        """The points by step, with kind, value and distance."""
        if np.ndim(self.step) != 1:
            return None
        number_of = np.size(self.step)
        points = [jax.tree.map(lambda leaf, i=i: leaf[i], self.point) for i in range(number_of)]
        rows = [
            (
                f"step {int(self.step[i])}",
                f"{points[i]._heading()}, value {number(self.value[i])}, "
                f"{number(self.distance[i])} away",
            )
            for i in range(min(number_of, LISTED))
        ]
        if number_of > LISTED:
            rows.append(("...", f"{number_of - LISTED} more"))
        rows.append(("more", ".params, .point; .places for the slow places that led there"))
        places = how_many(np.size(self.places.step), "slow place")
        found = how_many(number_of, "stationary point")
        return Reading(f"{found} passed, from {places}", rows)


def path_saddles(
    fun: Objective,
    path: chex.ArrayTree,
    *,
    steps: chex.Array | None = None,
    prominence: chex.Numeric = 2.0,
    max_distance: chex.Numeric | None = None,
    max_steps: int = 200,
    tolerance: chex.Numeric | None = None,
    merge_tolerance: chex.Numeric | None = None,
    canonical: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None,
    order: int = 2,
    null_space: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None,
) -> PathSaddles:
    """The stationary points that a run passes, by step, searched for where its path is slow.

    Where the gradient norm along the path has a minimum, `find` begins the search for a stationary
    point of any index, isolated or not, by `"levenberg_marquardt"`; `classify` names what it finds.
    Ends that coincide are one point. A path that ends at a minimum passes that, too, as the last.

    That a point is stationary and what it is are certified, as in `classify`; that it is the one
    that slowed the run is for its reader to judge from `distance` and from the two values, or to
    demand by `max_distance`. A path of a few entries shows few places: observe several times
    between one plateau and the next.

    Not for use under `jit` or `vmap`, since the number of slow places is not known there. Dense, as
    `find` is: for up to some hundred parameters. What rounding leaves of differences in `fun` is
    not followed: from starts near a saddle use float64.

    Args:
        fun: The objective, as in `find`.
        path: Parameters of real floating dtype with the entries as leading axis of every leaf:
            `observed["params"]` of a `transforms.path`, or one run of `escape`'s `record.params`.
        steps: The step of each entry, shape `(entries,)`. By default 0, 1, 2, ...
        prominence: How many times its gradient norm is surpassed around a slow place, >= 1.
        max_distance: The farthest that a point may be from its place, relative to 1 + |point|; by
            default however far.
        max_steps: Of each search, as in `find`.
        tolerance: As in `find`.
        merge_tolerance: As in `find`.
        canonical: As in `find`. Of points that it makes one, `params` holds one, and `distance` is
            to the one that was found from the place.
        order: As in `classify`.
        null_space: As in `classify`, a function of the parameters.

    Returns:
        A `PathSaddles`; none of its points, should no search have found one.

    Raises:
        TypeError, ValueError: for arguments other than described, traced ones, an objective two
            evaluations of which differ, or a path on which no gradient is finite.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch.

    Example:
        >>> from jaxopt_course import transforms
        >>> fun = lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2
        >>> run = transforms.path(fun, optax.sgd(0.1), jnp.array([1e-4, 1.0]), 60)
        >>> passed = path_saddles(fun, run.observed["params"], steps=run.steps)
        >>> passed.point.name, passed.value.round(5).tolist()
        (['STRICT_SADDLE', 'MINIMUM'], [1.0, 0.0])
    """
    # `find` checks what is its own.
    check_not_empty("path", path)
    check_real_floating("path", path)
    entries = check_batch("path", path)
    if is_traced((path, steps, prominence, max_distance)):
        raise TypeError(
            "path must be an array of known numbers, got one that is traced: call path_saddles "
            "outside of jit and vmap"
        )
    numbered = np.arange(entries, dtype=np.int32) if steps is None else steps
    check_real_array("steps", numbered, rank=1)
    numbered = np.asarray(numbered)
    if numbered.size != entries:
        raise ValueError(f"steps must be {entries} numbers, one an entry, got {numbered.size}")
    check_positive(prominence=prominence)
    if float(prominence) < 1:
        raise ValueError(f"prominence must be at least 1, got {brief(prominence)}")
    check_positive(max_distance=max_distance, optional=True)

    # Value and gradient norm at every entry.
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(path))
    path = jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), path)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], wide), path)
    objective = trace_objective("fun", fun, shapes, lambda: jax.tree.map(lambda x: x[0], path))
    value, gradient_norm = (np.asarray(array) for array in _slopes(objective, path))
    slow = slow_places(gradient_norm, float(prominence))
    if not slow.size:
        raise ValueError("path must have entries at which the gradient of fun is finite, got none")

    # A search from each slow place.
    starts = jax.tree.map(lambda leaf: leaf[slow], path)
    census = find(
        fun,
        starts,
        method="levenberg_marquardt",
        max_steps=max_steps,
        tolerance=tolerance,
        merge_tolerance=merge_tolerance,
        canonical=canonical,
        order=order,
        null_space=null_space,
    )
    distance = _norms(jax.tree.map(jnp.subtract, starts, census.runs.params))
    reached = np.array(census.runs.point)
    if max_distance is not None:
        reached[distance > float(max_distance) * (1 + _norms(census.runs.params))] = -1

    # Every point once, beside the place that is nearest to it, in the path's order.
    beside = [
        int(min(np.flatnonzero(reached == point), key=lambda place: distance[place]))
        for point in np.unique(reached[reached >= 0])
    ]
    beside = np.array(sorted(beside), np.int32)
    passed = reached[beside]
    place_of = {int(point): number for number, point in enumerate(passed)}
    places = SlowPlaces(
        entry=jnp.asarray(slow),
        step=jnp.asarray(numbered[slow]),
        value=jnp.asarray(value[slow]),
        gradient_norm=jnp.asarray(gradient_norm[slow]),
        outcome=census.runs.outcome,
        distance=jnp.asarray(distance),
        point=jnp.array([place_of.get(int(point), -1) for point in reached], jnp.int32),
    )
    return PathSaddles(
        params=jax.tree.map(lambda leaf: leaf[passed], census.params),
        value=census.value[passed],
        point=jax.tree.map(lambda leaf: leaf[passed], census.point),
        entry=places.entry[beside],
        step=places.step[beside],
        distance=places.distance[beside],
        places=places,
    )


@jax.jit
def _slopes(fun: Traced, path: Any) -> tuple[jax.Array, jax.Array]:
    """Return value and gradient norm at every entry, one after the other for the memory's sake."""

    def at(params):
        value, grads = jax.value_and_grad(fun)(params)
        return value, global_norm(grads)

    return jax.lax.map(at, path)


def _norms(params: Any) -> np.ndarray:
    """Return the Euclidean norm of every row over all leaves."""
    return np.asarray(jax.vmap(global_norm)(params))


def slow_places(gradient_norm: np.ndarray, prominence: float) -> np.ndarray:
    """Return the entries at which a path is slow, ascending, int32.

    Of equal entries the earlier counts as lower, so that of a flat stretch one is taken. What is
    not finite is no place, and surpasses everything.

    Args:
        gradient_norm: Along the path, shape `(entries,)`.
        prominence: See the module's formula.
    """
    norm = np.where(np.isfinite(gradient_norm), gradient_norm, np.inf)
    before = _tops(norm, ties=True)
    after = _tops(norm[::-1], ties=False)[::-1]
    # A side without a lower entry is no way down; the lowest entry of all has none on either.
    rise = np.fmin(before, after)
    slow = np.isnan(rise) | ((rise >= prominence * norm) & (rise > norm))
    return np.flatnonzero(slow & np.isfinite(norm)).astype(np.int32)


def _tops(norm: np.ndarray, *, ties: bool) -> np.ndarray:
    """Return the largest norm from the nearest lower entry before each up to it; NaN without one.

    Args:
        norm: Along the path.
        ties: Whether an equal entry counts as lower.
    """
    tops = np.full(norm.size, np.nan)
    # Entries that may be the nearest lower one of those to come, each lower than the next, with the
    # largest norm since the one below it in this stack.
    stack: list[tuple[float, float]] = []
    for entry, height in enumerate(norm.tolist()):
        top = height
        while stack and (stack[-1][0] > height or (stack[-1][0] == height and not ties)):
            top = max(top, stack.pop()[1])
        if stack:
            tops[entry] = top
        stack.append((height, top))
    return tops
