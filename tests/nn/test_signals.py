"""Signals are what a loop written out by hand finds, in networks of every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxopt_course import nn
from jaxopt_course.training import cross_entropy

X = jax.random.normal(jax.random.key(0), (7, 6))
LABELS = jnp.arange(7) % 3


def loss(outputs):
    return cross_entropy(outputs, LABELS)


def layers(module):
    return isinstance(module, nnx.Linear | nnx.Conv)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_an_mlp_s_signals_are_backpropagation_s(x64, dtype):
    model = nn.MLP((6, 5, 4, 3), activation=jnp.tanh, param_dtype=dtype, rngs=nnx.Rngs(0))
    x = X.astype(dtype)
    found = jax.jit(lambda x: nn.signals(model, x, loss=loss, module_filter=layers))(x)
    # Backwards by hand: delta_l = (delta_{l+1} W_{l+1}^T) tanh'(s_l).
    linear = [np.float64(block.layer.kernel[...]) for block in model.blocks]
    biases = [np.float64(block.layer.bias[...]) for block in model.blocks]
    h, s = np.float64(x), []
    for kernel, bias in zip(linear, biases, strict=True):
        s.append(h @ kernel + bias)
        h = np.tanh(s[-1])
    chance = np.exp(s[-1]) / np.exp(s[-1]).sum(1, keepdims=True)
    deltas = [chance - np.eye(3)[LABELS]]
    for index in (2, 1):
        deltas.insert(0, deltas[0] @ linear[index].T * (1 - np.tanh(s[index - 1]) ** 2))
    assert found.paths == ("blocks/0/layer", "blocks/1/layer", "blocks/2/layer")
    rtol = 1e-4 if dtype == jnp.float32 else 1e-11
    for index in range(3):
        assert found.outputs[index].dtype == found.gradients[index].dtype == dtype
        np.testing.assert_allclose(found.outputs[index], s[index], rtol, atol=rtol / 100)
        np.testing.assert_allclose(found.gradients[index], deltas[index], rtol, atol=rtol / 100)
    assert found.output_sizes.dtype == dtype
    np.testing.assert_allclose(found.output_sizes, [(z**2).mean() ** 0.5 for z in s], rtol)
    np.testing.assert_allclose(found.gradient_sizes, [(d**2).mean() ** 0.5 for d in deltas], rtol)


def test_a_convnet_s_signals_agree_with_its_parameters_gradients():
    model = nn.ConvNet(2, (2, 3), num_classes=3, normalization=nn.BatchNorm, rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(1), (7, 4, 4, 2))
    apply, params, state = nn.functional_view(model)
    before = jax.tree.map(np.array, state)
    kinds = {path: type(module) for path, module in nnx.iter_modules(model)}

    @jax.jit
    def measure(images):
        def total_loss(params):
            outputs = apply(params, state, images, train=True)[0]
            return loss(outputs).sum(), (outputs, jax.nn.softmax(outputs))

        by_params, both = jax.grad(total_loss, has_aux=True)(params)
        found = [nn.signals(model, images, loss=loss, train=train) for train in (True, False)]
        return *found, by_params, both, apply(params, state, images)[0]

    found, evaluated, by_params, (expected, chances), in_evaluation = measure(images)
    gradients = dict(zip(found.paths, found.gradients, strict=True))
    np.testing.assert_allclose(found.outputs[-1], expected, 1e-5)
    np.testing.assert_allclose(gradients[""], chances - np.eye(3)[LABELS], atol=1e-6)
    np.testing.assert_allclose(evaluated.outputs[-1], in_evaluation, 1e-5)
    assert np.abs(expected - in_evaluation).max() > 0.01
    # The gradient of a bias that is added to an output is the sum of the gradients there.
    for path, delta in gradients.items():
        leaf = by_params
        for part in path.split("/") if path else ():
            leaf = leaf[int(part) if part.isdigit() else part]
        if isinstance(leaf, dict) and "bias" in leaf:
            expected = np.sum(delta, tuple(range(delta.ndim - 1)))
            np.testing.assert_allclose(leaf["bias"], expected, rtol=1e-4, atol=1e-5)
    assert sum(path.endswith("normalization") for path in found.paths) == 2
    # The model is as it was, the running averages among it.
    assert kinds == {path: type(module) for path, module in nnx.iter_modules(model)}
    jax.tree.map(np.testing.assert_array_equal, before, nn.functional_view(model).state)


class Twice(nnx.Module):
    """One layer that is called twice, and a pair of outputs."""

    def __init__(self, rngs):
        self.second, self.cell = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x, *, training):
        x = self.cell(jnp.sin(self.cell(x)))
        return self.second(x) * (2 if training else 1), x


def test_calls_are_in_their_order_and_numbered():
    model = Twice(nnx.Rngs(0))
    squares = jax.jit(lambda x: nn.signals(model, x, loss=lambda pair: (pair[0] ** 2).sum()))
    found = squares(X)
    first, second, last = map(np.asarray, found.outputs)
    # What the model gives is a pair, hence is not listed.
    assert found.paths == ("cell", "cell#2", "second")
    cell, kernel = (np.asarray(layer.kernel[...]) for layer in (model.cell, model.second))
    np.testing.assert_allclose(second, np.sin(first) @ cell, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.gradients[-1], 8 * last, rtol=1e-5)
    np.testing.assert_allclose(found.gradients[1], 8 * last @ kernel.T, rtol=1e-4, atol=1e-5)
    slope = (np.asarray(found.gradients[1]) @ cell.T) * np.cos(first)
    np.testing.assert_allclose(found.gradients[0], slope, rtol=1e-4, atol=1e-5)


def test_seeds_are_mapped_over_and_sizes_follow_the_mean_field():
    # Poole et al., (3): q -> v E[tanh(sqrt(q) z)^2] for kernels of variance v / width.
    width, depth, v = 128, 4, 2.25

    def measure(key):
        init = jax.nn.initializers.variance_scaling(v, "fan_in", "normal")
        model = nn.MLP(
            (width, *[width] * depth, 3), activation=jnp.tanh, kernel_init=init, rngs=nnx.Rngs(key)
        )
        return nn.signals(model, jnp.ones((1, width)), loss=jnp.sum, module_filter=layers)

    found = jax.jit(jax.vmap(measure))(jax.random.split(jax.random.key(2), 16))
    assert found.output_sizes.shape == (16, depth + 1)
    assert found.paths[-1] == f"blocks/{depth}/layer"
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    q = [v]
    for _ in range(depth - 1):
        q.append(v * weights @ np.tanh(np.sqrt(q[-1]) * points) ** 2 / np.sqrt(2 * np.pi))
    measured = np.mean(found.output_sizes**2, axis=0)[:-1]
    np.testing.assert_allclose(measured, q, rtol=0.1)
    assert q[0] / q[-1] > 1.5


def test_sizes_are_found_where_squares_underflow():
    model = nnx.Linear(6, 3, rngs=nnx.Rngs(0))
    found = nn.signals(model, X, loss=lambda outputs: 1e-30 * outputs)
    np.testing.assert_allclose(found.gradient_sizes, [1e-30], rtol=1e-6)
    nothing = nn.signals(model, X, loss=lambda outputs: 0 * outputs)
    np.testing.assert_array_equal(nothing.gradient_sizes, [0])


def test_wrong_arguments_are_named():
    model = nnx.Linear(6, 3, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="loss must give real floating numbers, got int32"):
        nn.signals(model, X, loss=lambda outputs: outputs.argmax(1))
    with pytest.raises(ValueError, match="model must call at least one module"):
        nn.signals(model, X, loss=loss, module_filter=lambda module: False)
    with pytest.raises(TypeError, match="train must be True or False"):
        nn.signals(model, X, loss=loss, train=1)
    within = nnx.RNN(nnx.SimpleCell(6, 2, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"module_filter must leave out .* 'cell/dense_"):
        nn.signals(within, X[None], loss=jnp.sum)
    with pytest.raises(ValueError, match="module_filter must leave out"):
        jax.jit(lambda x: nn.signals(within, x, loss=jnp.sum))(X[None])
    alone = nn.signals(
        within, X[None], loss=jnp.sum, module_filter=lambda module: isinstance(module, nnx.RNN)
    )
    assert alone.paths == ("",)
    np.testing.assert_array_equal(alone.gradients[0], 1)
