r"""A census of stationary points: search from many starts, deduplicate, classify.

Every run moves until its gradient g is zero up to

    |g| <= tolerance * |H| * (1 + max |x|)

with H the Hessian there, whatever the signs of its eigenvalues: minima, saddles of every index and
maxima are found alike. Being relative to H, and asking for a short Newton step too, it refuses
plateaus, on which the gradient is small because everything is. (A start where the gradient and some
curvatures are below `eps**(2/3)` of the largest is as good as stationary, and DEGENERATE.) Ends
that coincide are one point, which `saddle.classify` then names.

A census holds what the runs found: that it is complete is for its reader to argue, from how many
runs reached the rarest point, or from a theory that says how many points there are.

The Hessian is dense, and decomposed at each step of each run: for up to some hundred parameters.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxopt_course._batching import update_where
from jaxopt_course._checks import (
    check_batch,
    check_integer,
    check_non_negative,
    check_not_empty,
    check_one_of,
    check_positive,
    check_real_floating,
)
from jaxopt_course.saddle._classified import classify_unchecked
from jaxopt_course.saddle._deduplicate import group_by_distance
from jaxopt_course.saddle._inspect import inspect_objective
from jaxopt_course.saddle._point import StationaryPoint
from jaxopt_course.saddle._search_runs import Limits, Outcome, block_size, run_searches
from jaxopt_course.saddle._search_steps import RULES

Objective = Callable[[Any], jax.Array]


@flax.struct.dataclass
class SearchRuns:
    """Where and how every run ended; every leaf has the runs as its leading axis.

    Attributes:
        params: Parameters at the end, leaves of shape `(runs, ...)`.
        value: Value there.
        gradient_norm: Gradient norm there.
        index: Number of negative eigenvalues of the Hessian there.
        steps: Steps tried until then, int32.
        outcome: An `Outcome` as int32: STATIONARY where the run counts. WRONG_INDEX: at a
            stationary point of another index than asked for. STALLED: at a point where the gradient
            norm has a minimum but is not zero (Hg = 0), or cannot be lowered in this precision.
            FLAT: gradient and Hessian underflow. DIVERGED: not finite, or gone to infinity.
            MAX_STEPS: none of these in time.
        point: Which point of the census it ended at; -1 if none.
    """

    params: chex.ArrayTree
    value: jax.Array
    gradient_norm: jax.Array
    index: jax.Array
    steps: jax.Array
    outcome: jax.Array
    point: jax.Array


@flax.struct.dataclass
class Census:
    """Distinct stationary points, by index, then by value.

    Attributes:
        params: The points, leaves of shape `(points, ...)`: of the ends that were merged into one,
            that with the smallest relative gradient.
        value: Shape `(points,)`.
        point: A `StationaryPoint` with leading axis `points`; `point.kind`, `point.index`, ...
        count: Number of runs that ended at each point, shape `(points,)`, int32.
        share: The same over the number of all runs, those that found nothing included.
        num_points: Number of points. Under `jit` and `vmap` the arrays are padded to `max_points`
            with rows of count 0, value infinity and kind NOT_STATIONARY (0).
        num_left_over: Number of runs that ended at stationary points beyond `max_points`. Unless
            it is 0 there are more points than this census lists.
        runs: A `SearchRuns`.
    """

    params: chex.ArrayTree
    value: jax.Array
    point: StationaryPoint
    count: jax.Array
    share: jax.Array
    num_points: jax.Array
    num_left_over: jax.Array
    runs: SearchRuns


def find(
    fun: Objective,
    starts: chex.ArrayTree,
    *,
    method: str = "newton",
    index: int | jax.Array | None = None,
    max_steps: int = 200,
    tolerance: chex.Numeric | None = None,
    trust_radius: chex.Numeric = 0.1,
    merge_tolerance: chex.Numeric | None = None,
    canonical: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None,
    max_points: int | None = None,
    order: int = 2,
    null_space: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None,
) -> Census:
    """Search for stationary points of every index from a batch of starts.

    One compiled program, made once for given functions (the same objects, not equal ones), `method`
    and shapes; no run depends on another. Computed in the precision of the parameters, float32 at
    least; half-precision parameters are widened.

    Args:
        fun: The objective, from parameters (a pytree) to a scalar, twice differentiable; three
            times for `"gradient_norm"`.
        starts: Parameters of real floating dtype with the runs as leading axis of every leaf.
        method: `"newton"`, damped, for g = 0; `"levenberg_marquardt"`, which minimises |g|^2 / 2 by
            its Gauss-Newton model, and is the one for points that are not isolated;
            `"gradient_norm"`, which minimises it by Newton's, at the cost of third derivatives;
            `"eigenvector_following"`, which goes up along the `index` lowest eigenvectors of the
            Hessian and down along the others. Minima of |g| that are not stationary trap the first
            three (STALLED), more of them the higher the dimension; the last lacks a descent
            function and may cycle (MAX_STEPS), or climb for ever (DIVERGED).
        index: Count only runs that end with this many negative eigenvalues: an integer, or one a
            run, shape `(runs,)`. None for any; needed for `"eigenvector_following"`.
        max_steps: A run that has tried that many steps ends with `Outcome.MAX_STEPS`.
        tolerance: Of the gradient, relative as in the module's formula. By default `eps**(2/3)`.
        trust_radius: Length of the longest first step, relative to 1 + max |start|.
        merge_tolerance: Distance of ends that are one point, relative to 1 + |x|. By default
            `eps**(1/3)`.
        canonical: From parameters to arrays that equivalent parameters share and others do not, by
            which ends are then compared: `lambda u: u @ u.T` for u up to rotations u -> u R and
            signs, `jnp.sort` for an order that does not matter, a network's outputs on some inputs
            for the order of its neurons. By default the parameters themselves.
        max_points: The most points to list; by default as many as runs.
        order: As in `classify`, which names the points.
        null_space: As in `classify`, a function of the parameters.

    Returns:
        A `Census`, padded to `max_points` where traced.

    Raises:
        TypeError, ValueError: for arguments other than described, and an objective two evaluations
            of which differ.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch.

    Example:
        >>> fun = lambda x: (x[0] ** 2 - 1) ** 2 + x[0] / 10 + x[1] ** 2
        >>> starts = jnp.array([[-1.5, 1.0], [0.1, -1.0], [2.0, 0.5], [0.9, 0.2]])
        >>> census = find(fun, starts)
        >>> census.point.index.tolist(), census.count.tolist()
        ([0, 0, 1], [1, 2, 1])
    """
    check_one_of("method", method, tuple(RULES))
    check_one_of("order", order, (2, 4))
    for name, function in (("canonical", canonical), ("null_space", null_space)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be a function of the parameters, got {function!r}")
    check_not_empty("starts", starts)
    check_real_floating("starts", starts)
    runs = check_batch("starts", starts)
    inspect_objective("fun", fun, jax.tree.map(lambda leaf: leaf[0], starts))
    check_integer(max_steps=max_steps, max_points=max_points)
    check_non_negative(max_steps=max_steps, merge_tolerance=merge_tolerance)
    check_positive(tolerance=tolerance, trust_radius=trust_radius, max_points=max_points)
    wanted = _check_index(index, method, starts, runs)
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(starts))
    starts = jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), starts)
    eps = float(jnp.finfo(wide).eps)
    plan = _Plan(
        fun=fun,
        method=method,
        canonical=canonical,
        max_points=runs if max_points is None else int(max_points),
        order=order,
        null_space=null_space,
    )
    limits = Limits(
        max_steps=max_steps,
        tolerance=eps ** (2 / 3) if tolerance is None else tolerance,
        radius=trust_radius,
    )
    merge_tolerance = eps ** (1 / 3) if merge_tolerance is None else merge_tolerance
    census = _find(plan, starts, wanted, limits, merge_tolerance)
    if isinstance(census.num_points, jax.core.Tracer):
        return census
    return _trimmed(census)


class _Plan(NamedTuple):
    """What the compiled program depends on."""

    fun: Objective
    method: str
    canonical: Callable[[Any], Any] | None
    max_points: int
    order: int
    null_space: Callable[[Any], Any] | None


@partial(jax.jit, static_argnums=0)
def _find(
    plan: _Plan, starts: Any, wanted: jax.Array, limits: Limits, merge_tolerance: chex.Numeric
) -> Census:
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))
    flat = jax.vmap(lambda start: ravel_pytree(start)[0])(starts)
    ends = run_searches(lambda x: plan.fun(unravel(x)), plan.method, flat, wanted, limits)
    params = jax.vmap(unravel)(ends.x)
    value = jax.vmap(plan.fun)(params)

    canonical = (lambda x: x) if plan.canonical is None else plan.canonical
    groups = group_by_distance(
        jax.vmap(lambda x: ravel_pytree(canonical(x))[0])(params),
        ends.gradient_norm / jnp.where(ends.scale > 0, ends.scale, 1),
        ends.outcome == Outcome.STATIONARY,
        tolerance=merge_tolerance,
        max_groups=plan.max_points,
    )
    best = groups.representative
    # The runs have decided what is stationary: doubled, lest rounding reverse it.
    bounds = 2 * limits.tolerance * ends.scale[best]

    def name(_: StationaryPoint | None, x: Any, bound: jax.Array) -> StationaryPoint:
        return classify_unchecked(
            plan.fun, x, gradient_tolerance=bound, order=plan.order, null_space=plan.null_space
        )

    candidates = jax.tree.map(lambda leaf: leaf[best], params)
    shape = jax.eval_shape(lambda x: name(None, x, bounds[0]), unravel(flat[0]))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    guarded = jax.vmap(update_where(name, block=block_size(best.size)), in_axes=(0, None, 0, 0))
    point = guarded(jnp.arange(best.size) < groups.count, nothing, candidates, bounds)

    # The last word on the index has `classify`, which doubts small eigenvalues.
    grouped = groups.group >= 0
    wrong = grouped & (wanted >= 0) & (point.index[groups.group] != wanted)
    outcome = jnp.where(wrong, Outcome.WRONG_INDEX, ends.outcome)
    counted = grouped & ~wrong
    count = jnp.zeros(plan.max_points, jnp.int32).at[groups.group].add(counted)

    order = jnp.lexsort((value[best], point.index, count == 0))
    place = jnp.zeros_like(order).at[order].set(jnp.arange(order.size))
    count, best = count[order], best[order]
    return Census(
        params=jax.tree.map(lambda leaf: leaf[best], params),
        value=jnp.where(count > 0, value[best], jnp.inf),
        point=jax.tree.map(lambda leaf: leaf[order], point),
        count=count,
        share=count / value.size,
        num_points=jnp.sum(count > 0),
        num_left_over=jnp.sum((ends.outcome == Outcome.STATIONARY) & ~grouped),
        runs=SearchRuns(
            params=params,
            value=value,
            gradient_norm=ends.gradient_norm,
            index=ends.index,
            steps=ends.steps,
            outcome=outcome,
            point=jnp.where(counted, place[groups.group], -1).astype(jnp.int32),
        ),
    )


def _trimmed(census: Census) -> Census:
    """Return the census without its padding."""
    count = int(census.num_points)
    names = ("params", "value", "point", "count", "share")
    listed = {name: getattr(census, name) for name in names}
    listed = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[:count]), listed)
    return dataclasses.replace(census, **listed)


def _check_index(index: Any, method: str, starts: chex.ArrayTree, runs: int) -> jax.Array:
    """Return one index a run, -1 for any."""
    if index is None:
        if method == "eigenvector_following":
            raise ValueError("index must be given for method='eigenvector_following', got None")
        return jnp.full(runs, -1, jnp.int32)
    if not jnp.issubdtype(jnp.result_type(index), jnp.integer):
        raise TypeError(f"index must be an integer or integers, got {index!r}")
    if jnp.shape(index) not in ((), (runs,)):
        raise ValueError(f"index must have shape () or ({runs},), got {jnp.shape(index)}")
    dimension = sum(jnp.size(leaf) for leaf in jax.tree.leaves(starts)) // runs
    if not isinstance(index, jax.core.Tracer) and not np.all(
        (np.asarray(index) >= 0) & (np.asarray(index) <= dimension)
    ):
        raise ValueError(f"index must lie in [0, {dimension}], got {index}")
    return jnp.broadcast_to(jnp.asarray(index, jnp.int32), (runs,))
