"""Whether examples depend on each other is seen in what is computed, whoever computes it."""

import equinox as eqx
import flax.linen as linen
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import saddle
from jaxopt_course._coupling import coupled_examples
from jaxopt_course._tracing import trace_objective

IMAGES = jax.random.normal(jax.random.key(0), (6, 4, 4, 3))
LABELS = jnp.arange(6) % 3


def coupled(fun, params):
    equations = trace_objective("fun", fun, params).equations
    return coupled_examples(equations.jaxpr, equations.in_tree.num_leaves)


def cross_entropy(outputs):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), LABELS[:, None], axis=1))


def zeros(init, *arguments, train):
    """What `init` returns, of zeros: nothing needs to be drawn or compiled."""
    shapes = jax.eval_shape(lambda *arguments: init(*arguments, train), *arguments)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


class Linen(linen.Module):
    norm: str

    @linen.compact
    def __call__(self, x, train):
        x = linen.Conv(4, (3, 3))(x)
        if self.norm == "batch":
            x = linen.BatchNorm(use_running_average=not train)(x)
        elif self.norm == "attention":
            x = x.reshape(x.shape[0], -1, 4)
            x = linen.LayerNorm()(x + linen.MultiHeadDotProductAttention(2)(x, x))
        else:
            x = {"layer": linen.LayerNorm, "group": lambda: linen.GroupNorm(2)}[self.norm]()(x)
            x = linen.max_pool(linen.relu(x), (2, 2), (2, 2))
        return linen.Dense(3)(x.reshape(x.shape[0], -1))


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "attention"])
@pytest.mark.parametrize("train", [True, False])
def test_linen(norm, train):
    net = Linen(norm)
    variables = zeros(net.init, jax.random.key(0), IMAGES, train=train)
    state = {name: leaf for name, leaf in variables.items() if name != "params"}

    def loss(params):
        outputs, _ = net.apply({"params": params, **state}, IMAGES, train, mutable="batch_stats")
        return cross_entropy(outputs)

    expected = IMAGES.shape if norm == "batch" and train else None
    assert coupled(loss, variables["params"]) == expected


class Equinox(eqx.Module):
    convolution: eqx.nn.Conv2d
    norm: eqx.Module
    linear: eqx.nn.Linear

    def __init__(self, mode, key):
        self.convolution = eqx.nn.Conv2d(3, 4, 3, padding=1, key=key)
        if mode == "group":
            self.norm = eqx.nn.GroupNorm(2, 4)
        else:
            self.norm = eqx.nn.BatchNorm(4, "examples", mode=mode)
        self.linear = eqx.nn.Linear(64, 3, key=key)

    def __call__(self, x, state):
        x = self.convolution(x)
        if isinstance(self.norm, eqx.nn.BatchNorm):
            x, state = self.norm(x, state)
        else:
            x = self.norm(x)
        return self.linear(jax.nn.relu(x).reshape(-1)), state


@pytest.mark.parametrize("mode", ["batch", "ema", "group"])
@pytest.mark.parametrize("train", [True, False])
def test_equinox(mode, train):
    net, state = eqx.nn.make_with_state(Equinox)(mode, jax.random.key(0))
    params, rest = eqx.partition(eqx.nn.inference_mode(net, not train), eqx.is_inexact_array)
    images = jnp.moveaxis(IMAGES, -1, 1)

    def loss(params):
        apply = jax.vmap(
            eqx.combine(params, rest), axis_name="examples", in_axes=(0, None), out_axes=(0, None)
        )
        return cross_entropy(apply(images, state)[0])

    assert coupled(loss, params) == (images.shape if mode != "group" and train else None)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("train", [True, False])
def test_haiku(norm, train):
    def net(x, train):
        x = hk.Conv2D(4, 3)(x)
        if norm == "batch":
            x = hk.BatchNorm(True, True, 0.9)(x, train)
        else:
            x = hk.LayerNorm(-1, True, True)(x)
        return hk.Linear(3)(hk.Flatten()(jax.nn.relu(x)))

    net = hk.without_apply_rng(hk.transform_with_state(net))
    params, state = zeros(net.init, jax.random.key(0), IMAGES, train=True)

    def loss(params):
        return cross_entropy(net.apply(params, state, IMAGES, train)[0])

    assert coupled(loss, params) == (IMAGES.shape if norm == "batch" and train else None)


