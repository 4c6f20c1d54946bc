import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxopt_course import transforms


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eps_in_sqrt": False, "initial_scale": 1.0},
        {"momentum": 0.9},
    ],
    ids=str,
)
def test_rmsprop_follows_optax_bitwise_for_200_steps(trajectory, options):
    ours = trajectory(transforms.rmsprop(0.01, **options))
    chex.assert_trees_all_equal(ours, trajectory(optax.rmsprop(0.01, **options)))


@pytest.mark.parametrize(
    "options",
    [
        {"centered": True, "eps": 1e-4},
        {"centered": True, "eps": 1e-4, "eps_in_sqrt": False, "momentum": 0.5},
        {"centered": True, "eps": 1e-4, "bias_correction": True, "initial_scale": 0.5},
        {"bias_correction": True},
        {"momentum": 0.9, "nesterov": True},
    ],
    ids=str,
)
def test_rmsprop_follows_optax_where_the_arithmetic_differs(x64, trajectory, options):
    ours = trajectory(transforms.rmsprop(0.0002, **options))
    theirs = trajectory(optax.rmsprop(0.0002, **options))
    chex.assert_trees_all_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rmsprop_follows_torch_in_float64(x64, trajectory, torch_trajectory, centered, momentum):
    ours = trajectory(
        transforms.rmsprop(
            0.001,
            decay=0.99,
            eps=1e-4,
            eps_in_sqrt=False,
            centered=centered,
            momentum=momentum,
            learning_rate_in_velocity=False,
        )
    )
    theirs = torch_trajectory(
        lambda leaves: torch.optim.RMSprop(
            leaves, lr=0.001, alpha=0.99, eps=1e-4, centered=centered, momentum=momentum
        )
    )
    chex.assert_trees_all_close(ours, theirs, rtol=0, atol=1e-12)


def follow_constant_gradient(rule, gradient, steps):
    def step(state, _):
        updates, state = rule.update(gradient, state)
        return state, updates

    return jax.lax.scan(step, rule.init(gradient), length=steps)[1]


def test_centred_rmsprop_survives_a_constant_gradient_that_makes_optax_nan():
    gradient = jnp.linspace(0.1, 10.0, 200)
    for bias_correction in (False, True):
        ours = follow_constant_gradient(
            transforms.scale_by_rmsprop(centered=True, bias_correction=bias_correction),
            gradient,
            400,
        )
        assert np.all(np.isfinite(ours))
    # Step by step: inside a scan XLA rearranges optax's difference of squares.
    theirs = optax.scale_by_stddev()
    update, state = jax.jit(theirs.update), theirs.init(gradient)
    for _ in range(200):
        updates, state = update(gradient, state)
    assert np.any(np.isnan(updates))


def first_step(optimizer, gradient):
    return optimizer.update(gradient, optimizer.init(gradient))[0]


def test_the_lectures_first_step_divides_by_the_root_of_epsilon():
    gradient = jnp.array(0.3)
    lecture = transforms.scale_by_rmsprop(accumulate="previous")
    assert first_step(lecture, gradient) == pytest.approx(3000, rel=1e-5)
    assert first_step(transforms.scale_by_rmsprop(), gradient) == pytest.approx(3.16, rel=1e-3)


@pytest.mark.parametrize("exponent", [-0.5, -1.0])
def test_the_lectures_forms_are_their_loops(x64, exponent):
    optimizer = transforms.rmsprop(0.1, eps=1e-3, accumulate="previous", exponent=exponent)
    x = params = jnp.array([1.0, -2.0])
    state, average = optimizer.init(params), np.zeros(2)
    for _ in range(20):
        gradient = np.array([1.0, 10.0]) * x
        x = x - 0.1 * gradient * (average + 1e-3) ** exponent
        average = 0.9 * average + 0.1 * gradient**2
        updates, state = optimizer.update(jnp.array([1.0, 10.0]) * params, state)
        params = params + updates
        np.testing.assert_allclose(params, x, rtol=1e-11)


def test_steps_of_exponent_minus_one_grow_as_gradients_shrink():
    """In the steady state a step is g / g^2: ten times longer for a ten times smaller gradient."""
    rule = transforms.scale_by_rmsprop(exponent=-1.0)
    steps = follow_constant_gradient(rule, jnp.array([1.0, 0.1]), 300)[-1]
    np.testing.assert_allclose(steps, [1.0, 10.0], rtol=1e-4)
    steps = follow_constant_gradient(transforms.scale_by_rmsprop(), jnp.array([1.0, 0.1]), 300)[-1]
    np.testing.assert_allclose(steps, [1.0, 1.0], rtol=1e-4)


def test_squares_are_averaged_in_float32_where_bfloat16_stalls():
    """With decay 0.999 the average of 1s is 0.993 after 5,000 steps; bfloat16 stops at 0.5."""
    gradient = jnp.ones(1, jnp.bfloat16)

    def final_average(rule):
        state = rule.init(gradient)
        step = lambda state, _: (rule.update(gradient, state)[1], None)  # noqa: E731
        return jax.lax.scan(step, state, length=5_000)[0].nu

    ours = final_average(transforms.scale_by_rmsprop(0.999))
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, 1 - 0.999**5000, rtol=1e-3)
    assert final_average(transforms.scale_by_rmsprop(0.999, nu_dtype=jnp.bfloat16)) < 0.6
    assert final_average(optax.scale_by_rms(0.999)) < 0.6


def test_a_zero_gradient_in_float16_is_a_zero_step_where_optax_gives_nan():
    gradient = jnp.zeros(2, jnp.float16)
    for rule, value in [(transforms.rmsprop(0.1), 0), (optax.rmsprop(0.1), np.nan)]:
        np.testing.assert_array_equal(first_step(rule, gradient), value)


def test_steps_are_counted_only_where_a_bias_is_corrected():
    for centered in (False, True):
        state = transforms.scale_by_rmsprop(centered=centered).init(jnp.ones(2))
        assert state.count is None
        rule = transforms.scale_by_rmsprop(centered=centered, bias_correction=True)
        _, state = rule.update(jnp.ones(2), rule.init(jnp.ones(2)))
        assert state.count == 1


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\), got 1"):
        transforms.rmsprop(0.1, decay=1)
    with pytest.raises(ValueError, match="decay must be positive, got 0"):
        transforms.rmsprop(0.1, decay=0, centered=True)
    with pytest.raises(ValueError, match="bias_correction must be False"):
        transforms.rmsprop(0.1, bias_correction=True, accumulate="previous")
    with pytest.raises(ValueError, match="eps must not be negative"):
        transforms.rmsprop(0.1, eps=-1e-8)
