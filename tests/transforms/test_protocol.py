"""Every optimizer of optax is called as it needs to be, and is judged where it is to be judged."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxopt_course import observables, saddle, theory, training, transforms
from jaxopt_course.nn import MLP

START = {"a": jnp.array([1.5, -0.4]), "b": jnp.array(0.7)}
STEPS = 7


def wells(params):
    return sum(jnp.sum((leaf**2 - 1) ** 2) for leaf in jax.tree.leaves(params))


def ours(rule, steps=STEPS):
    """The end of a loop of `make_step`, and the state there."""
    step, params = transforms.make_step(wells, rule, donate=False), START
    state = transforms.adapt(rule).init(params)
    for _ in range(steps):
        params, state, _ = step(params, state)
    return params, state


def by_optax(rule, **extra_args):
    """The same loop as optax's documentation of the rule has it."""
    params, state = START, rule.init(START)
    for _ in range(STEPS):
        updates, state = rule.update(jax.grad(wells)(params), state, params, **extra_args)
        params = optax.apply_updates(params, updates)
    return params


def sam(**options):
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.01))
    return optax.contrib.sam(optax.sgd(0.05), ascent, sync_period=2, **options)


@pytest.mark.parametrize(
    ("rule", "extra_args"),
    [
        (sam(), {}),
        (sam(opaque_mode=True), {"grad_fn": lambda params, _: jax.grad(wells)(params)}),
        (optax.contrib.sophia(0.05), {"obj_fn": wells}),
        (optax.chain(optax.clip(1.0), optax.contrib.sophia(0.05)), {"obj_fn": wells}),
        (optax.MultiSteps(optax.sgd(0.05), 2), {}),
        (optax.contrib.schedule_free_sgd(0.05), {}),
    ],
    ids=["sam", "opaque sam", "sophia", "sophia in a chain", "MultiSteps", "schedule-free"],
)
def test_a_step_gives_each_rule_the_arguments_it_wants(rule, extra_args):
    chex.assert_trees_all_close(ours(rule)[0], by_optax(rule, **extra_args), rtol=1e-5)


def test_lookahead_keeps_its_slow_parameters_in_the_state():
    rule = optax.lookahead(optax.sgd(0.05), sync_period=3, slow_step_size=0.5)
    pair = optax.LookaheadParams.init_synced(START)
    state = rule.init(pair)
    for _ in range(STEPS):
        updates, state = rule.update(jax.grad(wells)(pair.fast), state, pair)
        pair = optax.apply_updates(pair, updates)
    params, state = ours(rule)
    chex.assert_trees_all_close(params, pair.fast, rtol=1e-6)
    chex.assert_trees_all_close(transforms.eval_params(state, params), pair.slow, rtol=1e-6)


def test_sam_is_judged_before_its_ascent():
    before, _ = ours(sam(), 6)
    params, state = ours(sam(), 7)
    assert not np.allclose(params["a"], before["a"], atol=1e-4)
    chex.assert_trees_all_close(transforms.eval_params(state, params), before)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda rule: rule,
        lambda rule: optax.chain(optax.clip(50.0), rule),
        lambda rule: optax.masked(rule, {"a": True, "b": False}),
        lambda rule: optax.apply_if_finite(rule, 3),
    ],
    ids=["bare", "chain", "masked", "apply_if_finite"],
)
def test_schedule_free_and_nesterov_are_judged_at_their_iterates(wrap):
    rule = optax.contrib.schedule_free_sgd(0.05)
    params, state = ours(wrap(rule))
    free, of_rule = ours(rule)
    expected = optax.contrib.schedule_free_eval_params(of_rule, free)
    found = transforms.eval_params(state, params)
    np.testing.assert_allclose(found["a"], expected["a"], rtol=1e-6)
    if wrap(rule).init is not rule.init and isinstance(state, optax.transforms.MaskedState):
        np.testing.assert_array_equal(found["b"], params["b"])

    params, state = ours(wrap(transforms.nesterov(0.02)))
    expected = transforms.nesterov_eval_params(state, params)
    chex.assert_trees_all_equal(transforms.eval_params(state, params), expected)
    assert not np.allclose(expected["a"], params["a"], atol=1e-4)


def test_other_rules_are_judged_at_their_parameters():
    for rule in (optax.adam(0.1), transforms.nesterov(0.1, learning_rate_in_velocity=False)):
        params, state = ours(rule, 2)
        assert transforms.eval_params(state, params) is params


def test_escape_reports_a_run_at_its_evaluation_point():
    rule = optax.contrib.schedule_free_sgd(0.05)
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.1]), START)
    runs = saddle.escape(wells, rule, starts, max_steps=STEPS)
    params, state = ours(rule)
    expected = transforms.eval_params(state, params)
    first = jax.tree.map(lambda leaf: leaf[0], runs.params)
    chex.assert_trees_all_close(first, expected, rtol=1e-5)
    np.testing.assert_allclose(runs.value[0], wells(expected), rtol=1e-5)
    norm = optax.tree.norm(jax.grad(wells)(expected))
    np.testing.assert_allclose(runs.gradient_norm[0], norm, rtol=1e-5)
    raw = saddle.escape(wells, rule, starts, max_steps=STEPS, eval_params=lambda _, params: params)
    np.testing.assert_allclose(raw.params["a"][0], params["a"], rtol=1e-5)


