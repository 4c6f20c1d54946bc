"""Intervals and rank correlations of runs that differ by arm, rate and seed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from ..lab.statistics import mean_interval


class Interval(NamedTuple):
    """A number and its 95 % interval."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.3g} ({self.low:.3g} to {self.high:.3g})"


def jackknife(statistic: Callable[[xr.Dataset], float], dataset: xr.Dataset) -> Interval:
    """Return a statistic of all seeds with its 95 % interval, from leaving out one at a time."""
    count = dataset.sizes["seed"]
    without = [statistic(dataset.drop_isel(seed=k)) for k in range(count)]
    half = stats.t.ppf(0.975, count - 1) * np.sqrt((count - 1) * np.var(without))
    middle = statistic(dataset)
    return Interval(middle, middle - half, middle + half)


def correlation(runs: xr.Dataset, name: str) -> float:
    """Return Kendall's correlation of a measure and the test error over the runs that arrived."""
    here = runs[name].notnull().values
    if here.sum() < 3:
        return float("nan")
    return float(stats.kendalltau(runs[name].values[here], runs["test error"].values[here])[0])


def correlations(runs: xr.Dataset, name: str) -> np.ndarray:
    """Return that correlation for every seed, over its arms and rates."""
    return np.array([correlation(runs.isel(seed=k), name) for k in range(runs.sizes["seed"])])


def interval(values: np.ndarray) -> Interval:
    """Return Student's interval for the mean of independent values, NaN left out."""
    known = values[np.isfinite(values)]
    middle, half = mean_interval(known) if known.size > 1 else (np.nan, np.nan)
    return Interval(float(middle), float(middle - half), float(middle + half))


def correlation_within(runs: xr.Dataset, name: str) -> float:
    """Return the mean of that correlation within an arm at a rate, where seeds alone differ."""
    cells = [
        correlation(runs.isel(arm=arm, rate=rate), name)
        for arm in range(runs.sizes["arm"])
        for rate in range(runs.sizes["rate"])
    ]
    # Of equal errors there is no order.
    defined = [cell for cell in cells if np.isfinite(cell)]
    return float(np.mean(defined)) if defined else float("nan")


def ratio(one: xr.DataArray, other: xr.DataArray) -> Interval:
    """Return the geometric mean of a ratio over seeds, each the mean over rates, and its interval.

    A pair is left out if one of its runs did not come to the target loss.
    """
    logarithm = xr.DataArray(np.log(one) - np.log(other))
    if "rate" in logarithm.dims:
        logarithm = logarithm.mean("rate")
    return Interval(*map(float, np.exp(interval(logarithm.values))))
