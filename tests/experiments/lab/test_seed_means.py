import numpy as np
import pytest

from experiments.lab.seed_means import mean_interval, show_mean


def test_interval_covers_the_mean_as_often_as_it_says():
    values = np.random.default_rng(0).normal(3.0, 2.0, (2000, 5))
    intervals = [mean_interval(row) for row in values]
    covered = np.mean([abs(mean - 3.0) <= half for mean, half in intervals])
    # Four standard errors of a share of 0.95 in 2,000 trials.
    assert abs(covered - 0.95) < 0.02


def test_nan_does_not_pass_for_a_number():
    assert all(np.isnan(mean_interval([1.0, np.nan, 2.0])))
    assert "nan" in show_mean([1.0, np.nan])


def test_one_value_has_no_interval():
    with pytest.raises(ValueError, match="values must be at least two, got 1"):
        mean_interval([1.0])
