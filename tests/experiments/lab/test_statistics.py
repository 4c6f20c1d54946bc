import math

import numpy as np
import pytest

from experiments.lab import statistics


def test_the_interval_ends_solve_wilsons_equation():
    for successes, runs in ((3, 10), (1, 1000), (499, 500)):
        for end in statistics.share_interval(successes, runs):
            deviation = abs(successes / runs - end)
            assert math.isclose(deviation, 1.96 * math.sqrt(end * (1 - end) / runs), rel_tol=1e-9)


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
