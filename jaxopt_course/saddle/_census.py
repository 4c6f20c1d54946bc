"""Where searches for stationary points ended: points told apart, named, counted, put in order."""

import dataclasses
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxopt_course._batching import update_where
from jaxopt_course._tracing import Traced
from jaxopt_course.saddle._point import StationaryPoint
from jaxopt_course.saddle._search_program import Outcome, block_size
from jaxopt_course.saddle._stationary import classify_unchecked


@flax.struct.dataclass
class SearchRuns:
    """Where and how every run ended; every leaf has the runs as its leading axis.

    One run a start, in their order; of a search without a `method` two, n Newton's runs first.

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
        share: The same over the number of all runs, those that found nothing included: the fraction
            of starts that lead there by a method alone. Without a `method` half of the runs look
            for minima alone; `runs.point[:n]` and `runs.point[n:]` tell the two apart.
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


@flax.struct.dataclass
class Naming:
    """How points are told apart and named; a pytree of what the functions close over.

    Attributes:
        fun: The objective.
        canonical: By what ends are compared, None for the parameters.
        null_space: Directions in which the objective does not change, None for unknown ones.
        max_points: The most points to list.
        order: As in `classify`.
    """

    fun: Traced
    canonical: Traced | None
    null_space: Traced | None
    max_points: int = flax.struct.field(pytree_node=False)
    order: int = flax.struct.field(pytree_node=False)


@jax.jit
def take_census(
    naming: Naming,
    ends: dict[str, Any],
    wanted: jax.Array,
    tolerance: chex.Numeric,
    merge_tolerance: chex.Numeric,
) -> Census:
    """Tell the points apart at which runs ended, and count.

    Args:
        naming: How.
        ends: What `SearchProgram.row` keeps, the runs being the first axis.
        wanted: The index that each run was to end at, shape `(runs,)`; -1 for any.
        tolerance: Of the gradient, relative, that the runs had.
        merge_tolerance: Distance of ends that are one point, relative.

    Returns:
        The census, padded.
    """
    params, value, reason = ends["params"], ends["value"], ends["reason"]
    canonical = (lambda x: x) if naming.canonical is None else naming.canonical
    groups = group_by_distance(
        jax.vmap(lambda x: ravel_pytree(canonical(x))[0])(params),
        ends["gradient_norm"] / jnp.where(ends["scale"] > 0, ends["scale"], 1),
        reason == Outcome.STATIONARY,
        tolerance=merge_tolerance,
        max_groups=naming.max_points,
    )
    best = groups.representative
    # The runs have decided what is stationary: doubled, lest rounding reverse it.
    bounds = 2 * tolerance * ends["scale"][best]

    def name(_: StationaryPoint | None, x: Any, bound: jax.Array) -> StationaryPoint:
        return classify_unchecked(
            naming.fun,
            x,
            gradient_tolerance=bound,
            order=naming.order,
            null_space=naming.null_space,
            # The ends stand for the stationary points beside which they stopped.
            count_doubtful=False,
        )

    candidates = jax.tree.map(lambda leaf: leaf[best], params)
    first = jax.tree.map(lambda leaf: leaf[0], params)
    shape = jax.eval_shape(lambda x: name(None, x, bounds[0]), first)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    guarded = jax.vmap(update_where(name, block=block_size(best.size)), in_axes=(0, None, 0, 0))
    point = guarded(jnp.arange(best.size) < groups.count, nothing, candidates, bounds)

    # The last word on the index has `classify`, which doubts small eigenvalues.
    grouped = groups.group >= 0
    wrong = grouped & (wanted >= 0) & (point.index[groups.group] != wanted)
    outcome = jnp.where(wrong, Outcome.WRONG_INDEX, reason)
    counted = grouped & ~wrong
    count = jnp.zeros(naming.max_points, jnp.int32).at[groups.group].add(counted)

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
        num_left_over=jnp.sum((reason == Outcome.STATIONARY) & ~grouped),
        runs=SearchRuns(
            params=params,
            value=value,
            gradient_norm=ends["gradient_norm"],
            index=ends["index"],
            steps=ends["steps"],
            outcome=outcome,
            point=jnp.where(counted, place[groups.group], -1).astype(jnp.int32),
        ),
    )


def trimmed(census: Census) -> Census:
    """Return the census without its padding."""
    count = int(census.num_points)
    names = ("params", "value", "point", "count", "share")
    listed = {name: getattr(census, name) for name in names}
    listed = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[:count]), listed)
    return dataclasses.replace(census, **listed)


class Groups(NamedTuple):
    """Ends in groups; the groups are padded to a fixed number.

    Attributes:
        count: Number of groups.
        representative: The best member of each, shape `(max_groups,)`; 0 beyond `count`.
        group: Of every member, shape `(members,)`; -1 where it is in none.
    """

    count: jax.Array
    representative: jax.Array
    group: jax.Array


def group_by_distance(
    features: jax.Array,
    residual: jax.Array,
    eligible: jax.Array,
    *,
    tolerance: chex.Numeric,
    max_groups: int,
) -> Groups:
    """Group what lies around the best member, then around the best of the rest, and so on.

    A group is a ball, not a chain: no member is further from the representative than the tolerance.

    Args:
        features: Shape `(members, n)`.
        residual: What the best have least of, shape `(members,)`, finite where eligible.
        eligible: Whether to group a member at all, shape `(members,)`.
        tolerance: Radius of a group, relative to 1 + |features of the representative|.
        max_groups: Members that would come into further ones are left in none.
    """
    members = jnp.arange(residual.size)

    def free(groups: Groups) -> jax.Array:
        return eligible & (groups.group < 0)

    def add(groups: Groups) -> Groups:
        best = jnp.argmin(jnp.where(free(groups), residual, jnp.inf))
        centre = features[best]
        distance = jnp.linalg.norm(features - centre[None, :], axis=1)
        near = distance <= tolerance * (1 + jnp.linalg.norm(centre))
        # The representative itself, or features that are NaN would be asked for ever.
        inside = free(groups) & (near | (members == best))
        return Groups(
            count=groups.count + 1,
            representative=groups.representative.at[groups.count].set(best),
            group=jnp.where(inside, groups.count, groups.group),
        )

    empty = Groups(
        count=jnp.zeros((), jnp.int32),
        representative=jnp.zeros(max_groups, members.dtype),
        group=jnp.full(members.shape, -1, jnp.int32),
    )
    return jax.lax.while_loop(
        lambda groups: (groups.count < max_groups) & jnp.any(free(groups)), add, empty
    )
