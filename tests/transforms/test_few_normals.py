"""A few normal numbers of many keys are those of jax.random, however many keys there are."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course.transforms._few_normals import normals

KEYS = jax.random.split(jax.random.key(1), 512)


def of_jax(key, number, size, dtype):
    return jax.random.normal(jax.random.fold_in(key, number), (size,), dtype)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 12, 64, 65])
def test_the_bits_are_those_of_jax(size, dtype):
    drawn = partial(normals, size=size, dtype=dtype, unit=False)
    expected = jax.jit(partial(of_jax, size=size, dtype=dtype))
    for keys in (KEYS[0], KEYS[:20]):
        ours, theirs = drawn, expected
        if keys.ndim:
            ours, theirs = (jax.jit(jax.vmap(f, in_axes=(0, None))) for f in (drawn, expected))
        for number in (0, jnp.int32(2**31 - 1), -1):
            np.testing.assert_array_equal(ours(keys, number), theirs(keys, number))


@pytest.mark.parametrize("impl", ["rbg", "unsafe_rbg"])
def test_other_generators_draw_their_own_numbers(impl):
    key = jax.random.key(3, impl=impl)
    ours = normals(key, 5, size=4, dtype=jnp.float32, unit=False)
    np.testing.assert_allclose(ours, of_jax(key, 5, 4, jnp.float32), rtol=1e-6)


def test_the_layout_of_the_older_generator_is_kept():
    with jax.threefry_partitionable(False):
        ours = normals(KEYS[0], 5, size=5, dtype=jnp.float32, unit=False)
        np.testing.assert_allclose(ours, of_jax(KEYS[0], 5, 5, jnp.float32), rtol=1e-6)


def test_a_direction_has_the_same_bits_among_any_number_of_keys():
    draw = jax.vmap(lambda key: normals(key, 7, size=12, dtype=jnp.float32, unit=True), out_axes=-1)
    every = np.asarray(jax.jit(draw)(KEYS))
    for count in (1, 3, 16, 100):
        np.testing.assert_array_equal(jax.jit(draw)(KEYS[:count]), every[:, :count])
    np.testing.assert_allclose(np.linalg.norm(every, axis=0), 1, rtol=1e-6)
