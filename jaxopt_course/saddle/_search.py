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
import os
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
from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_batch,
    check_callable,
    check_count,
    check_flag,
    check_integer,
    check_non_negative,
    check_not_empty,
    check_one_of,
    check_positive,
    check_real,
    check_real_floating,
    hint_of_batch,
    is_traced,
)
from jaxopt_course._engine import _batch as batch
from jaxopt_course._engine import _preemption as preemption
from jaxopt_course._engine._batch import checked_execution
from jaxopt_course._engine._crews import Progress
from jaxopt_course._engine._meshes import within_any_mesh
from jaxopt_course._platforms import spacing
from jaxopt_course._progress import shown
from jaxopt_course._reading import Reading, how_many, readable, spread, tally
from jaxopt_course._tracing import Traced, trace, trace_objective, warn_of_batch_statistics
from jaxopt_course.saddle._linear_symmetries import LinearSymmetries, detect
from jaxopt_course.saddle._point import Kind, StationaryPoint
from jaxopt_course.saddle._search_program import (
    BLOCK,
    RULES,
    Limits,
    SearchProgram,
    Start,
    about,
    default_lanes,
)
from jaxopt_course.saddle._search_program import Outcome as Outcome
from jaxopt_course.saddle._stationary import classify_unchecked

Objective = Callable[[Any], jax.Array]


@readable
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

    def _reading(self) -> Reading | None:
        """How the runs ended, and after how many steps."""
        if np.ndim(self.outcome) != 1:
            return None
        arrived = np.asarray(self.outcome) == Outcome.STATIONARY
        rows = [
            ("steps", spread(self.steps)),
            ("gradient norm", spread(self.gradient_norm)),
        ]
        if arrived.any():
            rows.append(("value where stationary", spread(np.asarray(self.value)[arrived])))
        ended = tally(self.outcome, Outcome)
        return Reading(f"{how_many(arrived.size, 'search', 'searches')}: {ended}", rows)


@readable
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

    def _reading(self) -> Reading | None:
        """The points by kind, and how the runs ended."""
        if np.ndim(self.count) != 1:
            return None
        count, kinds = np.asarray(self.count), np.asarray(self.point.kind)
        points, searches = int(self.num_points), np.size(self.runs.outcome)
        rows = []
        for kind in Kind:
            mine = (kinds == kind) & (count > 0)
            if not mine.any():
                continue
            label = tally(kinds[mine], Kind)
            reached = f"reached by {how_many(int(count[mine].sum()), 'search', 'searches')}"
            indices = np.unique(np.asarray(self.point.index)[mine])
            several = f"index {spread(indices)}, " if kind == Kind.STRICT_SADDLE else ""
            value = spread(np.asarray(self.value)[mine])
            rows.append((label, f"{several}value {value}, {reached}"))
        rows.append(("searches", tally(self.runs.outcome, Outcome)))
        if left := int(self.num_left_over):
            rows.append(("not listed", f"ends of {left} searches beyond max_points"))
        rows.append(("more", ".params, .value, .point.name, .point.index, .count; .runs"))
        found = how_many(points, "stationary point")
        return Reading(f"{found} from {how_many(searches, 'search', 'searches')}", rows)


