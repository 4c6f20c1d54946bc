r"""Values of an objective along a line and on a plane of its parameters.

    line    f((1 - s) a + s b)  or  f(a + s d)
    plane   f(c + s u + t v)

One compiled program evaluates all points, as many at once as memory allows, and serves every
objective that computes the same of other data. Nothing is normalized here: the steps count the
directions that are given.

Goodfellow, Vinyals and Saxe (2015), https://arxiv.org/abs/1412.6544, section 3 (lines); Li, Xu,
Taylor, Studer and Goldstein (2018), https://arxiv.org/abs/1712.09913, section 4 (planes).
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxopt_course._checks import (
    check_count,
    check_like,
    check_not_empty,
    check_real_array,
    check_real_floating,
)
from jaxopt_course._dataset import dataset
from jaxopt_course._reading import Reading, how_many, number, readable, spread
from jaxopt_course._tracing import Traced, trace_objective

if TYPE_CHECKING:
    import xarray

Objective = Callable[[Any], jax.Array]

_BYTES_AT_ONCE = 2**28
"""Bytes of the objective's largest array, times the points that are evaluated at once."""
_MOST_AT_ONCE = 64
"""Points at once: beyond, nothing is gained."""
_POINTS_OF_LINE, _POINTS_OF_PLANE = 51, 41


@readable
class Line(NamedTuple):
    """Values along a line.

    Attributes:
        steps: Where, shape `(points,)`.
        value: The objective there, shape `(points,)`.
    """

    steps: jax.Array
    value: jax.Array

    def _reading(self) -> Reading | None:
        """How high the line is, and where."""
        if np.ndim(self.value) != 1:
            return None
        rows = [
            ("value", spread(self.value)),
            *_extremes(self.value, lambda i: f"at step {number(self.steps[i])}"),
            ("more", ".steps, .value, .to_xarray(); plot.line(it)"),
        ]
        low, high = number(np.min(self.steps)), number(np.max(self.steps))
        points = how_many(np.size(self.value), "point")
        return Reading(f"an objective along a line, at {points} from {low} to {high}", rows)

    def to_xarray(self) -> "xarray.Dataset":
        """The line as a dataset, which needs the extra `xarray`.

        The dimension is `step`, before it `run` where lines were mapped over.

        Raises:
            ModuleNotFoundError: If xarray is not installed.

        Example:
            >>> line(lambda x: x @ x, jnp.zeros(2), jnp.ones(2)).to_xarray().value.dims
            ('step',)
        """
        return _to_dataset(self.value, step=self.steps)


@readable
class Plane(NamedTuple):
    """Values on a plane.

    Attributes:
        rows: Steps along the first direction, shape `(rows,)`.
        columns: Steps along the second one, shape `(columns,)`.
        value: The objective there, shape `(rows, columns)`.
    """

    rows: jax.Array
    columns: jax.Array
    value: jax.Array

    def _reading(self) -> Reading | None:
        """How high the plane is, and where."""
        if np.ndim(self.value) != 2:
            return None
        axes = [np.asarray(self.rows), np.asarray(self.columns)]

        def at(i: int) -> str:
            row, column = np.unravel_index(i, np.shape(self.value))
            return f"at row {number(axes[0][row])}, column {number(axes[1][column])}"

        rows = [
            *(
                (name, f"{axis.size} from {number(axis.min())} to {number(axis.max())}")
                for name, axis in zip(("rows", "columns"), axes, strict=True)
            ),
            ("value", spread(self.value)),
            *_extremes(np.ravel(self.value), at),
            ("more", ".rows, .columns, .value, .to_xarray(); plot.plane(it)"),
        ]
        points = how_many(np.size(self.value), "point")
        return Reading(f"an objective on a plane, at {points}", rows)

    def to_xarray(self) -> "xarray.Dataset":
        """The plane as a dataset, which needs the extra `xarray`.

        The dimensions are `row` and `column`, before them `run` where planes were mapped over.

        Raises:
            ModuleNotFoundError: If xarray is not installed.

        Example:
            >>> plane(lambda x: x @ x, jnp.zeros(2), jnp.eye(2)).to_xarray().value.dims
            ('row', 'column')
        """
        return _to_dataset(self.value, row=self.rows, column=self.columns)


