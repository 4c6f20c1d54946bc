"""Weight decay against the rate that grows exponentially, on a function of directions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import theory, transforms

ETA, WEIGHT_DECAY, STEPS = 0.05, 0.02, 200


def directional(w):
    """A function that a factor on the weights does not change."""
    curvatures = jnp.array([1.0, 2.0, 5.0, 0.5])
    return jnp.dot(curvatures, w**2) / jnp.dot(w, w) + jnp.sin(3 * w[0] / jnp.linalg.norm(w))


def weights(optimizer, initial_momentum=None, **names):
    """Weights after every step."""
    start = jnp.array([1.0, -0.5, 0.3, 2.0])
    state = optimizer.init(start)
    if initial_momentum is not None:
        ((name, sign),) = names.items()
        state = optax.tree.set(state, **{name: sign * initial_momentum * start})

    def step(carry, _):
        w, state = carry
        updates, state = optimizer.update(jax.grad(directional)(w), state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    return jax.jit(lambda: jax.lax.scan(step, (start, state), length=STEPS)[1])()


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_it_goes_through_the_functions_of_weight_decay(x64, decay):
    rate = theory.exponential_rate(learning_rate=ETA, decay=decay, weight_decay=WEIGHT_DECAY)
    sgd = optax.sgd(ETA, momentum=decay)
    decayed = weights(optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), sgd))
    growth = rate.contraction ** -np.arange(1.0, STEPS + 1)[:, None]
    growing = weights(optax.sgd(rate.schedule, momentum=decay), rate.initial_momentum, trace=1)
    np.testing.assert_allclose(growing, growth * decayed, rtol=1e-9)
    # The library's heavy ball has the other sign of momentum.
    ours = weights(transforms.heavy_ball(rate.schedule, decay), rate.initial_momentum, velocity=-1)
    np.testing.assert_allclose(ours, growing, rtol=1e-9)
    if decay:
        from_zero = weights(optax.sgd(rate.schedule, momentum=decay))
        assert np.abs(from_zero / growing - 1).max() > 1e-3


def test_alpha_is_a_root_of_its_equation_to_the_last_digits():
    alpha = theory.exponential_rate(learning_rate=0.1, decay=0.9, weight_decay=5e-3).contraction
    assert alpha + 0.9 / alpha == pytest.approx(1 + 0.9 - 5e-4, rel=1e-14)
    # Without momentum it is the factor that weight decay leaves of a weight.
    rate = theory.exponential_rate(learning_rate=0.1, decay=0.0, weight_decay=5e-3)
    assert rate.contraction == pytest.approx(1 - 5e-4, rel=1e-14)
    assert rate.initial_momentum == pytest.approx(-5e-3 / (1 - 5e-4), rel=1e-14)
    # Little decay is not lost in the rounding of 1 - alpha.
    small = theory.exponential_rate(learning_rate=1e-4, decay=0.9, weight_decay=1e-9)
    assert small.initial_momentum == pytest.approx(-1e-8, rel=1e-10)


def test_without_weight_decay_the_rate_is_constant():
    rate = theory.exponential_rate(learning_rate=0.25, decay=0.9, weight_decay=0.0)
    assert rate == (0.25, 1.0, 0.0, 1.0)
    assert float(rate.schedule(1000)) == 0.25


def test_a_float32_schedule_keeps_its_digits_over_many_steps():
    rate = theory.exponential_rate(learning_rate=0.1, decay=0.9, weight_decay=5e-5)
    steps = 50_000
    assert rate.schedule(0).dtype == jnp.float32
    found = jax.jit(rate.schedule)(jnp.int32(steps))
    np.testing.assert_allclose(found, rate.learning_rate * rate.growth**steps, rtol=1e-5)


def test_traced_arguments_give_what_numbers_give():
    def compute(learning_rate, weight_decay):
        rate = theory.exponential_rate(learning_rate=learning_rate, weight_decay=weight_decay)
        return (*rate, rate.schedule(7))

    found = jax.jit(jax.vmap(compute))(jnp.array([0.1, 0.2]), jnp.array([5e-3, 1e-3]))
    expected = np.transpose([compute(0.1, 5e-3), compute(0.2, 1e-3)])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"decay": 1.0}, r"decay must lie in \[0, 1\)"),
        ({"weight_decay": 0.1}, r"learning_rate \* weight_decay must not exceed \(1 - sqrt"),
        ({"decay": 0.0, "weight_decay": 10.0}, r"learning_rate \* weight_decay must be below 1"),
    ],
)
def test_bad_arguments_are_named(changes, text):
    arguments = {"learning_rate": 0.1, "weight_decay": 5e-3, "decay": 0.9} | changes
    with pytest.raises(ValueError, match=text):
        theory.exponential_rate(**arguments)