@preemption.watched_with("checkpoint")
@within_any_mesh
@shown("runs", limit="max_steps", last="naming the points")
def find(
    fun: Objective,
    starts: chex.ArrayTree,
    *,
    method: str | None = None,
    index: int | jax.Array | None = None,
    max_steps: int = 200,
    tolerance: chex.Numeric | None = None,
    trust_radius: chex.Numeric = 0.1,
    merge_tolerance: chex.Numeric | None = None,
    canonical: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None,
    max_points: int | None = None,
    order: int = 2,
    null_space: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None,
    devices: tuple[jax.Device, ...] | None = None,
    lanes: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    callback: Callable[[Progress], Any] | None = None,
    progress: bool = False,
) -> Census:
    """A census of stationary points of every index, searched for from a batch of starts.

    By default every start is searched from twice: by Newton's method for points of every index, and
    by eigenvector following, which at index 0 goes down, for the minima. Newton's method alone can
    miss every minimum that descent reaches, as in matrix completion. All ends make one census.

    The searches run on every device JAX sees, in lanes that are refilled as searches end; then one
    program tells their ends apart. Both are compiled once for what the functions compute, whatever
    objects they are, and given `method` and shapes; no run depends on another. Computed in the
    precision of the parameters, float32 at least; half-precision parameters are widened.

    Args:
        fun: The objective, from parameters (a pytree) to a scalar, twice differentiable; three
            times for `"gradient_norm"`.
        starts: Parameters of real floating dtype with the runs as leading axis of every leaf.
        method: None for two runs a start, of n starts: runs 0 to n - 1 are those of `"newton"`,
            n to 2n - 1, from the same starts in order, those of `"eigenvector_following"` to
            `index`, 0 if None. Or one run a start, by `"newton"`, damped, for g = 0;
            `"levenberg_marquardt"`, which minimises |g|^2 / 2 by its Gauss-Newton model, and is the
            one for points that are not isolated; `"gradient_norm"`, which minimises it by Newton's,
            at the cost of third derivatives; `"eigenvector_following"`, which goes up along the
            `index` lowest eigenvectors of the Hessian and down along the others. Minima of |g| that
            are not stationary trap the first three (STALLED), more of them the higher the
            dimension; the last lacks a descent function and may cycle (MAX_STEPS), or climb for
            ever (DIVERGED).
        index: Count only runs that end with this many negative eigenvalues, by whatever method: an
            integer, or one a start, shape `(n,)`. None for any; needed for
            `method="eigenvector_following"`.
        max_steps: A run that has tried that many steps ends with `Outcome.MAX_STEPS`.
        tolerance: Of the gradient, relative as in the module's formula. By default `eps**(2/3)`.
        trust_radius: Length of the longest first step, relative to 1 + max |start|.
        merge_tolerance: Distance of ends that are one point, relative to 1 + |x|. By default
            `eps**(1/3)`.
        canonical: From parameters to arrays that equivalent parameters share and others do not, by
            which ends are then compared: `lambda u: u @ u.T` for u up to rotations u -> u R and
            signs, `jnp.sort` for an order that does not matter, a network's outputs on some inputs
            for the order of its neurons. By default the parameters themselves.
        max_points: The most points to list; by default as many as runs, 2n without a method.
        order: As in `classify`, which names the points.
        null_space: As in `classify`, a function of the parameters. By default those of
            `linear_symmetries`, which are looked for if a point is DEGENERATE without them.
        devices: As in `escape`.
        lanes: As in `escape`; by default all runs, on a CPU at most 2,048.
        checkpoint: As in `escape`, for the searches; naming the points is done anew.
        checkpoint_every: Seconds between checkpoints.
        callback: Called a few times a second with a `Progress`.
        progress: Whether to show a bar, as in `escape`.

    Returns:
        A `Census`, padded to `max_points` where traced. Its `count` and `share` are of all runs,
        2n without a method.

    Raises:
        TypeError, ValueError: for arguments other than described, an objective two evaluations of
            which differ, or a checkpoint of another batch.
        OSError: as in `escape`.
        training.Preempted: as in `escape`.
        MemoryError: as in `escape`.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch.

    Example:
        >>> fun = lambda x: (x[0] ** 2 - 1) ** 2 + x[0] / 10 + x[1] ** 2
        >>> starts = jnp.array([[-1.5, 1.0], [0.1, -1.0], [2.0, 0.5], [0.9, 0.2]])
        >>> census = find(fun, starts)
        >>> census.point.index.tolist(), census.count.tolist()
        ([0, 0, 1], [2, 5, 1])
    """
    # Everything is checked before anything is traced.
    check_one_of((None, *RULES), method=method)
    check_one_of((2, 4), order=order)
    check_callable(canonical=canonical, null_space=null_space, optional=True)
    check_not_empty("starts", starts)
    check_real_floating("starts", starts)
    count = check_batch("starts", starts)
    check_integer(max_steps=max_steps)
    check_non_negative(max_steps=max_steps)
    check_count(max_points=max_points, optional=True)
    check_flag(progress=progress)
    check_positive(trust_radius=trust_radius)
    check_positive(tolerance=tolerance, optional=True)
    check_non_negative(merge_tolerance=merge_tolerance, optional=True)
    execution = checked_execution(devices, lanes, checkpoint, checkpoint_every, callback)
    wanted = _check_index(index, method, starts, count)

    # Functions become what they compute; half precision is widened.
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(starts))
    starts = jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), starts)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], wide), starts)
    with hint_of_batch("starts", starts):
        objective = trace_objective("fun", fun, shapes, lambda: jax.tree.map(_first, starts))
    warn_of_batch_statistics("fun", objective, stacklevel=3)
    optional = {
        name: None if function is None else trace(name, function, shapes)
        for name, function in (("canonical", canonical), ("null_space", null_space))
    }
    begin = Start(starts, wanted) if method is not None else _twice(starts, wanted)
    runs = begin.wanted.size
    naming = Naming(
        fun=objective,
        **optional,
        max_points=runs if max_points is None else int(max_points),
        order=order,
    )

    # The searches, then the census of where they ended.
    eps = float(spacing(wide))
    limits = Limits(
        max_steps=max_steps,
        tolerance=eps ** (2 / 3) if tolerance is None else tolerance,
        radius=trust_radius,
    )
    merge_tolerance = eps ** (1 / 3) if merge_tolerance is None else merge_tolerance
    if lanes is None:
        lanes = default_lanes(runs, execution.devices[0].platform)
    program = SearchProgram(
        fun=objective,
        limits=jax.tree.map(jnp.asarray, limits),
        method=method,
        lanes=int(lanes),
    )
    ends = batch.run(program, begin, about=lambda: about(program), execution=execution)
    census = take_census(naming, ends, begin.wanted, limits.tolerance, merge_tolerance)
    if null_space is None:
        census = _with_symmetries(naming, census, starts)
    return census if is_traced(census) else trimmed(census)