def centred(h):
    return h - jnp.mean(h, axis=0, keepdims=True)


OVER_EXAMPLES = {
    "centred": centred,
    "scaled": lambda h: h / jnp.sqrt(jnp.sum(h**2, axis=0, keepdims=True)),
    "jit": jax.jit(centred),
    "checkpoint": jax.checkpoint(centred),
    "cond": lambda h: jax.lax.cond(jnp.sum(h) > 0, centred, jnp.tanh, h),
    "loop": lambda h: jax.lax.fori_loop(0, 2, lambda _, h: centred(h), h),
    "while": lambda h: jax.lax.while_loop(lambda h: jnp.min(h) > 0, centred, h),
}
OVER_FEATURES = {
    "rows": lambda h: h - jnp.mean(h, axis=1, keepdims=True),
    "softmax": jax.nn.log_softmax,
    "vmap": jax.vmap(lambda row: row - jnp.mean(row)),
    "map": lambda h: jax.lax.map(lambda row: row - jnp.mean(row), h),
}


@pytest.mark.parametrize("name", [*OVER_EXAMPLES, *OVER_FEATURES])
def test_by_hand(name):
    centre = OVER_EXAMPLES.get(name) or OVER_FEATURES[name]
    inputs = jnp.arange(15.0).reshape(5, 3)
    kernel = jnp.ones((3, 4))
    for fun in (
        lambda w: jnp.mean(centre(inputs @ w) ** 2),
        lambda w: jnp.mean(jnp.sum(centre(jnp.tanh(inputs) @ w).T ** 2, axis=0)),
    ):
        assert coupled(fun, kernel) == ((5, 3) if name in OVER_EXAMPLES else None)


@pytest.mark.parametrize("batch_size", [2, 4, 6, 8])
def test_batch_by_batch(batch_size):
    inputs = jnp.arange(18.0).reshape(6, 3)
    for layer in (centred, OVER_FEATURES["rows"]):
        fun = saddle.mean_over_batches(
            lambda w, batch, layer=layer: jnp.mean(layer(batch @ w) ** 2), inputs, batch_size
        )
        assert bool(coupled(fun, jnp.ones((3, 4)))) == (layer is centred)


def test_data_that_are_centred_before_couple_nothing():
    inputs = jnp.arange(15.0).reshape(5, 3)
    fun = lambda w: jnp.mean(((inputs - jnp.mean(inputs, 0, keepdims=True)) @ w) ** 2)  # noqa: E731
    assert coupled(fun, jnp.ones((3, 4))) is None


def test_frozen_weights_are_not_taken_for_examples():
    weights, bias = jnp.ones((5, 3)), jnp.ones(5)
    one = lambda x: -jax.nn.log_softmax(weights @ x + bias)[0]  # noqa: E731
    many = lambda x: -jnp.mean(jax.nn.log_softmax(x @ weights.T + bias[None])[:, 0])  # noqa: E731
    assert coupled(one, jnp.ones(3)) is None
    assert coupled(many, jnp.ones((4, 3))) is None


def test_a_mean_loss_and_its_root_couple_nothing():
    inputs = jnp.arange(15.0).reshape(5, 3)
    fun = lambda w: jnp.sqrt(jnp.sum(jnp.mean((inputs @ w) ** 2, axis=0)))  # noqa: E731
    assert coupled(fun, jnp.ones((3, 4))) is None


def test_the_warning_names_the_data():
    inputs = jnp.arange(15.0).reshape(5, 3)

    def fun(w):
        outputs = inputs @ w
        return jnp.mean((outputs - jnp.mean(outputs, axis=0, keepdims=True)) ** 2)

    with pytest.warns(UserWarning, match=r"first axis of an array of shape \(5, 3\)"):
        saddle.hvp(fun, jnp.ones((3, 4)), jnp.ones((3, 4)))
