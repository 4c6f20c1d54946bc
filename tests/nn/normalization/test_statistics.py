from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_course.nn._normalization._statistics import moments, standardize


def truth(x, mask=None):
    """Mean and biased variance over the first axis, in float64."""
    x = np.ma.array(np.asarray(x, np.float64), mask=None if mask is None else ~np.asarray(mask))
    return np.asarray(x.mean(0, keepdims=True)), np.asarray(x.var(0, keepdims=True))


@settings(max_examples=40, deadline=None)
@given(
    location=st.floats(-1e6, 1e6),
    spread=st.floats(1e-2, 1e3),
    seed=st.integers(0, 2**16),
)
def test_float32_moments_are_right_to_rounding_whatever_the_mean(location, spread, seed):
    z = np.random.default_rng(seed).normal(size=(512, 2))
    x = np.asarray(location + spread * z, np.float32)
    found = moments(x, 0)
    mean, variance = truth(x)
    rounding = np.finfo(np.float32).eps
    np.testing.assert_allclose(found.mean, mean, rtol=2 * rounding, atol=1e-5 * spread)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-5)
    # The two parts of the mean together are better than one float32 can be.
    in_parts = np.asarray(found.centre, np.float64) + np.asarray(found.offset, np.float64)
    np.testing.assert_allclose(in_parts, mean, rtol=1e-9, atol=1e-6 * spread)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_neither_overflows_nor_loses_digits(dtype):
    x = (3e4 + 1e4 * jax.random.normal(jax.random.key(0), (2048, 2))).clip(-6e4, 6e4).astype(dtype)
    found = moments(x, 0)
    mean, variance = truth(x)
    assert found.mean.dtype == found.variance.dtype == jnp.float32
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-5)


def test_float64_stays_float64(x64):
    x = 1e8 + jax.random.normal(jax.random.key(0), (1000, 2))
    found = moments(x, 0)
    assert found.variance.dtype == jnp.float64
    np.testing.assert_allclose(found.variance, truth(x)[1], rtol=1e-12)


def test_integers_become_float32():
    found = moments(jnp.array([1, 2, 6]), 0)
    assert found.mean.dtype == jnp.float32
    np.testing.assert_allclose([found.mean[0], found.variance[0]], [3, 14 / 3], rtol=1e-6)


def test_equal_numbers_have_no_variance_to_speak_of():
    for number in (0.1, 1e5 / 3, -7.3e-4):
        found = moments(jnp.full((1001,), number), 0)
        assert 0 <= found.variance[0] <= (1e-7 * number) ** 2
        assert np.max(np.abs(standardize(jnp.full((1001,), number), found, 0.0))) == 0


def test_masked_elements_do_not_count_whatever_they_hold():
    x = jax.random.normal(jax.random.key(0), (40, 3))
    mask = jax.random.bernoulli(jax.random.key(1), 0.5, (40, 3))
    spoilt = jnp.where(mask, x, jnp.nan)
    found = moments(spoilt, 0, mask=mask)
    mean, variance = truth(x, mask)
    np.testing.assert_array_equal(found.count, np.sum(mask, 0, keepdims=True))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6)

    gradient = jax.grad(lambda x: moments(x, 0, mask=mask).variance.sum())(spoilt)
    assert np.all(np.isfinite(gradient))
    assert not np.any(np.asarray(gradient)[~np.asarray(mask)])


def test_a_mask_broadcasts_to_the_input_and_may_be_of_numbers():
    x = jax.random.normal(jax.random.key(0), (10, 3))
    rows = jnp.arange(10) < 4
    np.testing.assert_allclose(
        moments(x, 0, mask=rows[:, None].astype(int)).mean, moments(x[:4], 0).mean, rtol=1e-6
    )


def test_nothing_has_mean_zero_and_variance_one():
    found = moments(jnp.full((4, 2), jnp.nan), 0, mask=jnp.zeros((4, 2), bool))
    np.testing.assert_array_equal(found.mean, jnp.zeros((1, 2)))
    np.testing.assert_array_equal(found.variance, jnp.ones((1, 2)))
    np.testing.assert_array_equal(found.count, jnp.zeros((1, 2)))


def test_derivatives_are_those_of_the_definition(x64):
    x = 3 + jax.random.normal(jax.random.key(0), (7, 2))

    def ours(x):
        found = moments(x, 0)
        return jnp.sum(found.mean**3 * jnp.sqrt(found.variance))

    def definition(x):
        return jnp.sum(x.mean(0) ** 3 * jnp.sqrt(x.var(0)))

    for derivative in (jax.grad, jax.hessian):
        np.testing.assert_allclose(derivative(ours)(x), derivative(definition)(x), atol=1e-12)


def test_the_second_derivative_is_right_where_the_variance_is_zero(x64):
    x = jnp.full((4,), 2.0)
    hessian = jax.hessian(lambda x: moments(x, 0).variance[0])(x)
    # d^2 var / dx_i dx_j = 2/n (delta_ij - 1/n).
    np.testing.assert_allclose(hessian, 2 / 4 * (np.eye(4) - 1 / 4), atol=1e-15)


def test_a_constant_feature_without_epsilon_is_zero_and_so_are_its_derivatives():
    def squares(x):
        return jnp.sum(standardize(x, moments(x, 0), 0.0) ** 2)

    x = jnp.full((5, 1), 3.0)
    assert squares(x) == 0
    np.testing.assert_array_equal(jax.grad(squares)(x), jnp.zeros_like(x))


def test_members_of_an_axis_count_by_what_they_hold():
    key_x, key_mask = jax.random.split(jax.random.key(0))
    x = 1e4 + jax.random.normal(key_x, (8, 16, 3))
    mask = jax.random.bernoulli(key_mask, jnp.linspace(0, 1, 8)[:, None, None], (8, 16, 3))
    assert not np.any(mask[0])
    together = jax.vmap(lambda x, mask: moments(x, 0, mask=mask, axis_name="d"), axis_name="d")
    at_once = moments(x.reshape(-1, 3), 0, mask=mask.reshape(-1, 3))
    for of_member in jax.tree.map(list, together(x, mask)).variance:
        np.testing.assert_allclose(of_member, at_once.variance, rtol=1e-6)
    np.testing.assert_allclose(together(x, mask).mean[3], at_once.mean, rtol=1e-7)


def test_gradients_through_an_axis_are_those_of_the_whole(x64):
    x = 5 + jax.random.normal(jax.random.key(0), (4, 6))

    def deviation(x, axis_name=None):
        return jnp.sqrt(moments(x, 0, axis_name=axis_name).variance[0])

    across = jax.vmap(partial(deviation, axis_name="d"), axis_name="d")
    np.testing.assert_allclose(
        jax.grad(lambda x: across(x)[0])(x).ravel(), jax.grad(deviation)(x.ravel()), rtol=1e-12
    )


def test_groups_of_devices_share_their_sums_only():
    x = jax.random.normal(jax.random.key(0), (8, 5))
    groups = [[0, 1, 2, 3], [4, 5, 6, 7]]
    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("d")

    @partial(jax.shard_map, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    def variances(x):
        found = moments(x, (0, 1), axis_name="d", axis_index_groups=groups)
        return found.variance[0]

    expected = [np.var(np.asarray(x[:4])), np.var(np.asarray(x[4:]))]
    np.testing.assert_allclose(variances(x), np.repeat(expected, 4), rtol=1e-6)


def test_complex_input_is_refused():
    with pytest.raises(TypeError, match="x must be real, got complex64"):
        moments(jnp.ones(3, jnp.complex64), 0)
