import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxopt_course import transforms


def warm_up(count):
    return 0.1 * jnp.minimum(1.0, 0.02 * (count + 1))


RATES = pytest.mark.parametrize("rate", [0.05, warm_up], ids=["constant", "schedule"])


@RATES
def test_heavy_ball_follows_optax_bitwise_for_200_steps(trajectory, rate):
    ours = trajectory(transforms.heavy_ball(rate, 0.9))
    chex.assert_trees_all_equal(ours, trajectory(optax.sgd(rate, momentum=0.9)))


@RATES
def test_nesterov_with_the_rate_outside_follows_optax_in_float64(x64, trajectory, rate):
    """Not bitwise: `decay * v` is kept instead of `v`, which is rounded once more."""
    ours = trajectory(transforms.nesterov(rate, 0.9, learning_rate_in_velocity=False))
    theirs = trajectory(optax.sgd(rate, momentum=0.9, nesterov=True))
    chex.assert_trees_all_close(ours, theirs, rtol=0, atol=1e-12)


def test_nesterov_follows_optax_in_float32_to_its_rounding(trajectory):
    ours = trajectory(transforms.nesterov(0.05, 0.9, learning_rate_in_velocity=False))
    theirs = trajectory(optax.sgd(0.05, momentum=0.9, nesterov=True))
    chex.assert_trees_all_close(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_follows_torch_in_float64_under_a_schedule(
    x64, trajectory, torch_trajectory, nesterov
):
    rule = transforms.nesterov if nesterov else transforms.heavy_ball
    ours = trajectory(rule(warm_up, 0.9, learning_rate_in_velocity=False))
    theirs = torch_trajectory(
        lambda leaves: torch.optim.SGD(leaves, lr=0.1, momentum=0.9, nesterov=nesterov),
        rates=lambda index: float(warm_up(index)),
    )
    chex.assert_trees_all_close(ours, theirs, rtol=0, atol=1e-12)


def rippled_gradient(x):
    return np.array([1.0, 10.0]) * x + 0.5 * np.sin(3 * x)


def follow(optimizer, steps):
    """Iterates of `optimizer` on a rippled quadratic from (1, -2), with their states."""
    params = jnp.array([1.0, -2.0])

    def gradient(x):
        return jnp.array([1.0, 10.0]) * x + 0.5 * jnp.sin(3 * x)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[1]


@RATES
def test_heavy_ball_with_the_rate_in_the_velocity_is_polyaks_recursion(x64, rate):
    ours, _ = follow(transforms.heavy_ball(rate, 0.8, learning_rate_in_velocity=True), 500)
    previous = x = np.array([1.0, -2.0])
    for index in range(500):
        eta = rate(index) if callable(rate) else rate
        x, previous = x - eta * rippled_gradient(x) + 0.8 * (x - previous), x
        np.testing.assert_allclose(ours[index], x, rtol=0, atol=1e-12)


@RATES
def test_nesterov_is_the_textbooks_two_lines_for_500_steps(x64, rate):
    optimizer = transforms.nesterov(rate, 0.8)
    looked_ahead, states = follow(optimizer, 500)
    ours = jax.vmap(transforms.nesterov_eval_params)(states, looked_ahead)
    x = y = np.array([1.0, -2.0])
    for index in range(500):
        eta = rate(index) if callable(rate) else rate
        x, previous = y - eta * rippled_gradient(y), x
        y = x + 0.8 * (x - previous)
        np.testing.assert_allclose(ours[index], x, rtol=0, atol=1e-12)
        np.testing.assert_allclose(looked_ahead[index], y, rtol=0, atol=1e-12)


def test_the_decay_of_nesterovs_paper_may_vary_from_step_to_step(x64):
    """Nesterov (1983): decays (a[t] - 1) / a[t+1] with a[t+1] = (1 + sqrt(4 a[t]^2 + 1)) / 2."""
    a, decays = 1.0, []
    for _ in range(200):
        following = (1 + np.sqrt(4 * a**2 + 1)) / 2
        decays.append((a - 1) / following)
        a = following
    schedule = jnp.array(decays)
    optimizer = optax.inject_hyperparams(transforms.nesterov)(0.05, lambda count: schedule[count])
    looked_ahead, states = follow(optimizer, 200)
    ours = jax.vmap(transforms.nesterov_eval_params)(states, looked_ahead)
    x = y = np.array([1.0, -2.0])
    for index, decay in enumerate(decays):
        x, previous = y - 0.05 * rippled_gradient(y), x
        y = x + decay * (x - previous)
        np.testing.assert_allclose(ours[index], x, rtol=0, atol=1e-12)


def test_the_iterate_of_optax_form_needs_the_learning_rate(x64):
    """With the rate outside the velocity, x = y - rate * decay * v."""
    looked_ahead, states = follow(
        transforms.nesterov(0.05, 0.8, learning_rate_in_velocity=False), 50
    )
    exact, exact_states = follow(transforms.nesterov(0.05, 0.8), 50)
    ours = jax.vmap(lambda s, y: transforms.nesterov_eval_params(s, y, learning_rate=0.05))(
        states, looked_ahead
    )
    expected = jax.vmap(transforms.nesterov_eval_params)(exact_states, exact)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-13)


def test_the_forms_differ_once_the_rate_varies():
    """The gap that a user of a warm-up should know of; zero at a constant rate."""
    for rule in (transforms.heavy_ball, transforms.nesterov):
        inside, _ = follow(rule(warm_up, 0.9, learning_rate_in_velocity=True), 20)
        outside, _ = follow(rule(warm_up, 0.9, learning_rate_in_velocity=False), 20)
        assert np.abs(inside - outside).max() > 0.05


