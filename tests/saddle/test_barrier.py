"""Between two minima the pass is the known saddle, or there is said to be none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import problems, saddle
from jaxopt_course.saddle import Kind
from jaxopt_course.saddle._barrier import _spread


def norms(rows):
    return np.linalg.norm(rows, axis=1)


@pytest.mark.parametrize("double", [False, True])
def test_the_pass_of_mueller_and_brown_is_their_higher_saddle(double, request):
    if double:
        request.getfixturevalue("x64")
    dtype = jnp.float64 if double else jnp.float32
    problem = problems.mueller_brown()
    one, other, middle, lower, higher = problem.stationary_points
    start, end = jnp.asarray(one.params, dtype), jnp.asarray(other.params, dtype)
    found = saddle.barrier(problem.fun, start, end)

    # The line is high; the saddle is the published one.
    line = jnp.linspace(start, end, 21)
    np.testing.assert_allclose(found.line_value, jax.vmap(problem.fun)(line), rtol=1e-3)
    assert found.line_height == found.line_value.max() > 12
    assert bool(found.found)
    assert (found.point.name, int(found.point.index)) == ("STRICT_SADDLE", 1)
    tolerance = 1e-10 if double else 1e-5
    np.testing.assert_allclose(found.params, higher.params, rtol=tolerance)
    np.testing.assert_allclose(found.saddle_value, higher.value, rtol=tolerance)

    # The path leads from end to end, evenly, by the third minimum and both saddles.
    np.testing.assert_array_equal(found.path[np.array([0, -1])], jnp.stack([start, end]))
    path = np.asarray(found.path)
    spacings = norms(np.diff(path, axis=0))
    np.testing.assert_allclose(spacings, spacings.mean(), rtol=0.01)
    for point in (middle, lower, higher):
        assert norms(path - point.params).min() < 0.6 * spacings.mean()

    # It has settled: what is left across it is little beside the slopes on the way.
    slopes = norms(jax.vmap(jax.grad(problem.fun))(found.path))
    assert found.normal_gradient.max() < 0.03 * slopes.max()
    assert found.height == found.value.max() == found.value[found.top]
    np.testing.assert_allclose(found.height, higher.value, atol=1)
    np.testing.assert_allclose(
        found.distance, np.linalg.norm(found.params - found.path[found.top]), rtol=1e-3
    )
    assert found.distance < spacings.mean() / 2
    assert {leaf.dtype for leaf in (found.path, found.value, found.distance)} == {jnp.dtype(dtype)}


def test_a_given_learning_rate_leads_to_the_same_pass_of_any_pytree():
    def fun(x):
        # Two valleys bent away from the line: f = 1 at the pass, 2 on the line.
        return (x["a"] ** 2 - 1) ** 2 + jnp.sum((x["b"] - x["a"] ** 2) ** 2) / 2

    start, end = ({"a": jnp.asarray(a), "b": jnp.ones(2)} for a in (-1.0, 1.0))
    options = {"images": 12, "learning_rate": 0.05, "method": "newton"}
    found = saddle.barrier(fun, start, end, **options)
    assert bool(found.found)
    assert found.path["b"].shape == (12, 2)
    np.testing.assert_allclose(found.saddle_value, 1, rtol=1e-6)
    np.testing.assert_allclose(np.concatenate([found.params["b"], found.params["a"][None]]), 0,
                               atol=1e-4)  # fmt: skip
    assert found.outcome.shape == (1,)
    printed = str(found)
    assert printed.startswith(
        "a pass 1 above the higher end\n  ends                0 and 0, 2 minima\n"
    )
    assert "pass                strict saddle, index 1, nullity 0" in printed
    # An even number of images has none on the pass.
    assert 0.9 < found.height < 1 < found.line_height

    # No steps leave the straight line.
    line = saddle.barrier(fun, start, end, steps=0, **options)
    np.testing.assert_allclose(line.path["a"], np.linspace(-1, 1, 12), atol=1e-6)
    np.testing.assert_allclose(line.path["b"], 1, atol=1e-6)
    np.testing.assert_allclose(line.value, line.line_value, atol=1e-6)


def test_where_there_is_no_strict_pass_none_is_found():
    def between(start, end):
        # Its pass is flat along the path, to fourth order.
        return saddle.barrier(
            lambda x: (x[0] ** 4 - 1) ** 2 + x[1] ** 2, start, end, images=7, method="newton"
        )

    start, end, above = jnp.array([[-1.0, 0.0], [1.0, 0.0], [1.0, 0.5]])
    flat = between(start, end)
    assert not bool(flat.found)
    assert int(flat.top) == 3
    assert int(flat.point.kind) not in (Kind.STRICT_SADDLE, Kind.MINIMUM)
    np.testing.assert_allclose(flat.height, 1, rtol=1e-6)

    # Downhill all the way: the top is an end.
    with pytest.warns(UserWarning, match="start is no stationary point: .* a norm of 1, and"):
        down = between(above, end)
    assert not bool(down.found)
    assert int(down.top) == 0
    assert down.point.name == "NOT_STATIONARY"
    np.testing.assert_array_equal(down.params, above)
    assert down.saddle_value == down.height == down.value[0]
    assert float(down.distance) == 0
    assert [Kind(int(kind)) for kind in down.ends.kind] == [Kind.NOT_STATIONARY, Kind.MINIMUM]
    np.testing.assert_allclose(down.ends.gradient_norm, [1, 0], atol=1e-6)


@pytest.mark.filterwarnings("ignore:.* is no stationary point")
def test_a_saddle_farther_away_than_the_path_is_long_is_no_pass_of_it():
    """The search from the top ends at the strict saddle (-pi, 0.927), above both ends."""

    def fun(x):
        return 0.1 * jnp.cos(x[0]) + jnp.cos(x[1]) + 0.8 * x[1]

    start, end = jnp.array([-0.3, 0.0]), jnp.array([0.5, 0.0])
    census = saddle.find(fun, jnp.array([[-0.3 + 0.8 / 3, 0.0]]), index=1)
    far = census.point.kind == Kind.STRICT_SADDLE
    assert bool((far & (census.value > fun(start)) & (census.value > fun(end))).any())
    found = saddle.barrier(fun, start, end, steps=0, images=4)
    assert (int(found.top), bool(found.found)) == (1, False)


def test_images_are_spread_evenly_along_their_curve():
    angles = np.pi * np.linspace(0, 1, 15) ** 2
    spread = _spread(jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], 1), jnp.float32))
    np.testing.assert_allclose(norms(spread), 1, atol=2e-3)
    np.testing.assert_allclose(norms(np.diff(spread, axis=0)), np.pi / 14, rtol=0.03)
    np.testing.assert_allclose(spread[np.array([0, -1])], [[1, 0], [-1, 0]], atol=1e-6)
    # Images that coincide do no harm.
    twice = jnp.array([[0.0], [0.0], [0.0], [3.0]])
    spread = np.asarray(_spread(twice)[:, 0])
    assert spread[0] == 0 < spread[1] < spread[2] < spread[3] == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"end": jnp.ones(3)}, "end must differ from start"),
        ({"end": jnp.ones(2)}, "end must have the shape"),
        ({"end": {"a": jnp.ones(3)}}, "end must have the structure of start"),
        ({"start": jnp.array([jnp.nan, 1, 1])}, "start must be where fun is finite"),
        ({"end": jnp.array([jnp.inf, 1, 1])}, "end must be where fun is finite"),
        ({"images": 2}, "images must be at least 3, got 2"),
        ({"steps": -1}, "steps must not be negative"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"method": "nudged_band"}, "method must be one of"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments, said):
    arguments = {"start": jnp.ones(3), "end": -jnp.ones(3)} | arguments
    with pytest.raises(ValueError, match=said):
        saddle.barrier(lambda x: jnp.sum((x**2 - 1) ** 2), **arguments)


def test_traced_ends_are_refused():
    with pytest.raises(TypeError, match="outside of jit and vmap"):
        jax.jit(lambda end: saddle.barrier(jnp.sum, jnp.ones(3), end))(jnp.zeros(3))