def test_escape_takes_lookahead_and_functions_to_objects():
    starts = jax.tree.map(lambda leaf: leaf[None], START)
    rule = optax.lookahead(optax.sgd(0.05), sync_period=3, slow_step_size=0.5)
    runs = saddle.escape(wells, rule, starts, max_steps=STEPS)
    params, state = ours(rule)
    expected = transforms.eval_params(state, params)
    np.testing.assert_allclose(runs.params["a"][0], expected["a"], rtol=1e-5)
    keys = jax.random.split(jax.random.key(0), 1)
    every_second = optax.MultiSteps(optax.sgd(0.05), 2)
    runs = saddle.escape(wells, lambda _: every_second, starts, keys, max_steps=STEPS)
    np.testing.assert_allclose(runs.params["a"][0], ours(every_second)[0]["a"], rtol=1e-5)


def test_training_evaluates_schedule_free_at_its_average():
    x = jax.random.normal(jax.random.key(0), (40, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    result = training.fit(
        lambda key: MLP((2, 4, 2), rngs=nnx.Rngs(key)),
        optax.contrib.schedule_free_sgd(5.0),
        (x, y),
        jax.random.split(jax.random.key(1), 2),
        epochs=2,
        batch_size=10,
        evaluation={"test": (x, y)},
    )

    def test_loss(runs, params):
        return training.cross_entropy(result.apply(params, runs.state, x)[0], y).mean()

    average = jax.vmap(optax.contrib.schedule_free_eval_params)(
        result.runs.opt_state, result.runs.params
    )
    expected = jax.vmap(test_loss)(result.runs, average)
    np.testing.assert_allclose(result.history["test_loss"][:, -1], expected, rtol=1e-5)
    assert not np.allclose(
        jax.vmap(test_loss)(result.runs, result.runs.params), expected, rtol=1e-3
    )


def test_what_a_mask_takes_is_missing_by_name():
    rule = optax.masked(transforms.newton(), {"a": True, "b": False})
    grads = jax.grad(wells)(START)
    with pytest.raises(ValueError, match=r"newton got parameters of which a mask .*fill_masked"):
        rule.update(grads, rule.init(START), START, value_fn=wells)
    other = transforms.fill_masked(wells, [1.0, 2.0])
    with pytest.raises(ValueError, match="value_fn was made for the parameters"):
        rule.update(grads, rule.init(START), START, value_fn=other)


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_called_says_what_to_write():
    look = optax.lookahead(optax.sgd(0.1), 2, 0.5)
    for rule in (look, optax.chain(optax.clip(1.0), look)):
        step = transforms.make_step(wells, rule, donate=False)
        with pytest.raises(ValueError, match=r"write rule = transforms.adapt\(optax.lookahead"):
            step(START, rule.init(START))
    linked = optax.chain(optax.clip(1.0), sam())
    with pytest.raises(TypeError, match=r"put transforms.adapt\(link\) in its place"):
        transforms.make_step(wells, linked, donate=False)(START, linked.init(START))
    assert np.isfinite(ours(optax.chain(optax.clip(1.0), transforms.adapt(sam())))[0]["b"])
    with pytest.raises(TypeError, match="optimizer must be a GradientTransformation, got 3"):
        transforms.adapt(3)
    both = optax.chain(sam(), optax.contrib.schedule_free_sgd(0.1))
    with pytest.raises(ValueError, match="pass eval_params="):
        transforms.eval_params(both.init(START), START)


MAKERS = [
    optax.sgd,
    optax.scale_by_adam,
    optax.clip,
    optax.identity,
    optax.chain,
    optax.inject_hyperparams(optax.sgd),
    functools.partial(optax.sgd, momentum=0.9),
    transforms.newton,
    transforms.scale_by_adam,
    lambda: optax.sgd(0.1),
    optax.GradientTransformation,
]


@pytest.mark.parametrize("maker", MAKERS, ids=range(len(MAKERS)))
def test_what_makes_an_optimizer_is_no_optimizer(maker, tmp_path):
    starts, keys = jnp.ones((2, 2)), jax.random.split(jax.random.key(0), 2)
    data = (jnp.ones((4, 2)), jnp.zeros(4, int))
    whole = functools.partial(saddle.escape, wells, maker, starts, max_steps=1)
    for call in (
        whole,
        functools.partial(whole, keys),
        lambda: saddle.escape_to_disk(
            wells, maker, lambda _: START, keys[0], runs=1, folder=tmp_path, max_steps=1
        ),
        lambda: training.fit(
            lambda key: MLP((2, 2), rngs=nnx.Rngs(key)),
            maker,
            data,
            keys,
            epochs=1,
            batch_size=2,
        ),
        lambda: transforms.make_step(wells, maker),
        lambda: transforms.path(wells, maker, START, 1),
        lambda: transforms.adapt(maker),
        lambda: observables.preconditioned_sharpness(maker, key=keys[0]),
        lambda: theory.stability_threshold(maker),
    ):
        with pytest.raises(TypeError, match=r"(optimizer|rule) must be .*: call it first"):
            call()


def test_a_function_that_fails_with_a_key_is_named():
    starts, keys = jnp.ones((2, 2)), jax.random.split(jax.random.key(0), 2)
    for maker in (lambda rate: optax.sgd(rate), lambda key: key, lambda key: "sgd"):
        with pytest.raises(TypeError, match=r"optimizer must be .* or a function from a key"):
            saddle.escape(wells, maker, starts, keys, max_steps=1)
