"""Runs with stochastic gradients do what a loop over drawn batches does; their draws cover data."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import saddle, transforms
from jaxopt_course._streams import stream
from jaxopt_course.saddle._minibatches import draw_examples

DATA = {
    "x": jnp.asarray(np.random.default_rng(0).normal(size=(7, 3)), jnp.float32),
    "y": jnp.asarray(np.random.default_rng(1).normal(size=7), jnp.float32),
}
STARTS = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3)), jnp.float32)
KEYS = jax.random.split(jax.random.key(5), 4)


def loss(w, batch):
    return jnp.mean(jnp.square(batch["x"] @ w - batch["y"]))


OBJECTIVE = saddle.mean_over_batches(loss, DATA, 7)


@pytest.mark.parametrize("replacement", [False, True])
def test_every_run_follows_the_plain_loop_over_its_own_batches(replacement):
    optimizer = transforms.heavy_ball(0.05)
    runs = saddle.escape(
        OBJECTIVE, optimizer, STARTS, KEYS, max_steps=9, minibatch=3, replacement=replacement
    )
    for i in range(len(STARTS)):
        x, state = STARTS[i], optimizer.init(STARTS[i])
        for t in range(9):
            numbers = draw_examples(stream(KEYS[i], "examples"), t, 7, 3, replacement)
            batch = jax.tree.map(lambda leaf, at=numbers: leaf[at], DATA)
            updates, state = optimizer.update(jax.grad(loss)(x, batch), state, x)
            x = optax.apply_updates(x, updates)
        np.testing.assert_allclose(runs.params[i], x, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(runs.value[i], loss(x, DATA), rtol=2e-5)
    assert len(np.unique(np.asarray(runs.params[:, 0]))) == len(STARTS)


def test_all_examples_at_once_are_the_plain_objective():
    escape = partial(saddle.escape, OBJECTIVE, optax.sgd(0.05), STARTS, KEYS, max_steps=20)
    np.testing.assert_allclose(escape(minibatch=7).params, escape().params, rtol=1e-5, atol=1e-6)


def test_a_run_draws_the_same_examples_alone_and_among_others():
    escape = partial(saddle.escape, OBJECTIVE, optax.sgd(0.05), max_steps=20, minibatch=2, lanes=4)
    alone = escape(STARTS[2:3], KEYS[2:3])
    np.testing.assert_array_equal(alone.params[0], escape(STARTS, KEYS).params[2])


def test_without_replacement_a_pass_holds_no_example_twice_and_passes_differ():
    draw = jax.vmap(lambda t: draw_examples(jax.random.key(0), t, 7, 3, False))
    passes = np.asarray(draw(jnp.arange(40))).reshape(20, 6)
    assert all(len(set(one)) == 6 for one in passes)
    assert len({tuple(one) for one in passes}) == 20
    # The one left over is another in other passes.
    assert len({(set(range(7)) - set(one)).pop() for one in passes}) > 3


def test_with_replacement_examples_are_independent_and_uniform():
    draws = np.asarray(
        jax.vmap(lambda t: draw_examples(jax.random.key(0), t, 7, 3, True))(jnp.arange(2000))
    )
    assert any(len(set(one)) < 3 for one in draws)
    shares = np.bincount(draws.ravel(), minlength=7) / draws.size
    np.testing.assert_allclose(shares, 1 / 7, atol=0.02)


def test_the_gradient_s_mean_is_that_of_the_whole(x64):
    x = np.zeros(3)
    numbers = jax.vmap(lambda t: draw_examples(jax.random.key(3), t, 7, 2, False))(
        jnp.arange(3 * 3000)
    )
    each = jax.vmap(lambda i: jax.grad(loss)(x, jax.tree.map(lambda leaf: leaf[i], DATA)))(numbers)
    error = np.std(each, axis=0) / len(numbers) ** 0.5
    gap = np.abs(np.mean(each, axis=0) - jax.grad(loss)(x, DATA))
    assert (gap < 4 * error).all()


def test_a_noisy_rule_draws_from_a_stream_of_its_own():
    noisy = saddle.escape(
        OBJECTIVE,
        lambda key: transforms.noisy_gradient_descent(0.05, 0.1, key),
        STARTS,
        KEYS,
        max_steps=3,
        minibatch=2,
    )
    plain = saddle.escape(OBJECTIVE, optax.sgd(0.05), STARTS, KEYS, max_steps=3, minibatch=2)
    assert (np.asarray(noisy.params) != np.asarray(plain.params)).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fun": lambda w: loss(w, DATA)}, TypeError, "fun must be made by saddle.mean_over_b"),
        ({"minibatch": 0}, ValueError, "minibatch must be positive"),
        ({"minibatch": 8}, ValueError, "minibatch must not exceed the number of examples = 7"),
        ({"minibatch": 2.0}, TypeError, "minibatch must be an integer"),
        ({"replacement": 1}, TypeError, "replacement must be"),
        ({"minibatch": None, "replacement": True}, ValueError, "replacement must be given with"),
        ({"keys": None}, ValueError, "keys must be given .* with minibatch"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    arguments = {
        "fun": OBJECTIVE,
        "optimizer": optax.sgd(0.1),
        "starts": STARTS,
        "keys": KEYS,
        "max_steps": 2,
        "minibatch": 2,
    }
    with pytest.raises(error, match=message):
        saddle.escape(**arguments | change)
