"""Confidence intervals for what experiments count."""

import math


def share_interval(successes: int, runs: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval for a share: right also near 0 and 1, where the normal one is not.

    Args:
        successes: Number of successes.
        runs: Number of runs, at least 1.
        z: Quantile of the normal distribution; 1.96 for 95 %.

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
    share = successes / runs
    centre = share + z**2 / (2 * runs)
    half = z * math.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2))
    scale = 1 + z**2 / runs
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def show_share(successes: int, runs: int) -> str:
    """Return a share as a reader should see it, with its 95 % interval.

    Example:
        >>> show_share(189, 200)
        '189 of 200 (94.5 %, 95 % interval 90.4 to 96.9 %)'
    """
    low, high = share_interval(successes, runs)
    interval = f"{100 * low:.1f} to {100 * high:.1f} %"
    return f"{successes} of {runs} ({100 * successes / runs:.1f} %, 95 % interval {interval})"
