"""Lines and planes of formulas, what is compiled for them, and where they are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxopt_course import landscape, nn
from jaxopt_course.landscape import _slices
from tests.compilations import compilations


def test_a_line_between_points_has_both_and_is_the_formula():
    start, end = {"a": jnp.array([0.1, 0.7]), "b": jnp.array(0.3)}, {
        "a": jnp.array([1.3, -0.1]), "b": jnp.array(3e7),
    }  # fmt: skip

    def fun(x):
        return jnp.sum(x["a"] ** 2) + x["b"]

    seen = landscape.line(fun, start, end)
    assert seen.steps.shape == seen.value.shape == (51,)
    # Exactly, although a + 1 (b - a) is not b in floating point.
    assert seen.value[0] == fun(start)
    assert seen.value[-1] == fun(end)
    half = jax.tree.map(lambda a, b: (a + b) / 2, start, end)
    np.testing.assert_allclose(seen.value[25], fun(half), rtol=1e-6)


def test_a_line_along_a_direction_counts_its_steps():
    seen = landscape.line(
        lambda x: x[0] ** 3, jnp.zeros(1), direction=jnp.full(1, 2.0), steps=np.array([-1, 0, 2])
    )
    assert seen.value.tolist() == [-8, 0, 64]


def test_a_plane_of_a_quadratic_is_its_formula():
    rows, columns = jnp.linspace(-1, 1, 3), jnp.linspace(-2, 2, 5)

    def fun(x):
        return x[0] ** 2 - 3 * x[1] + x[2]

    for directions in (jnp.eye(3)[:2], tuple(jnp.eye(3)[:2])):
        seen = landscape.plane(
            fun, jnp.array([0.0, 1.0, 2.0]), directions, rows=rows, columns=columns
        )
        np.testing.assert_allclose(
            seen.value, np.add.outer(rows**2, -1 - 3 * columns), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("batch_size", [1, 3, 7, 35, 99])
def test_values_do_not_depend_on_how_many_are_evaluated_at_once(batch_size):
    seen = landscape.plane(
        lambda x: x[0] + 10 * x[1], jnp.zeros(2), jnp.eye(2), rows=jnp.arange(5.0),
        columns=jnp.arange(7.0), batch_size=batch_size,
    )  # fmt: skip
    np.testing.assert_array_equal(seen.value, np.add.outer(np.arange(5.0), 10 * np.arange(7.0)))


def test_memory_bounds_how_many_points_are_evaluated_at_once():
    large = jnp.ones((1000, 1000))
    traced = _slices.trace_objective("fun", lambda x: jnp.sum(large * x), jnp.float32(1))
    assert _slices._at_once(traced, 1000, None) <= 2**28 // 4_000_000 + 1
    few = _slices.trace_objective("fun", lambda x: x**2, jnp.float32(1))
    assert _slices._at_once(few, 1000, None) == 63  # 16 batches of 63, not 15 of 64 and a rest
    assert _slices._at_once(few, 10, None) == 10


def test_a_network_with_other_data_is_compiled_once():
    model = nn.MLP((3, 4, 2), rngs=nnx.Rngs(0))
    apply, params, state = nn.functional_view(model)

    def loss_of(inputs):
        return lambda params: jnp.mean(apply(params, state, inputs)[0] ** 2)

    directions = [landscape.random_direction(jax.random.key(i), params) for i in (0, 1)]
    first, second = (jax.random.normal(jax.random.key(i), (5, 3)) for i in (2, 3))
    seen = landscape.plane(loss_of(first), params, directions)
    with compilations() as compiled:
        other = landscape.plane(loss_of(second), params, directions)
    assert not any("_on" in name for name in compiled), compiled
    assert not np.allclose(seen.value, other.value)


def test_slices_can_be_compiled_mapped_and_differentiated():
    def fun(x):
        return jnp.sum(x**2)

    @jax.jit
    def height(scale):
        return landscape.line(lambda x: scale * fun(x), jnp.zeros(2), jnp.ones(2)).value.max()

    np.testing.assert_allclose(height(3.0), 6, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(height)(3.0), 2, rtol=1e-6)
    ends = jnp.eye(2)
    lines = jax.vmap(lambda end: landscape.line(fun, jnp.zeros(2), end))(ends)
    data = lines.to_xarray()
    assert data.value.dims == ("run", "step")
    assert data.step.shape == (51,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_parameters_keep_their_dtype(dtype, x64):
    seen_dtypes = []

    def fun(x):
        seen_dtypes.append(x.dtype)
        return jnp.sum(x**2)

    start = jnp.zeros(2, dtype)
    seen = landscape.line(fun, start, jnp.ones(2, dtype))
    landscape.plane(fun, start, jnp.eye(2, dtype=dtype))
    assert set(map(str, seen_dtypes)) == {dtype}
    assert seen.value.dtype == dtype
    assert seen.steps.dtype == ("float64" if dtype == "float64" else "float32")


def test_what_is_no_slice_is_refused():
    x = jnp.zeros(2)

    def fun(x):
        return jnp.sum(x)

    with pytest.raises(TypeError, match="either end or direction must be given, got neither"):
        landscape.line(fun, x)
    with pytest.raises(TypeError, match="either end or direction must be given, got both"):
        landscape.line(fun, x, x, direction=x)
    with pytest.raises(TypeError, match="directions must be 2 pytrees like center"):
        landscape.plane(fun, x, jnp.ones((3, 2)))
    with pytest.raises(TypeError, match=r"got EigenDirections, whose \.directions they are"):
        landscape.plane(fun, x, landscape.EigenDirections((x, x), x, x))
    with pytest.raises(ValueError, match="directions must have the shape"):
        landscape.plane(fun, x, (x, jnp.ones(3)))
    with pytest.raises(ValueError, match="steps must hold at least one step"):
        landscape.line(fun, x, x, steps=jnp.ones(0))