@pytest.mark.parametrize("curvature", [1.0, 2.0, 2.2, 10.0])
def test_the_raw_look_ahead_diverges_above_its_curvature_at_any_rate(x64, curvature):
    """On curvature * x^2 / 2 the lecture's printed form is stable iff curvature <= 2.11."""

    def last_iterate(rate):
        optimizer = transforms.nesterov(
            rate, 0.9, learning_rate_in_velocity=False, look_ahead="raw"
        )

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(curvature * params, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = jnp.array(1.0)
        (params, state), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=2_000)
        return jnp.abs(transforms.nesterov_eval_params(state, params))

    ends = jax.vmap(last_iterate)(jnp.array([1e-4, 1e-3, 1e-2]))
    if curvature > 1.9 / 0.9:
        assert not np.any(ends < 1e30)
    else:
        assert np.all(ends <= 1)


def test_the_raw_look_ahead_is_the_lectures_loop(x64):
    optimizer = transforms.nesterov(0.01, 0.9, learning_rate_in_velocity=False, look_ahead="raw")
    looked_ahead, states = follow(optimizer, 20)
    ours = jax.vmap(transforms.nesterov_eval_params)(states, looked_ahead)
    x, v = np.array([1.0, -2.0]), np.zeros(2)
    for index in range(20):
        v = -rippled_gradient(x + 0.9 * v) + 0.9 * v
        x = x + 0.01 * v
        np.testing.assert_allclose(ours[index], x, rtol=1e-12)


def test_the_spectral_radius_of_the_raw_look_ahead_is_as_published(x64):
    """Growth a step at rate 0.01, decay 0.9: .99, 1.0915 and 8.19 for curvature 1, 2.2 and 10."""
    for curvature, radius in [(1.0, 0.99), (2.2, 1.0915), (10.0, 8.19)]:
        optimizer = transforms.nesterov(
            0.01, 0.9, learning_rate_in_velocity=False, look_ahead="raw"
        )

        def step(params, ahead, optimizer=optimizer, curvature=curvature):
            _, rate = optimizer.init(params)
            state = (transforms.NesterovState(ahead), rate)
            updates, state = optimizer.update(curvature * params, state, params)
            return params + updates, state[0].look_ahead

        columns = [step(jnp.array(y), jnp.array(a)) for y, a in [(1.0, 0.0), (0.0, 1.0)]]
        eigenvalues = np.linalg.eigvals(np.array(columns).T)
        assert np.abs(eigenvalues).max() == pytest.approx(radius, rel=2e-3)


def test_heavy_ball_falls_into_the_cycle_of_lessard_recht_and_packard(x64):
    """Lessard, Recht, Packard (2016), section 4.6: mu = 1, L = 25, a 3-cycle far from 0."""

    def gradient(x):
        return jnp.where(x < 1, 25 * x, jnp.where(x < 2, x + 24, 25 * x - 24))

    def end(optimizer):
        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(gradient(params), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        start = jnp.array(3.3)
        return jax.lax.scan(step, (start, optimizer.init(start)), length=600)[1][-3:]

    cycle = np.array([792, -2208, 2592]) / 1225
    ours = np.asarray(end(transforms.heavy_ball(1 / 9, 4 / 9)))
    np.testing.assert_allclose(np.sort(ours), np.sort(cycle), rtol=1e-9)
    np.testing.assert_allclose(end(transforms.nesterov(1 / 25, 2 / 3)), 0, atol=1e-9)


def test_the_velocity_has_the_lectures_sign():
    rule = transforms.scale_by_heavy_ball(0.9)
    updates, state = rule.update(jnp.ones(2), rule.init(jnp.zeros(2)))
    np.testing.assert_array_equal(state.velocity, -1)
    np.testing.assert_array_equal(updates, 1)


def test_the_accumulator_dtype_is_kept():
    for rule in (transforms.scale_by_heavy_ball, transforms.scale_by_nesterov):
        momentum = rule(0.9, accumulator_dtype=jnp.bfloat16)
        state = momentum.init(jnp.zeros(2))
        updates, state = momentum.update(jnp.ones(2), state)
        assert jax.tree.leaves(state)[0].dtype == jnp.bfloat16
        assert updates.dtype == jnp.float32


def test_the_iterate_is_found_inside_wrappers():
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    optimizer = optax.inject_hyperparams(transforms.nesterov)(0.1, 0.9)
    optimizer = optax.masked(
        optax.chain(transforms.clip_by_value(1.0), optimizer), {"a": True, "b": False}
    )
    _, state = optimizer.update(params, optimizer.init(params), params)
    iterate = transforms.nesterov_eval_params(state, params)
    chex.assert_trees_all_close(iterate, {"a": 1 + 0.09 * jnp.ones(2), "b": jnp.ones(3)})


def test_a_state_without_nesterov_is_named():
    with pytest.raises(ValueError, match="state must hold exactly one NesterovState, got 0"):
        transforms.nesterov_eval_params(optax.sgd(0.1).init(0.0), jnp.zeros(1))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\), got 1\.5"):
        transforms.heavy_ball(0.1, 1.5)
    with pytest.raises(ValueError, match="look_ahead must be one of"):
        transforms.nesterov(0.1, look_ahead="far")
    with pytest.raises(ValueError, match="needs learning_rate_in_velocity=False"):
        transforms.nesterov(0.1, look_ahead="raw")
