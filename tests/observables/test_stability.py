import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import observables, theory, transforms

KEY = jax.random.key(0)
CURVATURES = jnp.array([0.5, 1.0, 3.0])


def fun(x):
    return jnp.sum(CURVATURES * x**2) / 2


def state_after(rule, x, steps=5):
    return transforms.path(fun, rule, x, steps).state


def test_the_preconditioner_of_adam_is_that_of_its_second_moments(x64):
    b1, b2, rate, eps = 0.9, 0.99, 0.1, 1e-3
    rule = optax.adam(rate, b1=b1, b2=b2, eps=eps)
    x = jnp.array([1.0, -0.7, 0.4])
    state = state_after(rule, x)
    found = observables.preconditioned_sharpness(rule, key=KEY)(x, state, fun)
    count = int(state[0].count) + 1
    nu = b2 * state[0].nu / (1 - b2**count)
    scale = rate * (1 - b1) / (1 - b1**count) / (jnp.sqrt(nu) + eps)
    np.testing.assert_allclose(found.value, jnp.max(scale * CURVATURES), rtol=1e-6)
    assert found.error < 1e-8


@pytest.mark.parametrize(
    "rule",
    [optax.sgd(0.3), optax.sgd(0.2, momentum=0.7), optax.sgd(0.2, momentum=0.7, nesterov=True)],
)
def test_on_a_quadratic_the_step_is_unstable_beyond_the_rules_threshold(rule, x64):
    threshold = theory.stability_threshold(rule)
    x = jnp.ones(3)
    for factor in (0.99, 1.01):

        def scaled(x, factor=factor):
            return fun(x) * factor * threshold / 3.0

        found = observables.step_radius(rule, key=KEY)(x, rule.init(x), scaled)
        assert (found.value > 1) == (factor > 1)
        assert found.error < 1e-8


def test_counts_and_keys_in_the_state_are_held(x64):
    rule = optax.chain(transforms.inject_noise(0.1, KEY), optax.sgd(optax.constant_schedule(0.5)))
    x = jnp.ones(3)
    found = observables.step_radius(rule, key=KEY)(x, rule.init(x), fun)
    np.testing.assert_allclose(found.value, 0.75, rtol=1e-8)  # 1 - 0.5 * 0.5
