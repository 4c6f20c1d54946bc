"""Means over seeds with confidence intervals, as claims print them."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def check_seeds(seeds: int) -> None:
    """Raise ValueError unless there are the two seeds that an interval needs.

    Example:
        >>> check_seeds(5)
    """
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2, got {seeds}")


def mean_interval(values: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Return the mean of independent values and half the width of Student's interval for it.

    Args:
        values: One number a seed; at least two.
        level: Confidence.

    Returns:
        Mean and half width. NaN values make both NaN.

    Raises:
        ValueError: If there are fewer than two values.

    Example:
        >>> mean, half = mean_interval([1.0, 2.0, 3.0])
        >>> round(mean, 2), round(half, 2)
        (2.0, 2.48)
    """
    values = np.asarray(values, float).ravel()
    if values.size < 2:
        raise ValueError(f"values must be at least two, got {values.size}")
    error = values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean()), float(stats.t.ppf((1 + level) / 2, values.size - 1) * error)


def show_mean(values: ArrayLike, *, digits: int = 3) -> str:
    """Return a mean with its 95 % interval as a reader should see it.

    Example:
        >>> show_mean([1.0, 2.0, 3.0])
        '2 ± 2.48 (95 %, n = 3)'
    """
    mean, half = mean_interval(values)
    return f"{mean:.{digits}g} ± {half:.{digits}g} (95 %, n = {np.size(values)})"
