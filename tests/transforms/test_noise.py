"""Noise at every step has the distribution it should, and is each key's and each step's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxopt_course import transforms
from jaxopt_course._streams import stream

KEY = jax.random.key(3)


def noise_of(optimizer, like):
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, like), optimizer.init(like))
    return updates


@pytest.mark.parametrize(
    ("distribution", "statistic", "expected"),
    [
        ("sphere", lambda n: np.linalg.norm(n, axis=1), (0.5, 0.5)),
        ("ball", lambda n: np.linalg.norm(n, axis=1), (0.0, 0.5)),
    ],
)
def test_noise_at_every_step_has_the_length_asked_for(distribution, statistic, expected):
    like = {"a": jnp.zeros(2), "b": jnp.zeros((1, 3))}
    keys = jax.random.split(KEY, 500)
    noise = jax.vmap(
        lambda key: noise_of(transforms.inject_noise(0.5, key, distribution=distribution), like)
    )(keys)
    lengths = statistic(np.concatenate([noise["a"], noise["b"].reshape(500, 3)], axis=1))
    assert expected[0] - 1e-6 <= lengths.min()
    assert lengths.max() <= expected[1] + 1e-6
    assert lengths.max() > 0.49


def test_gaussian_noise_has_the_standard_deviation_asked_for():
    noise = noise_of(transforms.inject_noise(0.5, KEY, distribution="gaussian"), jnp.zeros(4000))
    assert scipy.stats.kstest(noise / 0.5, "norm").pvalue > 1e-3


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 12, 100])
def test_its_normal_numbers_are_those_of_jax(size, dtype):
    noise = noise_of(
        transforms.inject_noise(1.0, KEY, distribution="gaussian"), jnp.zeros(size, dtype)
    )
    expected = jax.random.normal(jax.random.fold_in(stream(KEY, "noise"), 0), (size,), dtype)
    np.testing.assert_allclose(noise, expected, rtol=5 * jnp.finfo(dtype).eps)


def test_steps_of_one_run_draw_different_noise():
    optimizer = transforms.inject_noise(1.0, KEY)
    state = optimizer.init(jnp.zeros(3))
    first, state = optimizer.update(jnp.zeros(3), state)
    second, _ = optimizer.update(jnp.zeros(3), state)
    assert not np.allclose(first, second)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.usefixtures("x64")
def test_noise_keeps_the_dtype_of_the_updates(dtype):
    noise = noise_of(transforms.noisy_gradient_descent(0.1, 0.1, KEY), jnp.zeros(3, dtype))
    assert noise.dtype == dtype
    assert np.all(np.asarray(noise, np.float64) != 0)


def test_noisy_descent_scales_gradient_and_noise_by_the_rate():
    quiet = transforms.noisy_gradient_descent(0.1, 0.0, KEY)
    np.testing.assert_allclose(quiet.update(jnp.ones(2), quiet.init(jnp.ones(2)))[0], -0.1)
    loud = transforms.noisy_gradient_descent(0.1, 5.0, KEY)
    updates, _ = loud.update(jnp.zeros(2), loud.init(jnp.zeros(2)))
    np.testing.assert_allclose(np.linalg.norm(updates), 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scale": -1.0}, ValueError, "scale must not be negative, got -1.0"),
        ({"key": 0}, TypeError, "key must be a typed key such as"),
        (
            {"distribution": "cube"},
            ValueError,
            "distribution must be one of 'sphere', 'ball', 'gaussian'; got 'cube'",
        ),
    ],
    ids=["scale", "key", "distribution"],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        transforms.inject_noise(**({"scale": 1.0, "key": KEY} | arguments))