def _first(leaf: jax.Array) -> jax.Array:
    return leaf[0]


def _twice(starts: chex.ArrayTree, wanted: jax.Array) -> Start:
    """Return two runs a start: all of Newton's, then all that follow eigenvectors."""
    # These go to minima where no index is asked for.
    follows = jnp.arange(2 * wanted.size) >= wanted.size
    return Start(
        params=jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), starts),
        wanted=jnp.concatenate([wanted, jnp.maximum(wanted, 0)]),
        follows=follows,
    )


def _check_index(index: Any, method: str | None, starts: chex.ArrayTree, runs: int) -> jax.Array:
    """Return one index a start, -1 for any."""
    if index is None:
        if method == "eigenvector_following":
            raise ValueError("index must be given for method='eigenvector_following', got None")
        return jnp.full(runs, -1, jnp.int32)
    check_real(index=index)
    if not jnp.issubdtype(jnp.result_type(index), jnp.integer):
        raise TypeError(f"index must be an integer or integers, got {brief(index)}")
    if jnp.shape(index) not in ((), (runs,)):
        raise ValueError(f"index must have shape () or ({runs},), got {jnp.shape(index)}")
    dimension = sum(jnp.size(leaf) for leaf in jax.tree.leaves(starts)) // runs
    if not isinstance(index, jax.core.Tracer) and not np.all(
        (np.asarray(index) >= 0) & (np.asarray(index) <= dimension)
    ):
        raise ValueError(f"index must lie in [0, {dimension}], got {brief(index)}")
    return jnp.broadcast_to(jnp.asarray(index, jnp.int32), (runs,))


# The census of where the runs ended.


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
    null_space: Traced | LinearSymmetries | None
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
    candidates = jax.tree.map(lambda leaf: leaf[best], params)
    shapes = jax.eval_shape(jax.vmap(partial(_name, naming, None)), candidates, bounds)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    guarded = jax.vmap(update_where(partial(_name, naming), block=BLOCK))
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


def _name(naming: Naming, _: Any, x: Any, bound: jax.Array) -> StationaryPoint:
    """Classify a point whose gradient norm is at most the bound."""
    return classify_unchecked(
        naming.fun,
        x,
        gradient_tolerance=bound,
        order=naming.order,
        null_space=naming.null_space,
        # The ends stand for the stationary points beside which they stopped.
        count_doubtful=False,
    )


def _with_symmetries(naming: Naming, census: Census, starts: chex.ArrayTree) -> Census:
    """Name anew what is DEGENERATE, leaving out the directions of linear symmetries."""
    undecided = jnp.any(_undecided(census))
    if is_traced(undecided):
        return jax.lax.cond(undecided, lambda: _renamed(naming, census, starts), lambda: census)
    return _renamed(naming, census, starts) if undecided else census


def _undecided(census: Census) -> jax.Array:
    return (census.point.kind == Kind.DEGENERATE) & (census.count > 0)


@jax.jit
def _renamed(naming: Naming, census: Census, starts: chex.ArrayTree) -> Census:
    symmetries = detect(naming.fun, starts, jax.random.key(0))
    naming = dataclasses.replace(naming, null_space=symmetries)
    guarded = jax.vmap(update_where(partial(_name, naming), block=BLOCK))
    bounds = census.point.gradient_tolerance
    asking = _undecided(census) & (symmetries.count > 0)
    point = guarded(asking, census.point, census.params, bounds)
    return dataclasses.replace(census, point=point)


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
