"""Perturbed accelerated gradient descent: the paper's loop, its Hamiltonian, its speed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course.transforms._accelerated import perturbed_accelerated_gradient_descent

KEY = jax.random.key(0)


def lee(x):
    return x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2


def rule(learning_rate=0.1, momentum=0.2, **options):
    defaults = {
        "gamma": momentum**2 / 0.1,
        "nce_radius": 0.1,
        "radius": 1e-3,
        "gradient_threshold": 0.0,
        "interval": 50,
        "key": KEY,
    }
    return perturbed_accelerated_gradient_descent(learning_rate, momentum, **(defaults | options))


def path(optimizer, fun, start, steps):
    """Return all iterates, the start included, and all states after a step."""

    def step(carry, _):
        x, state = carry
        value, grad = jax.value_and_grad(fun)(x)
        updates, state = optimizer.update(grad, state, x, value=value, grad=grad, value_fn=fun)
        x = optax.apply_updates(x, updates)
        return (x, state), (x, state)

    run = jax.jit(lambda x: jax.lax.scan(step, (x, optimizer.init(x)), length=steps)[1])
    xs, states = run(start)
    return np.concatenate([start[None], xs]), states


def textbook(fun, x, steps, *, eta, theta, gamma, s):
    """The paper's loop without noise, in NumPy."""
    grad = jax.jit(jax.grad(fun))
    v, xs, exploited = np.zeros_like(x), [x], 0
    for _ in range(steps):
        y = x + (1 - theta) * v
        g = np.asarray(grad(y))
        new = y - eta * g
        new_v = new - x
        gap = float(fun(x)) - float(fun(y)) - g @ (x - y)
        if v.any() and gap <= -gamma / 2 * (x - y) @ (x - y):
            exploited += 1
            length = np.linalg.norm(v)
            new = x if length >= s else min(x + s / length * v, x - s / length * v, key=fun)
            new_v = np.zeros_like(x)
        x, v = new, new_v
        xs.append(x)
    return np.array(xs), exploited


@pytest.mark.parametrize("start", [[1.5, 1e-3], [0.5, 1e-8]])
def test_it_follows_the_papers_loop(start, x64):
    xs, states = path(rule(gamma=0.5), lee, np.array(start), 60)
    expected, exploited = textbook(lee, np.array(start), 60, eta=0.1, theta=0.2, gamma=0.5, s=0.1)
    np.testing.assert_allclose(xs, expected, atol=1e-10)
    assert int(states.num_exploitations[-1]) == exploited >= 1


def test_the_hamiltonian_never_rises_without_noise(x64):
    """With the paper's constants: L = 3.4 and rho = 7.2 where the path goes, |y| <= 1.2."""
    smoothness, lipschitz, epsilon = 3.4, 7.2, 1e-3
    eta = 1 / (4 * smoothness)
    theta = 1 / (4 * (smoothness / (lipschitz * epsilon) ** 0.5) ** 0.5)
    gamma = theta**2 / eta
    optimizer = rule(eta, theta, gamma=gamma, nce_radius=gamma / (4 * lipschitz))
    starts = np.array([[1.0, 1e-6], [-0.5, 0.3], [0.0, 1e-3], [0.2, -1.1]])
    for start, exploits in zip(starts, (True, False, True, False), strict=True):
        xs, states = path(optimizer, lee, start, 400)
        kinetic = np.sum(np.asarray(states.velocity) ** 2, axis=1) / (2 * eta)
        energy = lee(xs.T) + np.concatenate([[0.0], kinetic])
        assert np.max(np.diff(energy)) <= 1e-15
        np.testing.assert_allclose(np.abs(xs[-1]), [0.0, 1.0], atol=1e-3)
        assert (int(states.num_exploitations[-1]) > 0) == exploits


def test_a_quadratic_saddle_is_left_at_the_accelerated_rate(x64):
    """Largest root of z^2 - a (2 - theta) z + a (1 - theta), a = 1 + rate * curvature."""
    a, theta = 1 + 0.1 * 0.1, 0.1
    root = max(np.roots([1, -a * (2 - theta), a * (1 - theta)]))
    assert round(root, 5) == 1.06739
    optimizer = rule(0.1, 0.1, gamma=jnp.inf)
    xs, _ = path(optimizer, lambda x: x[0] ** 2 - 0.1 * x[1] ** 2 / 2, np.array([0.0, 1e-6]), 400)
    np.testing.assert_allclose(xs[-1, 1] / xs[-2, 1], root, rtol=1e-9)


def test_exploitation_moves_by_its_radius_to_the_lower_side(x64):
    def fun(x):
        return -(x[0] ** 2) / 2

    optimizer = rule(gamma=0.5, nce_radius=0.3)

    @jax.jit
    def update(velocity):
        x = jnp.array([0.2])
        state = optimizer.init(x)._replace(velocity=velocity)
        return optimizer.update(jax.grad(fun)(x), state, x, value_fn=fun)

    # Against the velocity, or nowhere if the velocity is longer than the move.
    for velocity, move in ((-0.05, 0.3), (-0.4, 0.0)):
        updates, state = update(np.array([velocity]))
        np.testing.assert_allclose(updates, [move], rtol=1e-12)
        assert int(state.num_exploitations) == 1
        assert not np.any(state.velocity)


def test_noise_is_added_at_small_gradients_at_most_once_an_interval(x64):
    optimizer = rule(gradient_threshold=1e-2, interval=4, radius=1e-6, gamma=jnp.inf)
    xs, states = path(optimizer, lee, np.zeros(2), 11)
    assert states.perturbation.num_perturbations.tolist() == [1] * 5 + [2] * 5 + [3]
    assert 0 < np.linalg.norm(xs[1]) <= 2e-6


def test_schedules_and_the_rounding_of_a_minimum(x64):
    optimizer = rule(optax.constant_schedule(0.1))
    xs, states = path(optimizer, lee, np.array([0.3, 0.5]), 400)
    plain, _ = path(rule(), lee, np.array([0.3, 0.5]), 400)
    np.testing.assert_array_equal(xs, plain)
    assert int(states.count[-1]) == 400
    # Rounding decides the condition at the minimum; nothing may be exploited there.
    np.testing.assert_allclose(np.abs(xs[-1]), [0.0, 1.0], atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_theorems_constants_lead_from_the_saddle_to_a_second_order_point(scale, x64):
    """On sums of Lee's example, from the exact saddle, within the iterations of the theorem."""
    epsilon, dimension = 1e-2, 6

    def fun(x):
        return scale * jnp.sum(x[:3] ** 2 / 2 + x[3:] ** 4 / 4 - x[3:] ** 2 / 2)

    optimizer = perturbed_accelerated_gradient_descent.from_smoothness(
        smoothness=3.4 * scale,
        hessian_lipschitz=7.2 * scale,
        epsilon=epsilon,
        failure_probability=0.1,
        function_gap=0.75 * scale,
        dimension=dimension,
        key=KEY,
    )
    xs, _ = path(optimizer, fun, np.zeros(dimension), 1500)
    assert np.linalg.norm(jax.jit(jax.grad(fun))(xs[-1])) <= epsilon
    lowest = np.linalg.eigvalsh(jax.jit(jax.hessian(fun))(xs[-1]))[0]
    assert float(lowest) >= -((7.2 * scale * epsilon) ** 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate must be positive, got -1.0"),
        ({"momentum": 1.5}, r"momentum must lie in \(0, 1\], got 1.5"),
        ({"nce_radius": 0.0}, "nce_radius must be positive, got 0.0"),
        ({"gamma": -1.0}, "gamma must not be negative, got -1.0"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        rule(**options)
