"""Pictures of many values: their distribution, and what many runs have in common along the way."""

from typing import Any

import numpy as np

from jaxopt_course._checks import check_interval, check_one_of, check_text, to_doubles
from jaxopt_course.plot._axes import axes


def distribution(values: Any, *, label: str | None = None, ax: Any = None, **line: Any) -> Any:
    """The share of values that are at most as large as the axis says, drawn.

    The empirical distribution function. What is not finite, the time of a run that never arrived
    say, is part of the number: the curve then ends at the share of the others, not at 1.

    Args:
        values: An array of any shape.
        label: What to call them.
        ax: Axes to draw into; by default those of a new figure.
        **line: How the line looks, as matplotlib's `Axes.plot` takes it: `color`, `linestyle`, ...

    Returns:
        The axes.

    Raises:
        TypeError: If the values are no real numbers.
        ValueError: If there is none.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> ax = distribution([3.0, 1.0, jnp.inf, 2.0])
        >>> ax.lines[0].get_xydata()[-1].tolist()
        [3.0, 0.75]
    """
    every = to_doubles("values", values).ravel()
    check_text(label=label, optional=True)
    if not every.size:
        raise ValueError("values must not be empty")
    ax = axes(ax)
    finite = np.sort(every[np.isfinite(every)])
    share = np.arange(1, finite.size + 1) / every.size
    ax.step(finite, share, where="post", label=label, **line)
    ax.set(ylabel="share", ylim=(0, 1.02))
    if label is not None:
        ax.legend()
    return ax


def band(
    x: Any,
    values: Any,
    *,
    center: str = "median",
    quantiles: tuple[float, float] = (0.1, 0.9),
    label: str | None = None,
    ax: Any = None,
    **line: Any,
) -> Any:
    """What many runs have in common, drawn: their median or mean, and a band around it.

    Args:
        x: Where the values are, shape `(points,)`: steps, epochs, learning rates.
        values: Of all runs, shape `(runs, points)`; NaN is left out.
        center: The line, `"median"` or `"mean"`.
        quantiles: Lower and upper end of the band, between 0 and 1; 0 and 1 are the runs' range.
        label: What to call the runs.
        ax: Axes to draw into; by default those of a new figure.
        **line: How the line looks, as matplotlib's `Axes.plot` takes it: `color`, `linestyle`, ...
            The band has its colour.

    Returns:
        The axes.

    Raises:
        TypeError: for arguments other than described.
        ValueError: If the shapes do not fit, or `quantiles` are not in order.
        ModuleNotFoundError: If matplotlib is not installed.

    Example:
        >>> ax = band([0, 1], [[1.0, 2.0], [3.0, 2.0], [5.0, 2.0]], center="mean")
        >>> ax.lines[0].get_ydata().tolist()
        [3.0, 2.0]
    """
    x, values = to_doubles("x", x), to_doubles("values", values)
    if x.ndim != 1 or values.ndim != 2 or values.shape[1] != x.size or not values.size:
        raise ValueError(
            "values must have shape (runs, points) where x has shape (points,), got "
            f"{values.shape} and {x.shape}"
        )
    check_one_of(("median", "mean"), center=center)
    check_interval("quantiles", quantiles, 0, 1)
    check_text(label=label, optional=True)
    ax = axes(ax)
    low, middle, high = np.full((3, x.size), np.nan)
    # Where no run has a value there is a gap.
    seen = ~np.isnan(values).all(axis=0)
    some = values[:, seen]
    low[seen], high[seen] = np.nanquantile(some, quantiles, axis=0)
    middle[seen] = np.nanmean(some, axis=0) if center == "mean" else np.nanmedian(some, axis=0)
    (drawn,) = ax.plot(x, middle, label=label, **line)
    ax.fill_between(x, low, high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    if label is not None:
        ax.legend()
    return ax
