import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import transforms

UPDATES = {"a": np.array([3.0, -4.0], np.float32), "b": [np.full((2, 2), 6.0, np.float32)]}


def clip(rule, updates):
    return rule.update(updates, rule.init(updates))


@pytest.mark.parametrize("bound", [0.5, 5.0, 100.0])
def test_clipping_is_as_in_optax(bound):
    for ours, theirs in [
        (transforms.clip_by_value, optax.clip),
        (transforms.clip_by_global_norm, optax.clip_by_global_norm),
    ]:
        chex.assert_trees_all_equal(clip(ours(bound), UPDATES)[0], clip(theirs(bound), UPDATES)[0])


def test_every_leaf_is_shortened_by_itself():
    updates, state = clip(transforms.clip_by_leaf_norm(6.0), UPDATES)
    chex.assert_trees_all_close(updates, {"a": UPDATES["a"], "b": [jnp.full((2, 2), 3.0)]})
    chex.assert_trees_all_close(state.norm, {"a": 5.0, "b": [12.0]})
    assert state.clipped_count == 1


@pytest.mark.parametrize(
    ("rule", "norm"),
    [(transforms.clip_by_value(5.0), 6.0), (transforms.clip_by_global_norm(12.5), 13.0)],
)
def test_the_state_tells_the_norm_before_clipping_and_counts_clipped_steps(rule, norm):
    state = rule.init(UPDATES)
    for factor, count in [(1.0, 1), (0.5, 1), (0.0, 1), (2.0, 2)]:
        scaled = jax.tree.map(lambda leaf, factor=factor: factor * leaf, UPDATES)
        _, state = rule.update(scaled, state)
        assert state.norm == factor * norm
        assert state.clipped_count == count


@pytest.mark.parametrize("magnitude", [1e-30, 1e-19, 1e19, 1e20, 1e37])
@pytest.mark.parametrize("rule", [transforms.clip_by_global_norm, transforms.clip_by_leaf_norm])
def test_norms_whose_squares_leave_float32_are_exact(rule, magnitude):
    gradient = jnp.array([3.0, -4.0]) * magnitude
    updates, state = clip(rule(magnitude), gradient)
    np.testing.assert_allclose(state.norm, 5 * magnitude, rtol=1e-6)
    np.testing.assert_allclose(updates, np.array([0.6, -0.8]) * magnitude, rtol=1e-6)
    if magnitude > 1e19:
        np.testing.assert_array_equal(clip(optax.clip_by_global_norm(magnitude), gradient)[0], 0)


def test_float16_entries_above_256_are_clipped_where_optax_gives_zero():
    gradient = jnp.full(4, 300, jnp.float16)
    updates, state = clip(transforms.clip_by_global_norm(1.0), gradient)
    assert updates.dtype == jnp.float16
    assert state.norm == 600
    np.testing.assert_array_equal(updates, 0.5)
    np.testing.assert_array_equal(clip(optax.clip_by_global_norm(1.0), gradient)[0], 0)


def test_a_nan_spoils_everything_visibly():
    gradient = {"a": jnp.array([jnp.nan]), "b": jnp.ones(2)}
    updates, state = clip(transforms.clip_by_global_norm(1.0), gradient)
    assert np.all(np.isnan(updates["b"]))
    assert np.isnan(state.norm)
    _, state = clip(transforms.clip_by_global_norm(1.0), jnp.array([jnp.inf, 1.0]))
    assert state.norm == np.inf


def test_the_norm_can_be_logged_from_a_scan_where_optax_monitor_cannot():
    gradients = jnp.array([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])

    def norms(rule, read):
        def step(state, gradient):
            _, state = rule.update(gradient, state)
            return state, read(state)

        return jax.lax.scan(step, rule.init(gradients[0]), gradients)[1]

    ours = norms(transforms.clip_by_global_norm(1.0), lambda state: state.norm)
    np.testing.assert_allclose(ours, [5.0, 0.5, 10.0], rtol=1e-6)
    monitor = optax.monitor({"norm": optax.tree.norm})
    with pytest.raises(TypeError, match="scan body function carry"):
        norms(monitor, lambda state: optax.tree.get(state, "norm"))


def test_each_run_of_a_batch_is_clipped_by_its_own_norm():
    gradients = jnp.array([[3.0, 4.0], [0.3, 0.4], [3e30, 4e30], [0.0, 0.0]])
    rule = transforms.clip_by_global_norm(1.0)
    updates, state = jax.vmap(lambda g: clip(rule, g))(gradients)
    np.testing.assert_allclose(updates, [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    np.testing.assert_array_equal(state.clipped_count, [1, 0, 1, 0])


def test_complex_leaves_are_clipped_by_their_modulus():
    gradient = jnp.array([3.0 + 4.0j])
    updates, state = clip(transforms.clip_by_global_norm(1.0), gradient)
    np.testing.assert_allclose(updates, [0.6 + 0.8j], rtol=1e-6)
    assert state.norm.dtype == jnp.float32
    with pytest.raises(TypeError, match="updates must have a real floating dtype, got complex64"):
        clip(transforms.clip_by_value(1.0), gradient)


def test_gradients_through_clipping_are_finite_at_zero():
    for rule in (transforms.clip_by_global_norm(1.0), transforms.clip_by_leaf_norm(1.0)):
        slope = jax.jacobian(lambda g, rule=rule: clip(rule, g)[0])(jnp.zeros(2))
        np.testing.assert_array_equal(slope, np.eye(2))


def test_the_bound_must_be_positive():
    for rule in (transforms.clip_by_global_norm, transforms.clip_by_leaf_norm):
        with pytest.raises(ValueError, match="max_norm must be positive, got 0"):
            rule(0)
    with pytest.raises(ValueError, match="max_delta must be positive, got -1"):
        transforms.clip_by_value(-1)
