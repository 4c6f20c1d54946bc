import math

import numpy as np
import pytest
from scipy import stats

from experiments.lab import statistics


def test_the_interval_ends_solve_wilsons_equation():
    for successes, runs in ((3, 10), (1, 1000), (499, 500)):
        for end in statistics.share_interval(successes, runs):
            deviation = abs(successes / runs - end)
            error = math.sqrt(end * (1 - end) / runs)
            assert math.isclose(deviation, stats.norm.ppf(0.975) * error, rel_tol=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for share in (0.02, 0.3, 0.9):
        counts = rng.binomial(200, share, size=2000)
        ends = np.array([statistics.share_interval(int(count), 200) for count in counts])
        covered = np.mean((ends[:, 0] <= share) & (share <= ends[:, 1]))
        assert 0.92 < covered < 0.98


def test_extremes_stay_within_zero_and_one():
    assert statistics.share_interval(0, 10)[0] == 0.0
    assert statistics.share_interval(10, 10)[1] == 1.0


@pytest.mark.parametrize(("successes", "runs"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(successes, runs):
    with pytest.raises(ValueError, match=f"{successes} of {runs}"):
        statistics.share_interval(successes, runs)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says():
    values = np.random.default_rng(0).normal(3.0, 2.0, (2000, 5))
    intervals = [statistics.mean_interval(row) for row in values]
    covered = np.mean([abs(mean - 3.0) <= half for mean, half in intervals])
    # Four standard errors of a share of 0.95 in 2,000 trials.
    assert abs(covered - 0.95) < 0.02


def test_nan_does_not_pass_for_a_number():
    assert all(np.isnan(statistics.mean_interval([1.0, np.nan, 2.0])))
    assert "nan" in statistics.show_mean([1.0, np.nan])


def test_one_value_has_no_interval():
    with pytest.raises(ValueError, match="values must be at least two, got 1"):
        statistics.mean_interval([1.0])


def test_the_interval_of_a_median_covers_it_as_often_as_it_says():
    rows = np.random.default_rng(0).exponential(size=(500, 25))
    ends = np.array([statistics.median_interval(row)[1:] for row in rows])
    covered = np.mean((ends[:, 0] <= np.log(2)) & (np.log(2) <= ends[:, 1]))
    assert covered > 0.93
    assert statistics.median_interval([1.0, np.inf, np.inf]) == (np.inf, 1.0, np.inf)
