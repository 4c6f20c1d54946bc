"""The closed form against sampling, differences and the known spectrum at the global minimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import problems


def test_loss_is_the_mean_over_gaussian_inputs(x64):
    problem = problems.relu_teacher_student(num_students=3, dimension=4)
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 4)), rng.normal(size=(400_000, 4))
    residuals = np.maximum(x @ w.T, 0).sum(1) - np.maximum(x, 0).sum(1)
    sample = residuals**2 / 2
    error = np.std(sample) / np.sqrt(sample.size)
    assert problem.fun(w) == pytest.approx(np.mean(sample), abs=4 * error)


def test_gradient_is_the_published_formula(x64):
    problem = problems.relu_teacher_student(num_students=4, dimension=3)
    w = np.random.default_rng(1).normal(size=(4, 3))
    expected = np.zeros_like(w)
    for i in range(4):
        others = [(w[j], 1.0) for j in range(4) if j != i] + [(v, -1.0) for v in np.eye(3)]
        norm = np.linalg.norm(w[i])
        expected[i] = w[i] / 2
        for other, sign in others:
            size = np.linalg.norm(other)
            angle = np.arccos(w[i] @ other / (norm * size))
            term = size * np.sin(angle) * w[i] / norm + (np.pi - angle) * other
            expected[i] += sign * term / (2 * np.pi)
    np.testing.assert_allclose(jax.jit(jax.grad(problem.fun))(w), expected, atol=1e-13)


def test_hessian_agrees_with_differences_of_the_gradient(x64):
    problem = problems.relu_teacher_student(num_students=3, dimension=3)
    w = np.random.default_rng(2).normal(size=(3, 3))
    gradient = jax.jit(jax.grad(problem.fun))
    step = 1e-6
    rows = []
    for i in range(9):
        change = (step * np.eye(9)[i]).reshape(3, 3)
        rows.append((gradient(w + change) - gradient(w - change)).ravel() / (2 * step))
    hessian = jax.jit(jax.hessian(problem.fun))(w).reshape(9, 9)
    np.testing.assert_allclose(hessian, rows, atol=1e-8)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_derivatives_are_right_where_students_are_the_teachers(check_known_points, k):
    check_known_points(problems.relu_teacher_student(num_students=k, dimension=k), tolerance=1e-7)


@pytest.mark.parametrize(("k", "others"), [(6, (0.287081, 1.712919)), (10, (0.271891, 2.728109))])
def test_spectrum_at_the_global_minimum_has_the_derived_multiplicities(k, others):
    problem = problems.relu_teacher_student(num_students=k, dimension=k)
    eigenvalues = problem.stationary_points[0].eigenvalues
    low, high = 1 / 4 - 1 / (2 * np.pi), 1 / 4 + 1 / (2 * np.pi)
    assert np.sum(np.abs(eigenvalues - low) < 1e-9) == k * (k - 1) // 2
    assert np.sum(np.abs(eigenvalues - high) < 1e-9) == k * (k - 3) // 2
    for value in others:
        assert np.sum(np.abs(eigenvalues - value) < 1e-6) == k - 1


def test_runs_in_float32_and_starts_have_the_papers_variance():
    problem = problems.relu_teacher_student(num_students=5, dimension=4)
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 500))
    assert jnp.std(starts) == pytest.approx(0.5, rel=0.02)
    start = jax.ShapeDtypeStruct((5, 4), jnp.float32)
    assert jax.eval_shape(jax.grad(problem.fun), start).dtype == jnp.float32
    assert problem.stationary_points == ()


@pytest.mark.parametrize("num_samples", [7, 400])
def test_on_a_sample_the_teachers_are_a_minimum_with_the_hessian_of_the_sample(
    check_known_points, num_samples
):
    problem = problems.sampled_relu_teacher_student(
        num_students=3, dimension=3, num_samples=num_samples, key=jax.random.key(0)
    )
    check_known_points(problem, tolerance=1e-12)
    assert problem.stationary_points[0].nullity >= 9 - num_samples


def test_the_loss_on_a_sample_is_the_population_loss_up_to_chance(x64):
    """At 20 points at once, with the Bonferroni-corrected 99.9 % interval: 4.06 errors."""
    problem = problems.sampled_relu_teacher_student(
        num_students=2, dimension=4, num_samples=20_000, key=jax.random.key(1)
    )
    population = problems.relu_teacher_student(num_students=2, dimension=4)
    points = jax.vmap(problem.init)(jax.random.split(jax.random.key(2), 20))
    x = np.asarray(problem.fun.keywords["inputs"], float)
    answers = np.maximum(np.einsum("nij,kj->nik", points, x), 0).sum(axis=1)
    losses = (answers - np.maximum(x, 0).sum(axis=1)) ** 2 / 2
    values = jax.jit(jax.vmap(problem.fun))(points)
    np.testing.assert_allclose(values, losses.mean(axis=1), rtol=1e-12)
    errors = losses.std(axis=1) / len(x) ** 0.5
    expected = jax.jit(jax.vmap(population.fun))(points)
    assert np.max(np.abs(values - expected) / errors) < 4.06
    # The bound is not idle: the losses of the points differ by far more.
    assert np.ptp(values) > 20 * np.max(errors)


def test_a_larger_sample_has_the_spectrum_of_the_population():
    """Deviations shrink like 1 / sqrt m; none is required to be zero."""
    exact = problems.relu_teacher_student(num_students=4, dimension=4)
    expected = exact.stationary_points[0].eigenvalues
    deviations = []
    for num_samples in (1000, 100_000):
        sampled = problems.sampled_relu_teacher_student(
            num_students=4, dimension=4, num_samples=num_samples, key=jax.random.key(3)
        )
        found = sampled.stationary_points[0].eigenvalues
        deviations.append(np.max(np.abs(found - expected)))
    assert deviations[1] < 0.03
    assert deviations[1] < deviations[0] / 3


def test_sampled_teacher_student_names_the_argument_that_is_wrong():
    arguments = {"num_students": 2, "dimension": 2}
    with pytest.raises(ValueError, match="num_samples must be positive"):
        problems.sampled_relu_teacher_student(**arguments, num_samples=0, key=jax.random.key(0))
    with pytest.raises(TypeError, match="num_samples must be an integer"):
        problems.sampled_relu_teacher_student(**arguments, num_samples=1e3, key=jax.random.key(0))
    with pytest.raises(TypeError, match="key must be a typed key"):
        problems.sampled_relu_teacher_student(**arguments, num_samples=9, key=0)


def test_gradient_descent_ends_at_the_global_or_at_the_published_bad_minimum(x64):
    """At k = 6 the one family of bad minima has value 0.02508, and 0.3 % of the runs end there."""
    problem = problems.relu_teacher_student(num_students=6, dimension=6)
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(1), 200))

    def step(_, w):
        return w - 0.3 * jax.grad(problem.fun)(w)

    ends = jax.jit(jax.vmap(lambda w: jax.lax.fori_loop(0, 2500, step, w)))(starts)
    values = np.asarray(jax.jit(jax.vmap(problem.fun))(ends))
    bad = values > 1e-3
    np.testing.assert_allclose(values[bad], 0.02508, atol=1e-5)
    np.testing.assert_allclose(values[~bad], 0, atol=1e-12)
    assert np.sum(bad) == 1
    (hessian,) = jax.jit(jax.vmap(jax.hessian(problem.fun)))(ends[bad])
    assert np.linalg.eigvalsh(hessian.reshape(36, 36))[0] > 0.004


def test_a_student_that_is_zero_adds_nothing_to_the_loss():
    more = problems.relu_teacher_student(num_students=3, dimension=2)
    fewer = problems.relu_teacher_student(num_students=2, dimension=2)
    students = fewer.init(jax.random.key(0))
    spare = jnp.concatenate([students, jnp.zeros((1, 2))])
    np.testing.assert_allclose(more.fun(spare), fewer.fun(students), rtol=1e-5)
    # Without students what is left is half the teachers' mean square.
    nothing = more.fun(jnp.zeros((3, 2)))
    np.testing.assert_allclose(nothing, (2 / 2 + 2 / (2 * np.pi)) / 2, rtol=1e-6)
