"""Newton's method against linear algebra, and on a network of 100,000 parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

from jaxopt_course import transforms


def quadratic(matrix):
    return lambda x: x @ matrix @ x / 2


def direction(rule, fun, x):
    return jax.jit(lambda x: rule.update(jax.grad(fun)(x), rule.init(x), x, value_fn=fun))(x)


def test_newton_step_solves_the_damped_linear_system(x64):
    matrix = np.array([[3.0, 1.0, 0.0], [1.0, -2.0, 0.5], [0.0, 0.5, 4.0]])
    x = np.array([1.0, -2.0, 0.5])
    for damping in (0.0, 5.0):
        step, state = direction(transforms.scale_by_newton(damping), quadratic(matrix), x)
        expected = np.linalg.solve(matrix + damping * np.eye(3), matrix @ x)
        np.testing.assert_allclose(step, expected, rtol=1e-12)
        assert bool(state.negative_curvature) == (damping == 0.0)
        assert int(state.num_products) == 3


def test_both_solvers_agree_where_the_hessian_is_positive_definite(x64):
    def fun(x):
        return jnp.sum(jnp.cosh(x)) + jnp.sum(x) ** 2

    x = np.array([0.3, -1.0, 0.7, 2.0])
    dense, _ = direction(transforms.scale_by_newton(0.1), fun, x)
    free, state = direction(transforms.scale_by_newton(0.1, "cg", cg_tolerance=1e-12), fun, x)
    np.testing.assert_allclose(dense, free, rtol=1e-10)
    assert int(state.num_products) == 4
    assert not bool(state.negative_curvature)


def test_newton_is_affinely_invariant(x64):
    """Iterates in the coordinates z = A^-1 x are A^-1 times the iterates in x."""

    def fun(x):
        return jnp.sum(jnp.exp(x)) + jnp.sum(x**2) - x[0]

    change = np.array([[2.0, 0.3], [-1.0, 5.0]])
    z, optimizer = np.array([0.4, -0.2]), transforms.newton()

    def path(fun, start):
        def step(x, _):
            grad = jax.grad(fun)(x)
            updates, _ = optimizer.update(grad, optimizer.init(x), x, value_fn=fun)
            return x + updates, x

        return np.asarray(jax.jit(lambda x: jax.lax.scan(step, x, length=5)[1])(start))

    in_z = path(lambda z: fun(change @ z), z)
    np.testing.assert_allclose(in_z @ change.T, path(fun, change @ z), atol=1e-14)


def test_singular_directions_get_no_step(x64):
    """x^2/2 + y has no curvature along y; the least-norm step leaves y alone."""
    step, _ = direction(
        transforms.scale_by_newton(), lambda x: x[0] ** 2 / 2 + x[1], jnp.array([3.0, 1.0])
    )
    np.testing.assert_allclose(step, [3.0, 0.0])


def test_cg_descends_where_newton_climbs(x64):
    def fun(x):
        return x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2

    x = np.array([0.5, 0.3])
    grad = np.array([0.5, 0.3**3 - 0.3])
    climbing, _ = direction(transforms.scale_by_newton(), fun, x)
    descending, state = direction(transforms.scale_by_newton(solver="cg"), fun, x)
    assert float(climbing[1] * grad[1]) < 0
    assert float(descending @ grad) > 0
    assert bool(state.negative_curvature)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"damping": -0.1}, "damping must not be negative, got -0.1"),
        ({"solver": "lu"}, "solver must be one of 'eigh', 'cg'; got 'lu'"),
        ({"max_cg_steps": 0}, "max_cg_steps must be positive, got 0"),
        ({"cg_tolerance": 0.0}, "cg_tolerance must be positive, got 0.0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        transforms.newton(**arguments)


# A network


def digits_network():
    """Return the full digits data and a tanh network of 64-512-128-10 units, 100,234 parameters."""
    digits = load_digits()
    inputs, labels = jnp.asarray(digits.data / 16, jnp.float32), jnp.asarray(digits.target)
    params = []
    for layer, (fan_in, fan_out) in enumerate([(64, 512), (512, 128), (128, 10)]):
        weights = jax.random.normal(jax.random.key(layer), (fan_in, fan_out)) / fan_in**0.5
        params.append({"weights": weights, "bias": jnp.zeros(fan_out)})

    def loss(params, inputs, labels):
        *hidden, last = params
        for layer in hidden:
            inputs = jnp.tanh(inputs @ layer["weights"] + layer["bias"][None])
        logits = inputs @ last["weights"] + last["bias"][None]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return loss, params, inputs, labels


@pytest.mark.parametrize(
    ("optimizer", "bound"),
    [
        (transforms.newton(damping=0.1, solver="cg", max_cg_steps=10), 0.1),
        (transforms.trust_region(solver="cg", max_cg_steps=10), 0.2),
        (transforms.saddle_free_newton(damping=0.1, solver="lanczos", subspace_size=8), 0.1),
        (transforms.cubic_newton(1.0, solver="lanczos", subspace_size=8), 0.2),
    ],
    ids=["newton", "trust-region", "saddle-free", "cubic"],
)
def test_matrix_free_rules_train_a_network_of_100_000_parameters_in_10_steps(optimizer, bound):
    """From a loss of 2.41, on all 1,797 images."""
    loss, params, inputs, labels = digits_network()
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) >= 100_000

    @jax.jit
    def step(params, state, inputs, labels):
        value, grads = jax.value_and_grad(loss)(params, inputs, labels)
        updates, state = optimizer.update(
            grads,
            state,
            params,
            value=value,
            grad=grads,
            value_fn=loss,
            inputs=inputs,
            labels=labels,
        )
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(10):
        params, state = step(params, state, inputs, labels)
    assert float(loss(params, inputs, labels)) < bound


def test_an_objective_that_draws_is_refused():
    rng = np.random.default_rng(0)
    noisy = lambda x: jnp.sum((x - rng.normal(size=2)) ** 2)  # noqa: E731
    newton = transforms.newton()
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="value_fn must be deterministic, but two evaluations"):
        newton.update(x, newton.init(x), x, value_fn=noisy)
