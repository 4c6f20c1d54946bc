"""Intervals for what experiments count and average, by SciPy, as claims print them."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def share_interval(successes: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for a share: right also near 0 and 1, where the normal one is not.

    Args:
        successes: Number of successes.
        runs: Number of runs, at least 1.
        level: Confidence.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: If there are no runs, or not between 0 and `runs` successes.

    Example:
        >>> [round(end, 3) for end in share_interval(0, 100)]
        [0.0, 0.037]

    Reference:
        Wilson (1927), J. Amer. Statist. Assoc. 22, page 209.
    """
    if not 0 <= successes <= runs or runs < 1:
        raise ValueError(f"successes must lie between 0 and runs >= 1, got {successes} of {runs}")
    interval = stats.binomtest(int(successes), int(runs)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def show_share(successes: int, runs: int) -> str:
    """A share as a reader should see it, with its 95 % interval.

    Example:
        >>> show_share(189, 200)
        '189 of 200 (94.5 %, 95 % interval 90.4 to 96.9 %)'
    """
    low, high = share_interval(successes, runs)
    interval = f"{100 * low:.1f} to {100 * high:.1f} %"
    return f"{successes} of {runs} ({100 * successes / runs:.1f} %, 95 % interval {interval})"


def median_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """The median of independent values with the order statistics that enclose it.

    The number of values below the median is binomial, whatever their distribution.

    Args:
        values: Numbers of any shape, at least one; infinity counts as later than any.
        level: Confidence.

    Returns:
        Median (of an even number of values the lower of the two in the middle), lower and upper
        end. Fewer than six values do not enclose their median with 95 % confidence: then the ends
        are the smallest and the largest.

    Example:
        >>> median_interval(range(1, 11))
        (5.0, 2.0, 9.0)
    """
    ordered = np.sort(np.asarray(values, float), axis=None)
    interval = stats.quantile_test(ordered, p=0.5).confidence_interval(level)
    low = ordered[0] if np.isnan(interval.low) else interval.low
    high = ordered[-1] if np.isnan(interval.high) else interval.high
    return float(ordered[(ordered.size - 1) // 2]), float(low), float(high)


def check_seeds(seeds: int) -> None:
    """Raise ValueError unless there are the two seeds that an interval needs.

    Example:
        >>> check_seeds(5)
    """
    if seeds < 2:
        raise ValueError(f"seeds must be at least 2, got {seeds}")


def mean_interval(values: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """The mean of independent values and half the width of Student's interval for it.

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
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def show_every(values: ArrayLike, held: ArrayLike, *, digits: int = 3) -> str:
    """A mean with its interval, and of how many of the values something holds.

    Args:
        values: One number a seed.
        held: Whether it is what every value is claimed to be, as many.
        digits: Significant ones.

    Example:
        >>> show_every([1.0, 2.0, 3.0], [True, True, False])
        '2 ± 2.48 (95 %, n = 3), in 2 of 3'
    """
    held = np.asarray(held)
    return f"{show_mean(values, digits=digits)}, in {int(held.sum())} of {held.size}"


def show_mean(values: ArrayLike, *, digits: int = 3) -> str:
    """A mean with its 95 % interval as a reader should see it.

    Example:
        >>> show_mean([1.0, 2.0, 3.0])
        '2 ± 2.48 (95 %, n = 3)'
    """
    mean, half = mean_interval(values)
    return f"{mean:.{digits}g} ± {half:.{digits}g} (95 %, n = {np.size(values)})"
