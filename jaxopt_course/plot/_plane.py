"""Pictures in two parameters, or on a plane of many: level lines, stationary points, paths."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_count,
    check_flag,
    check_interval,
    check_objective,
    check_real,
    check_text,
    to_doubles,
)
from jaxopt_course.landscape import Line, Plane
from jaxopt_course.plot._axes import axes
from jaxopt_course.saddle import Census, Kind

Bounds = tuple[tuple[float, float], tuple[float, float]]

# Okabe and Ito's colours, and a shape for each kind, so that neither has to be seen alone.
_MARKS = {
    Kind.MINIMUM: ("o", "#009E73"),
    Kind.MAXIMUM: ("^", "#CC79A7"),
    Kind.STRICT_SADDLE: ("X", "#D55E00"),
    Kind.NON_STRICT_SADDLE: ("s", "#E69F00"),
    Kind.DEGENERATE: ("D", "#56B4E9"),
    Kind.NOT_STATIONARY: ("P", "#999999"),
}


def surface(
    fun: Callable[[Any], jax.Array],
    bounds: Bounds,
    *,
    num_points: int = 101,
    levels: int = 30,
    ax: Any = None,
) -> Any:
    """The level lines of an objective of two parameters, drawn.

    Levels are denser near the least value: they are evenly spaced in the logarithm of one plus the
    height above it, so that a narrow valley shows beside steep walls.

    Args:
        fun: From an array of shape `(2,)` to a scalar.
        bounds: `((left, right), (bottom, top))`, as `Problem.bounds`.
        num_points: Points of the grid to each side.
        levels: How many levels, at most.
        ax: Axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ValueError: If the bounds are no window, or nothing in it is finite.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> problem = problems.himmelblau()
        >>> surface(problem.fun, problem.bounds, num_points=11).get_xlabel()
        'first parameter'
    """
    check_objective("fun", fun, jax.ShapeDtypeStruct((2,), jnp.result_type(float)))
    check_count(num_points=num_points, levels=levels)
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise TypeError(f"bounds must be ((left, right), (bottom, top)), got {brief(bounds)}")
    for side in bounds:
        check_interval("bounds", side)
    (left, right), (bottom, top) = bounds
    if left == right or bottom == top:
        raise ValueError(f"bounds must be ((left, right), (bottom, top)), got {brief(bounds)}")
    ax = axes(ax)
    x, y = jnp.linspace(left, right, num_points), jnp.linspace(bottom, top, num_points)
    values = jax.jit(jax.vmap(jax.vmap(lambda x, y: fun(jnp.stack([x, y])), (0, None)), (None, 0)))
    heights = np.asarray(values(x, y))
    if not np.isfinite(heights).any():
        raise ValueError(f"fun has no finite value within bounds {bounds}")
    low = np.min(heights[np.isfinite(heights)])
    _draw_levels(ax, x, y, np.log1p(heights - low), levels)
    ax.set(xlabel="first parameter", ylabel="second parameter")
    return ax


def line(found: Line, *, label: str | None = None, ax: Any = None) -> Any:
    """An objective along a line of its parameters, drawn.

    Args:
        found: From `landscape.line`; where lines were mapped over, all of them in one colour.
        label: What to call it.
        ax: Axes to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> from jaxopt_course import landscape
        >>> seen = landscape.line(lambda x: x @ x, jnp.zeros(2), jnp.ones(2))
        >>> len(line(seen).lines)
        1
    """
    if not isinstance(found, Line):
        raise TypeError(f"found must be a landscape.Line, got {type(found).__name__}")
    check_text(label=label, optional=True)
    ax = axes(ax)
    steps, values = np.broadcast_arrays(np.asarray(found.steps), np.asarray(found.value))
    color = None
    for number, (at, heights) in enumerate(
        zip(steps.reshape(-1, steps.shape[-1]), values.reshape(-1, steps.shape[-1]), strict=True)
    ):
        (drawn,) = ax.plot(at, heights, color=color, label=None if number else label, linewidth=1)
        color = drawn.get_color()
    ax.set(xlabel="step along the line", ylabel="value")
    if label is not None:
        ax.legend()
    return ax


def plane(
    found: Plane, *, levels: Any = 20, log: bool = True, filled: bool = False, ax: Any = None
) -> Any:
    """The level lines of an objective on a plane of its parameters, each with its value.

    Args:
        found: From `landscape.plane`.
        levels: How many levels, at most; or the levels themselves, ascending, so that several
            planes have the same.
        log: Whether levels are evenly spaced in the logarithm of the value, as losses want; where
            a value is not positive they are evenly spaced all the same.
        filled: Whether colours with a bar stand for the values instead of lines.
        ax: Axes to draw into; by default those of a new figure. `path` draws into them the
            coordinates that `landscape.project` gives.

    Returns:
        The axes; x is the step along the first direction.

    Raises:
        TypeError: for arguments other than described.
        ValueError: If `found` is not one plane, or holds no finite value, or has fewer than two
            rows or columns; for levels that do not ascend, or are not positive where `log` is true.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> from jaxopt_course import landscape
        >>> seen = landscape.plane(lambda x: 1 + x @ x, jnp.zeros(2), jnp.eye(2))
        >>> plane(seen).get_xlabel()
        'step along the first direction'
    """
    if not isinstance(found, Plane):
        raise TypeError(f"found must be a landscape.Plane, got {type(found).__name__}")
    if isinstance(levels, tuple | list) or np.ndim(levels):
        given, levels = levels, to_doubles("levels", levels)
        if levels.ndim != 1 or not levels.size or not (np.diff(levels) > 0).all():
            raise ValueError(
                f"levels must be a number, or levels in ascending order, got {brief(given)}"
            )
    else:
        check_count(levels=levels)
    check_flag(log=log, filled=filled)
    values = np.asarray(found.value, float)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"found must be one plane, 2 x 2 at least, got values {values.shape}")
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("found must hold a finite value, got none")
    ax = axes(ax)
    log = log and bool((values[finite] > 0).all())
    if log and np.ndim(levels) and levels[0] <= 0:
        raise ValueError(f"levels must be positive where log is true, got {levels[0]}")
    heights = np.where(finite, values, np.nan)
    heights = (np.log10(heights) if log else heights).T
    levels = np.log10(levels) if log and np.ndim(levels) else levels
    if filled:
        from matplotlib.ticker import MaxNLocator

        drawn = ax.contourf(found.rows, found.columns, heights, levels)
        drawn.set_rasterized(True)  # As lines an SVG would take megabytes.
        told = "log10 of the value" if log else "value"
        ax.figure.colorbar(drawn, ax=ax, label=told, ticks=MaxNLocator(7))
    else:
        drawn = _draw_levels(ax, found.rows, found.columns, heights, levels, colored=True)
        shown = drawn.levels[:: max(1, len(drawn.levels) // 8)]
        ax.clabel(drawn, shown, fmt=lambda level: f"{10**level if log else level:.3g}", fontsize=8)
    ax.set(xlabel="step along the first direction", ylabel="step along the second direction")
    return ax


def points(
    positions: Any,
    kinds: Any,
    *,
    directions: Any = None,
    hollow: Any = None,
    ax: Any = None,
) -> Any:
    """Points of the plane, drawn with the marker of their kind.

    Args:
        positions: Shape `(points, 2)`, of parameters or of anything else: value and smallest
            eigenvalue, say.
        kinds: What each is, `saddle.Kind` or its number, shape `(points,)`.
        directions: Drawn as arrows to both sides of a point, such as the escape directions of
            saddles, shape `(points, 2)`; NaN for a point without one.
        hollow: Which points are drawn hollow, booleans of shape `(points,)`.
        ax: Axes to draw into, whose limits the arrows' lengths follow, such as those of `surface`;
            by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: If an array is not of numbers.
        ValueError: If the shapes do not fit, or a kind is none.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> ax = points([[0.0, 0.0], [1.0, 0.0]], [saddle.Kind.STRICT_SADDLE, saddle.Kind.MINIMUM])
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['minimum (1)', 'strict saddle (1)']
    """
    where, kinds = to_doubles("positions", positions), to_doubles("kinds", kinds)
    if where.ndim != 2 or where.shape[1] != 2 or kinds.shape != where.shape[:1]:
        raise ValueError(
            "positions must have shape (points, 2) where kinds has shape (points,), got "
            f"{where.shape} and {kinds.shape}"
        )
    if not np.isin(kinds, list(Kind)).all():
        raise ValueError(f"kinds must be of saddle.Kind, got {brief(kinds)}")
    open_ = np.zeros(len(where), bool) if hollow is None else np.asarray(hollow)
    if open_.shape != kinds.shape or open_.dtype != bool:
        raise ValueError(f"hollow must be booleans of shape {kinds.shape}, got {brief(hollow)}")
    arrows = None if directions is None else to_doubles("directions", directions)
    if arrows is not None and arrows.shape != where.shape:
        raise ValueError(f"directions must have shape {where.shape}, got {arrows.shape}")
    ax = axes(ax)
    if arrows is not None:
        _draw_arrows(ax, where, arrows)
    for kind, (marker, color) in _MARKS.items():
        name = kind.name.lower().replace("_", " ").replace("non ", "non-")
        of_kind = kinds == kind
        label = f"{name} ({of_kind.sum()})"
        for chosen, look in (
            (of_kind & ~open_, {"mfc": color, "mec": "white", "mew": 0.8}),
            (of_kind & open_, {"mfc": "white", "mec": color, "mew": 2}),
        ):
            if chosen.any():
                ax.plot(*where[chosen].T, marker, ls="", ms=8, label=label, **look)
                label = None
    if len(where):
        ax.legend()
    return ax


def _draw_arrows(ax: Any, where: np.ndarray, directions: np.ndarray) -> None:
    """Draw an arrow to each side, a seventh of the shorter side of the axes long."""
    length = 0.14 * min(abs(np.diff(ax.get_xlim())[0]), abs(np.diff(ax.get_ylim())[0]))
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    for start, step in zip(where, length * directions / np.where(norms > 0, norms, 1), strict=True):
        for sign in (1, -1) if np.isfinite(step).all() else ():
            look = {"arrowstyle": "-|>", "color": "black", "lw": 1.6}
            ax.annotate("", xytext=start, xy=start + sign * step, arrowprops=look)


def census(found: Census, *, ax: Any = None) -> Any:
    """The stationary points of a census in two parameters, drawn with the marker of their kind.

    Args:
        found: From `saddle.find`, of parameters that are one array of shape `(2,)`.
        ax: Axes to draw into, such as those of `surface`; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        TypeError: If `found` is no census.
        ValueError: If its parameters are not two.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> found = saddle.find(lambda x: jnp.sum((x**2 - 1) ** 2), jnp.array([[2.0, 2.0]]))
        >>> census(found).get_legend().get_texts()[0].get_text()
        'minimum (1)'
    """
    if not isinstance(found, Census):
        raise TypeError(f"found must be a Census, got {type(found).__name__}")
    positions = _positions("found", found.params, 2)
    listed = np.asarray(found.count) > 0
    ax = points(positions[listed], np.asarray(found.point.kind)[listed], ax=ax)
    ax.set(xlabel="first parameter", ylabel="second parameter")
    return ax


def path(
    positions: chex.ArrayTree, *, label: str | None = None, ax: Any = None, **line: Any
) -> Any:
    """The path of an optimizer in two parameters, drawn from its start, a dot, to its end.

    Args:
        positions: One array of shape `(steps, 2)`, or `(runs, steps, 2)` for several, such as
            `runs.record.params`.
        label: What to call it.
        ax: Axes to draw into, such as those of `surface`; by default those of a new figure.
        **line: How the line looks, as matplotlib's `Axes.plot` takes it: `color`, `marker`, ...

    Returns:
        The axes.

    Raises:
        ValueError: If `positions` has another shape.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> path(jnp.array([[0.0, 0.0], [1.0, 0.5]])).lines[0].get_xydata().tolist()
        [[0.0, 0.0], [1.0, 0.5]]
    """
    check_text(label=label, optional=True)
    leaves = jax.tree.leaves(positions)
    for leaf in leaves:
        check_real(positions=leaf)
    if len(leaves) != 1 or jnp.ndim(leaves[0]) not in (2, 3):
        shapes = [jnp.shape(leaf) for leaf in leaves]
        raise ValueError(f"positions must have shape (steps, 2) or (runs, steps, 2), got {shapes}")
    runs = _positions("positions", positions, jnp.ndim(leaves[0]))
    ax = axes(ax)
    from matplotlib import cbook, lines

    # `lw` is `linewidth`: both at once would be refused.
    look = {"linewidth": 1} | cbook.normalize_kwargs(line, lines.Line2D)
    for number, run in enumerate(runs if runs.ndim == 3 else runs[None]):
        (drawn,) = ax.plot(*run.T, label=None if number else label, **look)
        look["color"] = drawn.get_color()
        ax.plot(*run[0], "o", color=drawn.get_color(), markersize=4)
    ax.set(xlabel="first parameter", ylabel="second parameter")
    if label is not None:
        ax.legend()
    return ax


def _draw_levels(
    ax: Any, x: Any, y: Any, heights: np.ndarray, levels: Any, *, colored: bool = False
) -> Any:
    """Draw level lines of heights, rows of them along y, in the window of the grid.

    They are grey, as what lies below points and paths; colored, low ones are dark and all legible.
    """
    look: dict[str, Any] = {"colors": "0.6", "linewidths": 0.6}
    if colored:
        low, high = np.nanmin(heights), np.nanmax(heights)
        # Beyond three quarters of its range the map is too light for a line on white.
        look = {
            "cmap": "viridis",
            "linewidths": 1.2,
            "vmin": low,
            "vmax": low + (high - low) / 0.75,
        }
    drawn = ax.contour(x, y, heights, levels, linestyles="solid", **look)
    ax.set(xlim=(float(x[0]), float(x[-1])), ylim=(float(y[0]), float(y[-1])))
    return drawn


def _positions(name: str, tree: Any, ndim: int) -> np.ndarray:
    """Return the points of a tree that is one array, whose last axis are two parameters."""
    leaves = jax.tree.leaves(tree)
    if len(leaves) != 1 or jnp.ndim(leaves[0]) != ndim or jnp.shape(leaves[0])[-1] != 2:
        shapes = [jnp.shape(leaf) for leaf in leaves]
        raise ValueError(f"{name} must be of two parameters in one array, got shapes {shapes}")
    return np.asarray(leaves[0])
