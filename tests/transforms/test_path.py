"""A path is what a loop by hand gives, whatever is observed on the way, mapped or not."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import transforms

START = {"a": jnp.array([1.5, -0.4]), "b": jnp.array(0.7)}


def wells(params):
    return sum(jnp.sum((leaf**2 - 1) ** 2) for leaf in jax.tree.leaves(params))


def by_hand(rule, steps):
    rule, params, points = transforms.adapt(rule), START, [START]
    state = rule.init(params)
    for _ in range(steps):
        value, grads = jax.value_and_grad(wells)(params)
        arguments = {"value": value, "grad": grads, "value_fn": wells}
        updates, state = rule.update(grads, state, params, **arguments)
        params = optax.apply_updates(params, updates)
        points.append(params)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *points), state


@pytest.mark.parametrize("every", [1, 3, 10])
def test_a_path_is_a_loop_by_hand(every):
    rule = optax.adam(0.05)
    found = jax.jit(lambda start: transforms.path(wells, rule, start, 7, every=every))(START)
    points, state = by_hand(rule, 7)
    kept = jax.tree.map(lambda leaf: leaf[::every], points)
    chex.assert_trees_all_close(found.observed["params"], kept, rtol=1e-5)
    np.testing.assert_array_equal(found.steps, np.arange(0, 8, every))
    np.testing.assert_allclose(found.value, jax.vmap(wells)(kept), rtol=1e-5)
    norms = jax.vmap(lambda p: optax.tree.norm(jax.grad(wells)(p)))(kept)
    np.testing.assert_allclose(found.gradient_norm, norms, rtol=1e-4)
    last = jax.tree.map(lambda leaf: leaf[-1], points)
    chex.assert_trees_all_close((found.params, found.state), (last, state), rtol=1e-5)


def test_observables_see_parameters_state_and_objective():
    rule = transforms.perturbed_gradient_descent(0.05, 0.1, 1e9, 2, key=jax.random.key(0))
    found = transforms.path(
        wells,
        rule,
        START,
        6,
        every=2,
        observe={
            "noises": lambda params, state, fun: state[1].num_perturbations,
            "shifted": lambda params, state, fun: {"value": fun(params) + 1},
        },
    )
    np.testing.assert_array_equal(found.observed["noises"], [0, 1, 2, 2])
    np.testing.assert_allclose(found.observed["shifted"]["value"], found.value + 1, rtol=1e-6)


def test_a_batch_of_rates_and_starts_is_one_vmap_and_differentiable():
    def end(rate, start):
        return transforms.path(wells, optax.sgd(rate), start, 3, observe={}).value[-1]

    rates = jnp.array([0.01, 0.02])
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, -0.5 * leaf]), START)
    values, slopes = jax.vmap(jax.value_and_grad(end))(rates, starts)
    second = jax.tree.map(lambda leaf: leaf[1], starts)
    np.testing.assert_allclose(values[1], end(0.02, second), rtol=1e-6)
    difference = (end(0.021, second) - end(0.019, second)) / 2e-3
    np.testing.assert_allclose(slopes[1], difference, rtol=1e-2)


def test_no_steps_observe_the_start_and_weak_types_do_no_harm():
    found = transforms.path(lambda x: x**2, optax.sgd(0.25), 2.0, 0)
    assert found.observed["params"].tolist() == [2.0]
    assert transforms.path(lambda x: x**2, optax.sgd(0.25), 2.0, 2).params == 0.5


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps must not be negative"),
        ({"every": 0}, ValueError, "every must be"),
        ({"start": 3}, TypeError, "start"),
        ({"fun": lambda x: x}, TypeError, "fun must return"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be a GradientTransformation"),
        ({"observe": {"norm": 1.0}}, TypeError, r"observe\['norm'\] must be"),
    ],
)
def test_bad_input_is_named(changes, error, message):
    arguments = {"fun": lambda x: jnp.sum(x), "optimizer": optax.sgd(0.1), "start": jnp.ones(2)}
    with pytest.raises(error, match=message):
        transforms.path(**({**arguments, "steps": 2} | changes))
