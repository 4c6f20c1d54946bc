"""The threshold of every rule is its closed form, and rules do diverge just beyond it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import theory, transforms

RATE = 0.05
FORMS = {
    "sgd": (optax.sgd(RATE), 2 / RATE),
    "gradient descent": (transforms.gradient_descent(RATE), 2 / RATE),
    "heavy ball": (transforms.heavy_ball(RATE, 0.9), 3.8 / RATE),
    "Polyak's": (transforms.heavy_ball(RATE, 0.5, learning_rate_in_velocity=True), 3 / RATE),
    "momentum": (optax.sgd(RATE, momentum=0.9), 3.8 / RATE),
    "Nesterov": (transforms.nesterov(RATE, 0.9), 3.8 / 2.8 / RATE),
    "optax's Nesterov": (optax.sgd(RATE, momentum=0.9, nesterov=True), 3.8 / 2.8 / RATE),
    "raw look-ahead": (
        transforms.nesterov(RATE, 0.9, learning_rate_in_velocity=False, look_ahead="raw"),
        2 * 1.9 / (1.8 + RATE),
    ),
    "Adam": (transforms.adam(RATE), 38 / RATE),
    "optax's Adam": (optax.adam(RATE, b1=0.5), 6 / RATE),
    "RMSProp": (transforms.rmsprop(RATE), 2 / RATE),
    "RMSProp with momentum": (transforms.rmsprop(RATE, momentum=0.9), 3.8 / RATE),
    "weight decay": (optax.chain(optax.add_decayed_weights(3.0), optax.sgd(RATE)), 37.0),
    "clipping": (optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(RATE)), 2 / RATE),
    "noise": (transforms.noisy_gradient_descent(RATE, 0.1, jax.random.key(0)), 2 / RATE),
    "injected": (optax.inject_hyperparams(optax.sgd)(learning_rate=RATE), 2 / RATE),
    "Newton": (transforms.newton(0.5), np.inf),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_threshold_is_the_closed_form(name):
    rule, expected = FORMS[name]
    np.testing.assert_allclose(theory.stability_threshold(rule, steps=1001), expected, rtol=1e-7)


def test_second_moments_are_those_of_the_gradients_seen():
    rule = transforms.adam(RATE)
    threshold = theory.stability_threshold(rule, gradient_scale=3.0, steps=400)
    np.testing.assert_allclose(threshold, 3 * 38 / RATE, rtol=1e-6)
    rule = transforms.adagrad(RATE)
    threshold = theory.stability_threshold(rule, steps=399)
    np.testing.assert_allclose(threshold, 20 * 2 / RATE, rtol=1e-6)


def test_a_schedule_is_judged_where_it_stands():
    rule = optax.sgd(optax.linear_schedule(0.5, 0.1, 100))
    assert theory.stability_threshold(rule, steps=1000) == pytest.approx(20, rel=1e-6)
    assert theory.stability_threshold(rule, steps=50) == pytest.approx(2 / 0.3, rel=1e-6)


def test_schedule_free_is_as_stable_as_its_averaging_makes_it():
    """y = (1 - b) z + b x, and with an average x that no longer moves, z sees (1 - b) lambda."""
    rule = optax.contrib.schedule_free_sgd(RATE, b1=0.9)
    threshold = theory.stability_threshold(rule, steps=100_000)
    assert threshold == pytest.approx(2 / (0.1 * RATE), rel=1e-3)


def test_a_chain_without_a_closed_form_diverges_beyond_it_and_not_before():
    rule = optax.chain(optax.trace(0.7), optax.trace(0.5, nesterov=True), optax.sgd(RATE))
    threshold = theory.stability_threshold(rule, steps=1)

    def end(factor):
        def fun(x):
            return factor * threshold * x**2 / 2

        found = transforms.path(fun, rule, jnp.ones(()), 400, every=400)
        return jnp.abs(found.params)

    before, beyond = jax.vmap(end)(jnp.array([0.97, 1.03]))
    assert before < 1
    assert not beyond <= 1  # It may be NaN.


def test_bad_input_is_named():
    with pytest.raises(TypeError, match=r"rule must be an optax.GradientTransformation, got 3"):
        theory.stability_threshold(3)
    with pytest.raises(ValueError, match="steps must be"):
        theory.stability_threshold(optax.sgd(0.1), steps=0)
    with pytest.raises(ValueError, match="gradient_scale must be"):
        theory.stability_threshold(optax.sgd(0.1), gradient_scale=0.0)
