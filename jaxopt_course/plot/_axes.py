"""Axes to draw into, and the one import of matplotlib."""

import importlib.util
from typing import Any

from jaxopt_course._brief import brief


def axes(ax: Any) -> Any:
    """Return the axes to draw into: those given, or those of a new figure.

    Args:
        ax: A matplotlib `Axes`, or None.

    Raises:
        TypeError: If `ax` is neither.
        ModuleNotFoundError: If matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError(
            "plot needs matplotlib: pip install 'jaxopt_course[plot]', or '.[plot]' in a clone"
        )
    from matplotlib.axes import Axes

    if ax is None:
        from matplotlib import pyplot

        return pyplot.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes or None, got {brief(ax)}")
    return ax
