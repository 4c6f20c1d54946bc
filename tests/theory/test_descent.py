"""The descent lemma and what follows from it, on functions that meet the bounds with equality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import problems, theory


def test_descent_lemma_is_an_equality_along_the_top_eigenvector_and_a_bound_elsewhere(x64):
    problem = problems.quadratic([4.0, 1.0, -3.0], key=jax.random.key(0))
    for rate in (0.05, 0.25, 0.4):

        def gap(x, rate=rate):
            g = jax.grad(problem.fun)(x)
            return theory.descent_lemma_gap(
                problem.fun(x),
                problem.fun(x - rate * g),
                jnp.linalg.norm(g),
                learning_rate=rate,
                smoothness=4.0,
            )

        _, vectors = np.linalg.eigh(jax.hessian(problem.fun)(np.zeros(3)))
        assert gap(vectors[:, 2]) == pytest.approx(0, abs=1e-13)
        assert np.min(jax.vmap(gap)(jax.random.normal(jax.random.key(1), (200, 3)))) >= -1e-13
        # Curvature -3 beats the promise made for +4 by eta^2 |g|^2 (4 + 3) / 2.
        assert gap(vectors[:, 0]) == pytest.approx(rate**2 * 9 * 7 / 2)


def test_descent_lemma_fails_where_the_smoothness_is_understated(x64):
    x, rate = 1.0, 0.25
    gap = theory.descent_lemma_gap(
        2 * x**2, 2 * (x - rate * 4 * x) ** 2, 4 * x, learning_rate=rate, smoothness=2.0
    )
    assert gap < 0


def test_guaranteed_decrease_is_largest_at_one_over_the_smoothness():
    rates = np.linspace(0.01, 0.7, 200)
    decrease = theory.guaranteed_decrease(2.0, learning_rate=rates, smoothness=4.0)
    assert rates[np.argmax(decrease)] == pytest.approx(0.25, abs=0.005)
    best = theory.guaranteed_decrease(2.0, learning_rate=0.25, smoothness=4.0)
    assert best == pytest.approx(2.0**2 / (2 * 4.0))
    assert theory.guaranteed_decrease(2.0, learning_rate=0.6, smoothness=4.0) < 0


def test_gradient_descent_meets_its_stationarity_bound(x64):
    problem = problems.himmelblau()
    # The level set of the start lies in |x|, |y| <= 5.5, where the curvature is below 400.
    beta, epsilon = 400.0, 1e-2
    start = np.array([0.5, -0.5])
    steps = int(
        theory.stationarity_iterations(
            smoothness=beta, function_gap=float(problem.fun(start)), epsilon=epsilon
        )
    )
    assert steps == pytest.approx(2 * beta * float(problem.fun(start)) / epsilon**2, abs=1)

    def step(x, _):
        g = jax.grad(problem.fun)(x)
        return x - g / beta, jnp.linalg.norm(g)

    _, norms = jax.lax.scan(step, start, length=5000)
    smallest = np.minimum.accumulate(norms)
    bounds = [
        theory.gradient_norm_bound(t, smoothness=beta, function_gap=float(problem.fun(start)))
        for t in range(1, 5001)
    ]
    assert np.all(smallest <= bounds)
    assert np.min(norms) < epsilon


def test_stationarity_bounds_are_inverse_to_each_other():
    steps = theory.stationarity_iterations(smoothness=3.0, function_gap=2.0, epsilon=0.1)
    assert theory.gradient_norm_bound(steps, smoothness=3.0, function_gap=2.0) == pytest.approx(0.1)


def test_convex_bound_is_attained_by_a_huber_function(x64):
    beta, distance, num_steps = 2.0, 3.0, 7
    width = distance / (2 * num_steps + 1)

    def huber(x):
        small = jnp.abs(x) <= width
        return beta * jnp.where(small, x * x / 2, width * jnp.abs(x) - width**2 / 2)

    x = jax.lax.fori_loop(
        0, num_steps, lambda _, x: x - jax.grad(huber)(x) / beta, jnp.asarray(distance)
    )
    bound = theory.convex_value_bound(num_steps, smoothness=beta, distance=distance)
    assert huber(x) == pytest.approx(bound, rel=1e-12)


def test_second_order_threshold_is_minus_the_root_of_rho_epsilon_and_traces():
    assert theory.second_order_threshold(hessian_lipschitz=2.0, epsilon=0.5) == -1.0
    traced = jax.jit(lambda e: theory.second_order_threshold(hessian_lipschitz=2.0, epsilon=e))
    assert traced(0.5) == -1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"smoothness": -1.0}, "smoothness"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"function_gap": -1.0}, "function_gap"),
        ({"learning_rate": 1.0}, "learning_rate must be less than 2 / smoothness"),
        ({"learning_rate": -0.1}, "learning_rate"),
    ],
)
def test_stationarity_bound_names_the_argument_that_is_wrong(arguments, named):
    good = {"smoothness": 2.0, "function_gap": 1.0, "epsilon": 0.1}
    with pytest.raises(ValueError, match=named):
        theory.stationarity_iterations(**(good | arguments))


def test_a_rate_that_guarantees_nothing_takes_for_ever_and_not_a_negative_number_of_steps():
    rates = jnp.array([0.5, 1.0, 1.5, jnp.nan])
    steps = theory.stationarity_iterations(
        smoothness=2.0, function_gap=3.0, epsilon=0.1, learning_rate=rates
    )
    np.testing.assert_allclose(steps, [1200, jnp.inf, jnp.inf, jnp.nan], rtol=1e-6)
