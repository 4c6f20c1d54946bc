"""Symmetries are found by gradients alone, and what is no symmetry is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import problems, saddle
from jaxopt_course.saddle import Kind


def draws(seed, *shapes):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def rows_of(tangents):
    leaves = jax.tree.leaves(tangents)
    return np.concatenate([np.asarray(leaf).reshape(leaf.shape[0], -1) for leaf in leaves], axis=1)


def check_same_span(tangents, others):
    def projector(rows):
        _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
        basis = basis[sizes > 1e-6]
        return basis.T @ basis

    np.testing.assert_allclose(projector(rows_of(tangents)), projector(rows_of(others)), atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_the_symmetries_of_a_linear_and_of_a_relu_network_are_those_known():
    inputs, targets, first, second, bias = draws(5, (20, 4), (20, 3), (8, 3, 4), (8, 3, 3), (8, 3))

    def linear(weights):
        return jnp.mean((inputs @ weights[0].T @ weights[1].T - targets) ** 2)

    symmetries = saddle.linear_symmetries(linear, (first, second))
    weights = (first[0], second[0])
    assert symmetries.count == 9
    check_same_span(symmetries(weights), saddle.change_of_basis_null_space(weights))

    def relu(params):
        hidden = jax.nn.relu(inputs @ params["in"].T + params["bias"][None])
        return jnp.mean((hidden @ params["out"].T - targets) ** 2)

    params = {"in": first, "bias": bias, "out": second}
    symmetries = saddle.linear_symmetries(relu, params)
    assert symmetries.count == 3
    params = jax.tree.map(lambda leaf: leaf[0], params)
    both = jnp.concatenate([params["in"], params["bias"][:, None]], axis=1)
    known_in, known_out = saddle.rescaling_null_space(both, params["out"])
    check_same_span(
        symmetries(params),
        {"in": known_in[..., :-1], "bias": known_in[..., -1], "out": known_out},
    )


@pytest.mark.usefixtures("x64")
def test_beyond_31_parameters_each_axis_of_each_leaf_is_looked_at():
    inputs, targets, first, second = draws(6, (20, 6), (20, 4), (8, 5, 6), (8, 4, 5))

    def softmax(targets):
        def fun(weights):
            logits = jnp.tanh(inputs @ weights[0].T) @ weights[1].T
            losses = jax.nn.logsumexp(logits, axis=1) - jnp.sum(logits * targets, axis=1)
            return jnp.mean(losses)

        return saddle.linear_symmetries(fun, (first, second))

    # The same number added to all logits of an example does not change a softmax, if the weights
    # of its targets have sum one.
    assert softmax(targets / jnp.sum(targets, axis=1, keepdims=True)).count == 5
    assert softmax(targets / 9).count == 0


def terms(x):
    """Return what the functions below are sums of."""
    squares, higher = jnp.square(x), [x[1] ** 4, x[1] ** 3, x[0] ** 3 - 3 * x[0] * x[1] ** 2]
    bent = (x[0] - x[1] ** 2) ** 2
    return jnp.stack([*squares, *higher, bent, (squares[1] + squares[2]) ** 2, (x[0] + x[1]) ** 2])


# Coefficients of x^2, y^2, z^2; y^4, y^3, the monkey saddle, (x - y^2)^2, (y^2 + z^2)^2, (x + y)^2.
FLAT = {
    "quartic": [1, 0, 1, 1, 0, 0, 0, 0, 0],
    "way down": [1, 0, 1, -1, 0, 0, 0, 0, 0],
    "cubic": [1, 0, 1, 0, 1, 0, 0, 0, 0],
    "monkey": [0, 0, 1, 0, 0, 1, 0, 0, 0],
    "valley that bends": [0, 0, 1, 1, 0, 0, 1, 0, 0],
    "way down that bends": [0, 0, 1, -1, 0, 0, 1, 0, 0],
    "round, no minimum": [1, 0, 0, 0, 0, 0, 0, -1, 0],
    "hardly": [0, 0, 1, -1e-9, 0, 0, 0, 0, 1],
}


@pytest.mark.usefixtures("x64")
def test_a_point_that_is_flat_by_chance_stays_degenerate():
    starts = jnp.concatenate([jnp.zeros((1, 3)), draws(7, (5, 3))[0]])
    for name, coefficients in FLAT.items():
        weights = jnp.array(coefficients, float)
        census = saddle.find(lambda x, weights=weights: weights @ terms(x), starts)
        kinds = np.asarray(census.point.kind)
        assert kinds[census.runs.point[0]] == Kind.DEGENERATE, name
        assert not np.any(kinds == Kind.MINIMUM), name


@pytest.mark.usefixtures("x64")
def test_a_circle_of_minima_is_one_of_minima_also_within_a_traced_function():
    def kinds(depth):
        census = saddle.find(
            lambda x: depth * (x @ x - 1) ** 2, jnp.array([[0.5, 0.2], [0.0, 0.0]])
        )
        return census.point.kind, census.value

    kind, value = kinds(1.0)
    inside, _ = jax.jit(kinds)(1.0)
    assert set(np.asarray(kind)) == {Kind.MINIMUM, Kind.MAXIMUM}
    np.testing.assert_allclose(value[kind == Kind.MINIMUM], 0, atol=1e-12)
    np.testing.assert_array_equal(inside[: kind.size], kind)


def test_in_single_precision_minima_of_a_factorization_are_minima():
    problem = problems.symmetric_factorization([3.0, 2.0, 1.0], rank=2)
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 6))
    census = saddle.find(problem.fun, starts)
    low = np.asarray(census.value) < 1e-5 + problem.minimum_value
    assert low.any()
    assert np.all(np.asarray(census.point.kind)[low] == Kind.MINIMUM)


@pytest.mark.usefixtures("x64")
def test_where_an_objective_is_not_invariant_no_tangent_is_offered():
    # Round but for a bump that no random point meets.
    def fun(x):
        bump = jnp.exp(-1e4 * jnp.sum((x - jnp.array([3.0, 4.0])) ** 2))
        return (x @ x - 25) ** 2 / 100 - bump

    symmetries = saddle.linear_symmetries(fun, jnp.ones((2, 2)) / 4)
    assert symmetries.count == 1
    at = jnp.array([3.0, 4.0])
    np.testing.assert_array_equal(symmetries(at), 0)
    assert not saddle.classify(fun, at, null_space=symmetries).null_space_used


def test_fixed_points_have_no_tangents():
    symmetries = saddle.linear_symmetries(lambda x: jnp.sum(x**2), jnp.ones((1, 3)))
    assert symmetries.count == 2
    np.testing.assert_array_equal(symmetries(jnp.zeros(3)), 0)
    np.testing.assert_array_equal(symmetries(jnp.full(3, 1e-3)), 0)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="points must have the runs as its leading axis"):
        saddle.linear_symmetries(jnp.sum, jnp.ones(()))
    with pytest.raises(ValueError, match="points must hold at least one parameter"):
        saddle.linear_symmetries(jnp.sum, jnp.ones((2, 0)))
    with pytest.raises(TypeError, match="key"):
        saddle.linear_symmetries(jnp.sum, jnp.ones((2, 2)), key=3)
