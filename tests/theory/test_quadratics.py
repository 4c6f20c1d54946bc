"""Rates of the gradient methods against companion matrices and published counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import theory

METHODS = {
    "gradient descent": (lambda **k: theory.gradient_descent_rate(**k, tuned=False), False),
    "gradient descent, tuned": (theory.gradient_descent_rate, False),
    "Nesterov": (lambda **k: theory.nesterov_rate(**k, tuned=False), True),
    "Nesterov, tuned": (theory.nesterov_rate, True),
    "heavy ball": (theory.heavy_ball_rate, False),
}


def companion_radius(curvature, learning_rate, decay, lookahead):
    """Spectral radius of the step on (e[t], e[t-1]), by eigenvalues of its matrix."""
    step = 1 - learning_rate * curvature
    row = [(1 + decay) * step, -decay * step] if lookahead else [decay + step, -decay]
    return np.max(np.abs(np.linalg.eigvals([row, [1.0, 0.0]])))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("gradient descent", 0.96),
        ("gradient descent, tuned", 0.923077),
        ("Nesterov", 0.8),
        ("Nesterov, tuned", 0.770584),
        ("heavy ball", 0.666667),
    ],
)
def test_rates_at_condition_number_25(method, expected):
    make, _ = METHODS[method]
    assert make(strong_convexity=1.0, smoothness=25.0).rate == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (10, [132, 69, 37, 32, 22]),
        (100, [1375, 691, 132, 113, 69]),
        (1000, [13809, 6908, 430, 372, 219]),
        (10000, [138149, 69078, 1375, 1190, 691]),
    ],
)
def test_iterations_to_one_in_a_million(condition, expected):
    counts = [
        theory.linear_iterations(
            make(strong_convexity=1.0, smoothness=float(condition)).rate, accuracy=1e-6
        )
        for make, _ in METHODS.values()
    ]
    assert counts == expected


@pytest.mark.parametrize("method", METHODS)
def test_rate_is_the_worst_factor_over_the_spectrum(method):
    make, lookahead = METHODS[method]
    found = make(strong_convexity=0.5, smoothness=20.0)
    curvatures = np.linspace(0.5, 20.0, 4001)
    factors = theory.recursion_factor(
        curvatures, learning_rate=found.learning_rate, decay=found.decay, lookahead=lookahead
    )
    # Double roots at the ends of the spectrum: half of the digits go in the discriminant.
    assert np.max(factors) == pytest.approx(found.rate, abs=2e-8)


@pytest.mark.parametrize("lookahead", [False, True])
def test_recursion_factor_is_the_spectral_radius_of_the_companion_matrix(lookahead):
    rng = np.random.default_rng(0)
    for _ in range(200):
        curvature, rate, decay = rng.uniform(-2, 5), rng.uniform(0.01, 0.5), rng.uniform(0, 0.99)
        expected = companion_radius(curvature, rate, decay, lookahead)
        actual = theory.recursion_factor(
            curvature, learning_rate=rate, decay=decay, lookahead=lookahead
        )
        assert actual == pytest.approx(expected, rel=1e-7)


def test_tuned_parameters_are_best_of_their_neighbours():
    curvatures = np.linspace(1.0, 30.0, 2001)

    def worst(rate, decay, lookahead):
        return np.max(
            theory.recursion_factor(
                curvatures, learning_rate=rate, decay=decay, lookahead=lookahead
            )
        )

    for make, lookahead in (METHODS["Nesterov, tuned"], METHODS["heavy ball"]):
        found = make(strong_convexity=1.0, smoothness=30.0)
        for by_rate, by_decay in [(1.05, 1), (0.95, 1), (1, 1.05), (1, 0.95)]:
            neighbour = worst(found.learning_rate * by_rate, found.decay * by_decay, lookahead)
            assert neighbour > found.rate + 1e-4


def test_rates_trace_and_agree_with_double_precision(x64):
    @jax.jit
    def traced(smoothness):
        return [make(strong_convexity=1.0, smoothness=smoothness) for make, _ in METHODS.values()]

    plain = [make(strong_convexity=1.0, smoothness=1e6) for make, _ in METHODS.values()]
    np.testing.assert_allclose(np.array(traced(1e6)), np.array(plain), rtol=1e-14)


def test_python_numbers_give_double_precision_while_jax_computes_in_float32():
    rate = theory.heavy_ball_rate(strong_convexity=1.0, smoothness=1e10).rate
    assert 1 - rate == pytest.approx(2e-5, rel=1e-4)
    assert jnp.result_type(float) == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"strong_convexity": 0.0, "smoothness": 1.0}, "strong_convexity must be positive"),
        ({"strong_convexity": 2.0, "smoothness": 1.0}, "strong_convexity must not exceed"),
    ],
)
def test_rates_refuse_impossible_curvatures(arguments, named):
    for make, _ in METHODS.values():
        with pytest.raises(ValueError, match=named):
            make(**arguments)


def test_recursion_and_iterations_refuse_numbers_out_of_range():
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\)"):
        theory.recursion_factor(1.0, learning_rate=0.1, decay=1.0)
    with pytest.raises(ValueError, match=r"rate must lie in \[0, 1\)"):
        theory.linear_iterations(1.0, accuracy=0.1)


@pytest.mark.parametrize("lookahead", [False, True])
def test_recursion_factor_has_finite_derivatives_on_both_sides_of_the_double_root(lookahead, x64):
    def factor(curvature, decay):
        return theory.recursion_factor(
            curvature, learning_rate=1.0, decay=decay, lookahead=lookahead
        )

    curvatures = jnp.array([-0.5, 0.0, 0.2, 0.25, 0.5, 1.0, 1.5, 1.9])
    for decay in (0.0, 0.25, 0.9):
        slopes = jax.vmap(jax.grad(factor), (0, None))(curvatures, decay)
        assert jnp.isfinite(slopes).all()
        # Where neither a double root nor the kink of a modulus is near.
        step = 1e-6
        ahead, behind = factor(curvatures + step, decay), factor(curvatures - step, decay)
        smooth = abs(ahead + behind - 2 * factor(curvatures, decay)) < 1e-9
        assert smooth.sum() >= 5
        measured = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(slopes[smooth], measured[smooth], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_curvatures_out_of_range_in_arrays_give_nan_and_those_in_range_what_they_did(method):
    rates, _ = METHODS[method]
    found = rates(strong_convexity=jnp.array([1.0, 3.0, 0.0, -1.0, jnp.nan, 2.0]), smoothness=2.0)
    assert jnp.isnan(found.rate).tolist() == [False, True, True, True, True, False]
    alone = rates(strong_convexity=1.0, smoothness=2.0)
    np.testing.assert_allclose(found.rate[0], alone.rate, rtol=1e-6)


def test_iterations_in_arrays_count_also_where_a_number_is_out_of_range():
    rates = jnp.array([0.9, 0.0, 1.0, 1.5, 0.9, 1.5, -0.5, jnp.nan])
    accuracies = jnp.array([1e-3, 1e-3, 0.1, 0.1, 2.0, 1.0, 0.1, 0.1])
    steps = theory.linear_iterations(rates, accuracy=accuracies)
    expected = [66, 1, jnp.inf, jnp.inf, 0, 0, jnp.nan, jnp.nan]
    np.testing.assert_array_equal(steps, expected)
    # A rate that float32 rounds to 1 never arrives there.
    assert jax.jit(lambda rate: theory.linear_iterations(rate, accuracy=0.1))(1 - 1e-9) == jnp.inf
