r"""The lowest pass between two minima: on the straight line, along the minimax path, at its saddle.

Of all paths x(s) from one minimum to another the lowest has the height

    min over paths of  max over s of  f(x(s)),

which is attained at a saddle of index 1, if f grows at infinity and its saddles are strict. A
lowest path can be chosen so that the gradient is along it, `(grad f)(x(s)) || x'(s)`. The string
method lets a path of images descend to one: every image takes a step of gradient descent,

    y_i = x_i - h_i grad f(x_i),

then the images are spread along the curve through the y_i by equal arc length. This discretizes
`dx/dt = -grad f(x) + lambda x'/|x'|`, where lambda keeps the arc lengths equal. The ends stay. As
descent does, it finds a path that no nearby one undercuts, from the straight line; not the lowest
of all valleys. `find` climbs from its top to the saddle.

E, Ren and Vanden-Eijnden (2007), simplified and improved string method,
https://doi.org/10.1063/1.2720838. Networks: Draxler, Veschgini, Salmhofer and Hamprecht (2018),
https://arxiv.org/abs/1803.00885.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov, _loops
from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_integer,
    check_like,
    check_non_negative,
    check_not_empty,
    check_one_of,
    check_positive,
    check_real_floating,
    is_traced,
)
from jaxopt_course._reading import Reading, number, readable, spread, tally
from jaxopt_course._tracing import Traced, trace_objective, warn_of_batch_statistics
from jaxopt_course.saddle._point import Kind, StationaryPoint
from jaxopt_course.saddle._search import Objective, find
from jaxopt_course.saddle._search_program import RULES, Outcome
from jaxopt_course.saddle._stationary import classify_unchecked
from jaxopt_course.transforms._leaves import global_norm

_FIRST_PRODUCTS = 10
"""Power iterations at every image before the first step."""
_FARTHEST = 0.1
"""How far an image may go in one step, over the distance of its neighbours. What a step moves it
along the path, spreading the images out again moves it back, which cuts corners by the square."""


@readable
@flax.struct.dataclass
class Barrier:
    """What lies between two points: a line, a path, and the saddle at the top of it.

    Attributes:
        line_value: The objective at the images of the straight line, shape `(images,)`.
        line_height: The largest of them. Above the higher end this is the linear barrier.
        path: The images of the path, leaves of shape `(images, ...)`; the first and the last are
            the given ends.
        value: The objective at them, shape `(images,)`.
        height: The largest of them: a path through these images is at least as high.
        normal_gradient: The norm of the part of the gradient across the path at every image, shape
            `(images,)`: beside the gradients on the way, small where the path has settled, and 0
            only as the images become dense. At the ends that of the whole gradient.
        top: Which image is the highest, int32; 0 or `images - 1` if no image is above both ends.
        found: Whether a pass was found: a stationary point that `classify` names STRICT_SADDLE,
            of index 1, no lower than either end, searched for from a top that is no end, and no
            farther from that than the path is long.
        params: The pass; the top image if none was found.
        saddle_value: The objective there.
        distance: From the top image to it, in the Euclidean norm over all parameters.
        point: The `StationaryPoint` of `params`: what the pass is, or what the top image is, mostly
            NOT_STATIONARY.
        outcome: How the searches from the top ended, an `Outcome` as int32, shape `(searches,)`.
        ends: The `StationaryPoint`s of the ends, with a leading axis of two: minima, or what they
            are instead; of one on a slope `gradient_norm` says how steep that is.
    """

    line_value: jax.Array
    line_height: jax.Array
    path: chex.ArrayTree
    value: jax.Array
    height: jax.Array
    normal_gradient: jax.Array
    top: jax.Array
    found: jax.Array
    params: chex.ArrayTree
    saddle_value: jax.Array
    distance: jax.Array
    point: StationaryPoint
    outcome: jax.Array
    ends: StationaryPoint

    def _reading(self) -> Reading | None:
        """The heights of line, path and pass above the higher end."""
        if np.ndim(self.height):
            return None
        first, last = float(self.value[0]), float(self.value[-1])
        base, top, images = max(first, last), int(self.top), np.size(self.value)

        def above(height: Any) -> str:
            return f"{number(height)}, {float(height) - base:.4g} above the higher end"

        heading = "no pass found on the way"
        if bool(self.found):
            heading = f"a pass {float(self.saddle_value) - base:.4g} above the higher end"
        elif top in (0, images - 1):
            heading = "no pass: the path is nowhere above both ends"
        across = np.asarray(self.normal_gradient)[1:-1]
        rows = [
            ("ends", f"{first:.4g} and {last:.4g}, {tally(self.ends.kind, Kind)}"),
            ("straight line", above(self.line_height)),
            ("path", f"{above(self.height)}, at image {top} of {images}"),
            ("gradient across it", spread(across)),
            ("pass" if bool(self.found) else "its highest image", self.point._heading()),
        ]
        if bool(self.found):
            away = f"{float(self.distance):.3g} from the highest image"
            rows.append(("value there", f"{number(self.saddle_value)}, {away}"))
        else:
            rows.append(("searches from it", tally(self.outcome, Outcome)))
        rows.append(("more", ".params, .point, .path; .value and .line_value by image"))
        return Reading(heading, rows)


def barrier(
    fun: Objective,
    start: chex.ArrayTree,
    end: chex.ArrayTree,
    *,
    images: int = 21,
    steps: int = 1000,
    learning_rate: chex.Numeric | None = None,
    method: str | None = None,
    max_steps: int = 200,
    tolerance: chex.Numeric | None = None,
    order: int = 2,
    null_space: Callable[[chex.ArrayTree], chex.ArrayTree] | None = None,
) -> Barrier:
    """The lowest pass between two minima: the height of the line, of a lowest path, the saddle.

    First the objective along the straight line. Then the string method, from this line, in one
    compiled loop. Then `find` searches from the top of the path for a saddle of index 1, and
    `classify` names it; of several the one nearest to the top counts. `found` says whether there
    is one; a path may as well go over no pass at all, or over one that is degenerate.

    That the point is a saddle of index 1 is certified, as in `classify`. That it is the pass of
    this path is for the reader to judge: by its `distance`, and by `saddle_value`, which lies
    close above `height` where the images are dense. That no other path is lower is not claimed.

    Not for use under `jit` or `vmap`. The search is dense, as `find` is: for up to some hundred
    parameters. Computed in the precision of the parameters, float32 at least; where `find` ends as
    STALLED in float32 use float64.

    Args:
        fun: The objective, from parameters (a pytree) to a scalar, twice differentiable.
        start: One minimum, of real floating dtype. It is held where it is, minimum or not; `ends`
            says what it is.
        end: The other, a pytree like `start`.
        images: Number of images of the line and of the path, both ends included, >= 3.
        steps: Of the string method, >= 0. Each takes gradients at all images at once.
        learning_rate: The step h of every image. By default 1 over the largest curvature at the
            image and at its neighbours, estimated by one power iteration a step, which doubles the
            cost. No image moves farther at once than a tenth of the distance of neighbours.
        method: Of the search, as in `find`: by default Newton's method and eigenvector following.
        max_steps: Of the search, as in `find`.
        tolerance: Of the search, as in `find`.
        order: As in `classify`.
        null_space: As in `classify`, a function of the parameters.

    Returns:
        A `Barrier`. Its arrays are of the widest dtype of the parameters, float32 at least.

    Raises:
        TypeError, ValueError: for arguments other than described, traced ones, an end at which the
            objective is not finite, two ends that are one, or an objective two evaluations of which
            differ.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch, or an end is not
            stationary: there the path can begin by going down, and heights are above a slope.

    Example:
        >>> fun = lambda x: (x[0] ** 2 - 1) ** 2 + (x[1] - x[0] ** 2) ** 2
        >>> found = barrier(fun, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
        >>> found.line_height.round(3), found.saddle_value.round(3), found.point.name
        (Array(2., dtype=float32), Array(1., dtype=float32), 'STRICT_SADDLE')
    """
    # Everything is checked before anything is traced.
    _check(start, end, learning_rate)
    check_count(images=images)
    if images < 3:
        raise ValueError(f"images must be at least 3, got {images}")
    check_integer(steps=steps, max_steps=max_steps)
    check_non_negative(steps=steps, max_steps=max_steps)
    check_positive(learning_rate=learning_rate, tolerance=tolerance, optional=True)
    check_one_of((None, *RULES), method=method)
    check_one_of((2, 4), order=order)
    check_callable(null_space=null_space, optional=True)

    # The function becomes what it computes; half precision is widened.
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves((start, end)))
    start, end = jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), (start, end))
    rate = None if learning_rate is None else jnp.asarray(learning_rate, wide)
    objective = trace_objective("fun", fun, start)
    warn_of_batch_statistics("fun", objective, stacklevel=2)

    # The line and the path.
    line_value, path, value, normal_gradient = _string(
        objective, start, end, steps, rate, images=int(images)
    )
    for name, height in (("start", value[0]), ("end", value[-1])):
        if not np.isfinite(height):
            raise ValueError(f"{name} must be where fun is finite, got a value of {height}")
    ends = _ends(objective, start, end, null_space)
    heights = np.where(np.isnan(value), np.inf, value)
    top = int(np.argmax(heights))
    summit = jax.tree.map(lambda leaf: leaf[top], path)

    # The pass: of the saddles of index 1 that were reached the one nearest to the top.
    census = find(
        objective,
        jax.tree.map(lambda leaf: leaf[None], summit),
        method=method,
        index=1,
        max_steps=max_steps,
        tolerance=tolerance,
        order=order,
        null_space=null_space,
    )
    distance = np.asarray(
        jax.vmap(lambda params: global_norm(jax.tree.map(jnp.subtract, params, summit)))(
            census.params
        )
    )
    between = 0 < top < images - 1
    legs = jax.tree.map(lambda leaf: jnp.diff(leaf, axis=0), path)
    length = float(jax.vmap(global_norm)(legs).sum())
    # A stationary point below an end is no pass between the two, wherever the search has met it,
    # nor is one farther from the top than the path is long: that can be any saddle there is.
    passes = np.flatnonzero(
        between
        & (distance <= length)
        & (np.asarray(census.point.kind) == Kind.STRICT_SADDLE)
        & (np.asarray(census.point.index) == 1)
        & (np.asarray(census.value) >= max(heights[0], heights[-1]))
    )
    if passes.size:
        row = int(passes[np.argmin(distance[passes])])
        params, point = jax.tree.map(lambda leaf: leaf[row], (census.params, census.point))
        saddle_value, away = census.value[row], jnp.asarray(distance[row])
    else:
        params, saddle_value, away = summit, value[top], jnp.zeros([], wide)
        point = classify_unchecked(objective, summit, order=order, null_space=null_space)
    return Barrier(
        line_value=line_value,
        line_height=line_value.max(),
        path=path,
        value=value,
        height=value[top],
        normal_gradient=normal_gradient,
        top=jnp.array(top, jnp.int32),
        found=jnp.array(passes.size > 0),
        params=params,
        saddle_value=saddle_value,
        distance=away,
        point=point,
        outcome=census.runs.outcome,
        ends=ends,
    )


def _ends(
    objective: Traced, start: Any, end: Any, null_space: Callable[[Any], Any] | None
) -> StationaryPoint:
    """Both ends classified, with a warning of one that is not stationary."""
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), start, end)
    points = _loops.computed(
        jax.vmap(lambda params: classify_unchecked(objective, params, null_space=null_space)), both
    )
    for i, name in enumerate(("start", "end")):
        if int(points.kind[i]) == Kind.NOT_STATIONARY:
            norm, zero = float(points.gradient_norm[i]), float(points.gradient_tolerance[i])
            warnings.warn(
                f"{name} is no stationary point: the gradient there has a norm of {norm:.2g}, and "
                f"{zero:.2g} would be zero to rounding. A path from it can begin by going down, "
                "and heights above it say nothing of a barrier: descend to the minimum first",
                stacklevel=3,
            )
    return points


def _check(start: chex.ArrayTree, end: chex.ArrayTree, learning_rate: Any) -> None:
    """Raise unless the ends are two points in one space, known now."""
    check_not_empty("start", start)
    check_real_floating("start", start)
    check_real_floating("end", end)
    check_like("end", end, "start", start)
    if is_traced((start, end, learning_rate)):
        raise TypeError(
            "start and end must be arrays of known numbers, got one that is traced: call barrier "
            "outside of jit and vmap"
        )
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(end), strict=True)
    if all(np.array_equal(one, other) for one, other in pairs):
        raise ValueError("end must differ from start, got the same point twice")


@functools.partial(jax.jit, static_argnames="images")
def _string(
    fun: Traced, start: Any, end: Any, steps: Any, learning_rate: Any, *, images: int
) -> tuple[jax.Array, Any, jax.Array, jax.Array]:
    """Return the values along the line; path, values and normal gradients after the last step."""
    first, unravel = _krylov.flatten_wide(start)
    last, _ = _krylov.flatten_wide(end)

    def at(flat):
        return fun(unravel(flat))

    def multiply(flat, vector):
        gradient, product = _krylov.product_of_hessian(at, flat)
        return gradient, product(vector)

    def advance(_, state):
        string, vectors = state
        inside = string[1:-1]
        # How far down: by the largest curvature around.
        if learning_rate is None:
            gradient, products = jax.vmap(multiply)(inside, vectors)
            curvature = _norms(products)
            vectors = _directions(products)
            padded = jnp.pad(curvature, 1)
            curvature = jnp.maximum(curvature, jnp.maximum(padded[:-2], padded[2:]))
            length = _norms(gradient) / curvature
        else:
            gradient = jax.vmap(jax.grad(at))(inside)
            length = _norms(gradient) * learning_rate
        spacing = _norms(jnp.diff(string, axis=0)).mean()
        # Where curvature is zero the quotient is infinite; 0 / 0 is at a point that stays.
        length = jnp.where(jnp.isnan(length), 0, jnp.minimum(length, _FARTHEST * spacing))
        inside = inside - length[:, None] * _directions(gradient)
        return _spread(jnp.concatenate([string[:1], inside, string[-1:]])), vectors

    share = jnp.linspace(0, 1, images, dtype=first.dtype)[:, None]
    line = (1 - share) * first[None] + share * last[None]
    # Should one end be infinite, zero times it is none of the other's business.
    line = line.at[0].set(first).at[-1].set(last)

    # Power iterations need a vector to begin with; any will do, it decides lengths of steps only.
    vectors = jnp.zeros((images - 2, first.size), first.dtype)
    if learning_rate is None:
        vectors = jax.random.normal(jax.random.key(0), vectors.shape, vectors.dtype)
        vectors = _loops.fori_loop(
            0,
            _FIRST_PRODUCTS,
            lambda _, v: _directions(jax.vmap(multiply)(line[1:-1], v)[1]),
            _directions(vectors),
        )
    string, _ = _loops.fori_loop(0, steps, advance, (line, vectors))

    # What crosses the path at the end; at an end there is no across.
    value, gradient = jax.vmap(jax.value_and_grad(at))(string)
    tangent = jnp.pad(_directions(string[2:] - string[:-2]), ((1, 1), (0, 0)))
    along = jnp.sum(gradient * tangent, axis=1, keepdims=True)
    return jax.vmap(at)(line), jax.vmap(unravel)(string), value, _norms(gradient - along * tangent)


def _spread(string: jax.Array) -> jax.Array:
    """Spread images by equal arc length along the cubic curve through them; the ends stay.

    Args:
        string: Shape `(images, n)`.
    """
    # Slopes at the images by the parabola through each and its two neighbours.
    chords = jnp.diff(string, axis=0)
    widths = _norms(chords)
    slopes = _directions(chords)
    before, after = widths[:-1, None], widths[1:, None]
    both = before + after
    inner = (after * slopes[:-1] + before * slopes[1:]) / jnp.where(both > 0, both, 1)
    slope = jnp.concatenate(
        [
            2 * slopes[:1] - inner[:1],
            inner,
            2 * slopes[-1:] - inner[-1:],
        ]
    )

    # Hermite's cubic on the piece that each new place is in.
    arc = jnp.pad(jnp.cumsum(widths), (1, 0))
    places = jnp.linspace(0, 1, len(string), dtype=arc.dtype) * arc[-1]
    piece = jnp.clip(jnp.searchsorted(arc, places, side="right") - 1, 0, len(widths) - 1)
    width = widths[piece]
    u = jnp.where(width > 0, (places - arc[piece]) / jnp.where(width > 0, width, 1), 0)[:, None]
    moved = (
        string[piece] * (1 + 2 * u) * (1 - u) ** 2
        + string[piece + 1] * u**2 * (3 - 2 * u)
        + width[:, None] * (slope[piece] * u * (1 - u) ** 2 - slope[piece + 1] * u**2 * (1 - u))
    )
    return jnp.concatenate([string[:1], moved[1:-1], string[-1:]])


def _norms(rows: jax.Array) -> jax.Array:
    """Return the Euclidean norm of every row."""
    return jnp.sqrt(jnp.sum(rows**2, axis=1))


def _directions(rows: jax.Array) -> jax.Array:
    """Return every row over its norm; zeros where that is zero or not finite."""
    norms = _norms(rows)[:, None]
    usable = (norms > 0) & jnp.isfinite(norms)
    return jnp.where(usable, rows / jnp.where(usable, norms, 1), 0)