def _extremes(values: Any, at: Callable[[int], str]) -> list[tuple[str, str]]:
    """Return where values are lowest and highest, in words."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).any():
        return []
    found = (("lowest", np.nanargmin(values)), ("highest", np.nanargmax(values)))
    return [(name, f"{number(values[i])} {at(int(i))}") for name, i in found]


def line(
    fun: Objective,
    start: chex.ArrayTree,
    end: chex.ArrayTree | None = None,
    *,
    direction: chex.ArrayTree | None = None,
    steps: ArrayLike | None = None,
    batch_size: int | None = None,
) -> Line:
    """The values of an objective along a line: from one point to another, or along a direction.

        f((1 - s) start + s end),  s from 0 to 1;    f(start + s direction),  s from -1 to 1

    Args:
        fun: The objective, from parameters (a pytree) to a scalar.
        start: A point, of real floating dtype.
        end: Another, a pytree like `start`; at a step of 1 it is exactly this point.
        direction: Instead of `end`, a pytree like `start`.
        steps: Where to evaluate, shape `(points,)`; by default 51 from 0, or along a direction
            from -1, to 1.
        batch_size: How many points at once; by default as memory allows, at most 64.

    Returns:
        A `Line`. Its steps have the widest dtype of the parameters, float32 at least; values are
        computed in the parameters' own dtypes.

    Raises:
        TypeError, ValueError: for arguments other than described, with both `end` and `direction`
            or none of them, or for an objective two evaluations of which differ.

    Example:
        >>> line(lambda x: x @ x, jnp.zeros(2), jnp.ones(2), steps=jnp.array([0.0, 0.5, 1.0])).value
        Array([0. , 0.5, 2. ], dtype=float32)

    Reference:
        Goodfellow, Vinyals and Saxe (2015), section 3.
    """
    _check_point("start", start)
    if (end is None) == (direction is None):
        given = "neither" if end is None else "both"
        raise TypeError(f"either end or direction must be given, got {given}")
    name, other = ("end", end) if direction is None else ("direction", direction)
    _check_direction(name, other, "start", start)
    between = direction is None
    steps = _steps("steps", steps, start, 0 if between else -1, _POINTS_OF_LINE)
    check_count(batch_size=batch_size, optional=True)
    start, other = jax.tree.map(jnp.asarray, (start, other))
    traced = trace_objective("fun", fun, start, differentiated=False)
    at_once = _at_once(traced, steps.size, batch_size)
    return Line(steps, _along(traced, start, other, steps, between=between, at_once=at_once))


def plane(
    fun: Objective,
    center: chex.ArrayTree,
    directions: Any,
    *,
    rows: ArrayLike | None = None,
    columns: ArrayLike | None = None,
    batch_size: int | None = None,
) -> Plane:
    """The values of an objective on a plane: `f(center + s first + t second)`.

    Args:
        fun: The objective, from parameters (a pytree) to a scalar.
        center: The point where the directions meet, of real floating dtype.
        directions: Two pytrees like `center`, first and second, as a tuple or list; or one with a
            leading axis of two, such as eigenvectors are.
        rows: Steps s along the first, shape `(rows,)`; by default 41 from -1 to 1.
        columns: Steps t along the second, shape `(columns,)`; by default the same.
        batch_size: How many points at once; by default as memory allows, at most 64.

    Returns:
        A `Plane`. Its steps have the widest dtype of the parameters, float32 at least; values are
        computed in the parameters' own dtypes.

    Raises:
        TypeError, ValueError: for arguments other than described, or for an objective two
            evaluations of which differ.

    Example:
        >>> rows, columns = jnp.array([0.0, 1.0]), jnp.array([0.0, 1.0, 2.0])
        >>> seen = plane(lambda x: x @ x, jnp.zeros(2), jnp.eye(2), rows=rows, columns=columns)
        >>> seen.value.tolist()
        [[0.0, 1.0, 4.0], [1.0, 2.0, 5.0]]

    Reference:
        Li et al. (2018), equation 1.
    """
    _check_point("center", center)
    first, second = directions_of("directions", directions, "center", center, count=2)
    rows = _steps("rows", rows, center, -1, _POINTS_OF_PLANE)
    columns = _steps("columns", columns, center, -1, _POINTS_OF_PLANE)
    check_count(batch_size=batch_size, optional=True)
    center, first, second = jax.tree.map(jnp.asarray, (center, first, second))
    traced = trace_objective("fun", fun, center, differentiated=False)
    at_once = _at_once(traced, rows.size * columns.size, batch_size)
    return Plane(rows, columns, _on(traced, center, first, second, rows, columns, at_once=at_once))


def directions_of(
    name: str, directions: Any, center_name: str, center: Any, *, count: int | None = None
) -> tuple[Any, ...]:
    """Return the directions that are given one by one or with a leading axis that counts them.

    Args:
        name: What the caller calls them.
        directions: What is given.
        center_name: What the caller calls the center.
        center: What every direction is like.
        count: How many there must be; by default any number from 1.

    Raises:
        TypeError, ValueError: unless all are pytrees like the center.
    """
    found: tuple[Any, ...] = ()
    if jax.tree.structure(directions) == jax.tree.structure(center):
        pairs = zip(jax.tree.leaves(directions), jax.tree.leaves(center), strict=True)
        sizes = {np.shape(leaf)[: np.ndim(leaf) - np.ndim(like)] for leaf, like in pairs}
        if len(sizes) == 1 and len(size := sizes.pop()) == 1:
            found = tuple(
                jax.tree.map(lambda leaf, i=i: leaf[i], directions) for i in range(size[0])
            )
    if not found and isinstance(directions, tuple | list):
        found = tuple(directions)
    if not found or count not in (None, len(found)):
        raise TypeError(
            f"{name} must be {'' if count is None else f'{count} '}pytrees like {center_name}, "
            f"or one with a leading axis of them, got {_said_of(directions, found)}"
        )
    for direction in found:
        _check_direction(name, direction, center_name, center)
    return found


def _said_of(directions: Any, found: tuple[Any, ...]) -> str:
    """Return, for an error, what was given instead of directions."""
    if hasattr(directions, "directions"):
        return f"{type(directions).__name__}, whose .directions they are"
    return f"{len(found)} of them" if found else type(directions).__name__


def _check_point(name: str, point: Any) -> None:
    check_not_empty(name, point)
    check_real_floating(name, point)


def _check_direction(name: str, direction: Any, other_name: str, other: Any) -> None:
    check_real_floating(name, direction)
    check_like(name, direction, other_name, other)


def _steps(name: str, steps: Any, params: Any, low: float, points: int) -> jax.Array:
    """Return the steps in the widest dtype of the parameters, or those that are the default."""
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(params))
    if steps is None:
        return jnp.linspace(low, 1, points, dtype=wide)
    check_real_array(name, steps, rank=1)
    if steps.shape[0] == 0:
        raise ValueError(f"{name} must hold at least one step, got shape {steps.shape}")
    return jnp.asarray(steps, wide)


def _at_once(traced: Traced, points: int, batch_size: int | None) -> int:
    """Return how many points to evaluate at once, such that batches are about equally long."""
    if batch_size is None:
        fit = _BYTES_AT_ONCE // max(traced.largest_array(), 1)
        batch_size = max(1, min(_MOST_AT_ONCE, fit))
    batches = -(-points // min(batch_size, points))
    return -(-points // batches)


@functools.partial(jax.jit, static_argnames=("between", "at_once"))
def _along(
    fun: Traced, start: Any, other: Any, steps: jax.Array, *, between: bool, at_once: int
) -> jax.Array:
    def value(step):
        if between:
            return fun(_combine(lambda a, b: (1 - step) * a + step * b, start, other))
        return fun(_combine(lambda a, d: a + step * d, start, other))

    return _mapped(value, steps, at_once)


@functools.partial(jax.jit, static_argnames="at_once")
def _on(
    fun: Traced, center: Any, first: Any, second: Any, rows: Any, columns: Any, *, at_once: int
) -> jax.Array:
    def value(at):
        row, column = at
        return fun(_combine(lambda c, u, v: c + row * u + column * v, center, first, second))

    grid = jnp.repeat(rows, columns.size), jnp.tile(columns, rows.size)
    return _mapped(value, grid, at_once).reshape(rows.size, columns.size)


def _combine(fun: Callable[..., jax.Array], *trees: Any) -> Any:
    """Combine trees leaf by leaf, in the dtype of the first."""
    return jax.tree.map(lambda leaf, *others: fun(leaf, *others).astype(leaf.dtype), *trees)


def _mapped(fun: Callable[[Any], jax.Array], points: Any, at_once: int) -> jax.Array:
    """Map over points, so many at once, with one body for all: the last points are repeated."""
    count = jax.tree.leaves(points)[0].shape[0]
    batches = -(-count // at_once)
    padded = jax.tree.map(
        lambda leaf: jnp.pad(leaf, (0, batches * at_once - count), mode="edge").reshape(
            batches, at_once
        ),
        points,
    )
    return jax.lax.map(jax.vmap(fun), padded).reshape(-1)[:count]


def _to_dataset(value: Any, **steps: Any) -> Any:
    """Return values with named axes; steps along them that are the same for all runs."""
    runs = np.ndim(value) - len(steps)
    coords = {name: np.asarray(at).reshape(-1, np.shape(at)[-1])[0] for name, at in steps.items()}
    return dataset({"value": (("run",) * runs + tuple(steps), value)}, coords=coords)
