"""Few numbers of many keys are those that `jax.random` draws, bit for bit before the last step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course.transforms import _draws

KEYS = jax.random.split(jax.random.key(5), 6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_are_those_of_jax_to_the_last_bit(dtype):
    lowest = np.nextafter(np.array(-1, dtype), np.array(0, dtype))

    def ours(key, number):
        return _draws._uniform(key, number, 9, lowest)

    def of_jax(key, number):
        return jax.random.uniform(jax.random.fold_in(key, number), (9,), dtype, lowest, 1)

    numbers = jnp.arange(6, dtype=jnp.int32) * 1_000_003
    found, expected = (jax.jit(jax.vmap(draw))(KEYS, numbers) for draw in (ours, of_jax))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("size", [1, 16, 17, 65])
def test_normal_numbers_are_those_of_jax_whatever_their_number(size):
    for dtype in ("float32", "float64"):
        found = jax.vmap(lambda key, d=dtype: _draws.normal(key, 3, size, d))(KEYS)
        expected = jax.vmap(
            lambda key, d=dtype: jax.random.normal(jax.random.fold_in(key, 3), (size,), d)
        )(KEYS)
        np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("implementation", ["rbg", "unsafe_rbg"])
def test_keys_of_other_implementations_are_left_to_jax(implementation):
    key = jax.random.key(0, impl=implementation)
    found = _draws.normal(key, 3, 5, "float32")
    expected = jax.random.normal(jax.random.fold_in(key, 3), (5,))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_other_form_of_threefry_is_left_to_jax():
    with jax.threefry_partitionable(False):
        found = _draws.normal(KEYS[0], 3, 5, "float32")
        expected = jax.random.normal(jax.random.fold_in(KEYS[0], 3), (5,))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not np.allclose(found, _draws.normal(KEYS[0], 3, 5, "float32"))
