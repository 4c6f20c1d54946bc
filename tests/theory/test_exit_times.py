"""Exit times against simulation and against the measured values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import theory


@pytest.mark.parametrize(("rate", "curvature", "expected"), [(0.25, 1.0, 62), (0.1, 0.1, 1389)])
def test_escape_steps_count_the_multiplications(rate, curvature, expected):
    steps = theory.quadratic_escape_steps(
        learning_rate=rate, curvature=curvature, start=1e-6, end=1.0
    )
    assert steps == expected
    y, count = 1e-6, 0
    while y < 1:
        y, count = y * (1 + rate * curvature), count + 1
    assert count == expected


def test_no_steps_are_needed_from_beyond_the_end():
    assert theory.quadratic_escape_steps(learning_rate=1.0, curvature=1.0, start=2.0, end=1.0) == 0


@pytest.mark.parametrize(
    ("attraction", "expected"), [(1.0, 2.710), (1.5, 3.409), (2.0, 4.106), (3.0, 5.497)]
)
def test_octopus_exit_ratio_has_the_published_values(attraction, expected):
    ratio = theory.octopus_exit_ratio(
        learning_rate=1 / (4 * attraction), attraction=attraction, repulsion=1.0
    )
    assert ratio == pytest.approx(expected, abs=5e-4)


def test_octopus_exit_ratio_tends_to_the_theorems_bound_from_above():
    bound = theory.octopus_exit_ratio_bound(attraction=3.0, repulsion=1.0)
    assert bound == 4.0
    ratios = [
        theory.octopus_exit_ratio(learning_rate=rate, attraction=3.0, repulsion=1.0)
        for rate in (0.1, 0.01, 1e-6)
    ]
    assert ratios[0] > ratios[1] > ratios[2] > bound
    assert ratios[2] == pytest.approx(bound, rel=1e-5)


def test_exit_times_trace():
    steps = jax.jit(
        lambda g: theory.quadratic_escape_steps(
            learning_rate=0.25, curvature=g, start=1e-6, end=1.0
        )
    )
    assert steps(1.0) == 62
    slope = jax.grad(
        lambda rate: theory.octopus_exit_ratio(learning_rate=rate, attraction=1.5, repulsion=1.0)
    )(0.1)
    assert slope > 0


def test_exit_times_refuse_numbers_out_of_range():
    with pytest.raises(ValueError, match="learning_rate must be less than 1 / "):
        theory.octopus_exit_ratio(learning_rate=0.5, attraction=1.0, repulsion=1.0)
    with pytest.raises(ValueError, match="start must be positive"):
        theory.quadratic_escape_steps(learning_rate=0.5, curvature=1.0, start=0.0, end=1.0)


def test_a_distance_that_never_grows_takes_for_ever_and_not_no_steps():
    steps = theory.quadratic_escape_steps(
        learning_rate=0.1,
        curvature=jnp.array([1.0, 0.0, -1.0, -1.0, 1.0, jnp.nan]),
        start=jnp.array([1e-3, 1e-3, 1e-3, 2.0, 0.0, 1e-3]),
        end=1.0,
    )
    np.testing.assert_array_equal(steps, [73, jnp.inf, jnp.inf, 0, jnp.inf, jnp.nan])
