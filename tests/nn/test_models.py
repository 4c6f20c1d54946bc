"""Networks: sizes that papers print, arguments that reach every layer, derivatives of order two."""

import functools
import itertools
import operator
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.nn import initializers

from jaxopt_course.nn._functional_view import functional_view
from jaxopt_course.nn._models import MLP, VGG16, ConvNet, ResNet
from jaxopt_course.nn._models import _vgg as vgg
from jaxopt_course.nn._models._convnet import max_pool
from jaxopt_course.nn._normalization import BatchNorm, LayerNorm, WeightNorm

IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype(np.float32)
NETWORKS = {
    "mlp": functools.partial(MLP, (64, 12, 12, 10)),
    "convnet": functools.partial(ConvNet, 1, (4, 6)),
    "resnet": functools.partial(ResNet, 8, 1, width=4),
    "vgg": functools.partial(VGG16, 1, width=2),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def abstract_params(build):
    """Return the shapes of a network's parameters without drawing them."""
    return jax.eval_shape(
        lambda: functional_view(build(kernel_init=initializers.zeros, rngs=nnx.Rngs(0))).params
    )


def count(params, select=""):
    return sum(
        leaf.size
        for path, leaf in jax.tree.leaves_with_path(params)
        if re.search(select, jax.tree_util.keystr(path))
    )


def test_resnets_have_as_many_batch_norm_parameters_as_frankle_et_al_print():
    counts = {
        depth: count(abstract_params(functools.partial(ResNet, depth)), "normalization")
        for depth in (8, 14, 110)
    }
    # Each block of a stage is like the others, so two depths tell the third, for which flax needs
    # minutes: ResNet-866.
    counts[866] = counts[8] + 143 * (counts[14] - counts[8])
    assert counts == {8: 672, 14: 1_120, 110: 8_288, 866: 64_736}


def test_vgg16_is_the_published_one():
    params = abstract_params(VGG16)
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert kernels == [(3, 3, *pair) for pair in itertools.pairwise(channels)]
    # Convolutions, their normalizations, linear 512 with its normalization, linear 10 with bias.
    convolutions = 9 * sum(a * b for a, b in itertools.pairwise(channels))
    assert count(params) == convolutions + 2 * sum(channels[1:]) + 512 * 512 + 2 * 512 + 5_130
    model = VGG16(width=1, rngs=nnx.Rngs(0))
    rates = [[block.dropout.rate if block.dropout else 0 for block in s] for s in model.stages]
    assert rates == [[0.3, 0], [0.4, 0], [0.4, 0.4, 0], [0.4, 0.4, 0], [0.4, 0.4, 0]]
    assert model.input_dropout.rate == model.head.dropout.rate == 0.5
    assert model.stages[0][0].normalization.epsilon == 1e-3


@each_network
def test_arguments_reach_every_layer(name):
    def first_layer_halved(key, shape, dtype=jnp.float32):
        return jnp.full(shape, 0.5, dtype)

    calls = []

    def counted(x):
        calls.append(x.shape)
        return jnp.tanh(x)

    plain = NETWORKS[name](
        activation=counted,
        kernel_init=first_layer_halved,
        bias_init=initializers.ones,
        normalization=None,
        rngs=nnx.Rngs(0),
    )
    plain.eval()
    plain(IMAGES)
    params = functional_view(plain).params
    for path, leaf in jax.tree.leaves_with_path(params):
        np.testing.assert_array_equal(leaf, 0.5 if "kernel" in str(path) else 1.0)
    layers = sum("kernel" in str(path) for path, _ in jax.tree.leaves_with_path(params))
    # Every layer but the readout (and the two shortcuts of the ResNet) is followed by a call.
    assert len(calls) == layers - (3 if name == "resnet" else 1)

    normalized = NETWORKS[name](normalization=LayerNorm, rngs=nnx.Rngs(0))
    scales = [
        path
        for path, _ in jax.tree.leaves_with_path(functional_view(normalized).params)
        if "scale" in str(path)
    ]
    assert len(scales) == layers - 1


@each_network
def test_gradient_lowers_the_loss_and_its_derivative_is_right(x64, name, monkeypatch):
    # VGG with all of its layers takes minutes to compile: one of each kind has to do.
    monkeypatch.setattr(vgg, "STAGES", ((1, 1),))

    def init():
        model = NETWORKS[name](
            activation=jnp.tanh,
            normalization=BatchNorm,
            param_dtype=jnp.float64,
            rngs=nnx.Rngs(0),
        )
        return functional_view(model)

    apply = init().apply
    params, state = jax.jit(lambda: init()[1:])()

    def fun(params):
        outputs, _ = apply(params, state, IMAGES.astype(np.float64), train=True)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.arange(4)).mean()

    @jax.jit
    def derivatives(params, direction):
        """Return value, gradient, and Hessian times direction: forward over reverse."""
        return jax.jvp(jax.value_and_grad(fun), (params,), (direction,))

    (value, gradient), _ = derivatives(params, params)

    def along(step):
        moved = jax.tree.map(lambda p, d: p + step * d, params, gradient)
        return derivatives(moved, gradient)

    product = along(0.0)[1][1]
    (_, ahead), (_, behind) = along(1e-6)[0], along(-1e-6)[0]
    difference = jax.tree.map(lambda a, b: (a - b) / 2e-6, ahead, behind)
    scale = max(jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(product))
    chex.assert_trees_all_close(product, difference, rtol=1e-4, atol=1e-6 * scale)
    assert along(-0.01)[0][0] < value


def test_hessian_vector_products_go_through_all_of_vgg16():
    def loss(apply, params, state):
        outputs, _ = apply(params, state, IMAGES, train=True)
        return optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.arange(4)).mean()

    def product():
        apply, params, state = functional_view(NETWORKS["vgg"](rngs=nnx.Rngs(0)))
        gradient = jax.grad(functools.partial(loss, apply))
        return params, jax.jvp(lambda params: gradient(params, state), (params,), (params,))[1]

    # Shapes alone: compilation would take minutes.
    params, product_shapes = jax.eval_shape(product)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, product_shapes)
    assert len(jax.tree.leaves(params)) == 3 * 14 + 2


def test_seeds_by_vmap_are_the_seeds_one_by_one():
    @jax.jit
    def init(key):
        return functional_view(NETWORKS["mlp"](rngs=nnx.Rngs(key)))[1:]

    keys = jax.random.split(jax.random.key(3), 2)
    together = jax.vmap(init)(keys)
    for seed in range(2):
        one = jax.tree.map(operator.itemgetter(seed), together)
        chex.assert_trees_all_close(one, init(keys[seed]))


@each_network
def test_every_network_hashes_by_its_structure(name):
    first, second = (functional_view(NETWORKS[name](rngs=nnx.Rngs(seed))).apply for seed in (0, 1))
    assert first == second
    assert hash(first) == hash(second)


def test_a_wrapper_reparametrizes_every_layer():
    model = MLP((64, 12, 10), wrapper=WeightNorm, rngs=nnx.Rngs(0))
    assert [type(block.layer) for block in model.blocks] == [WeightNorm] * 2


def test_a_normalized_output_makes_the_mlp_scale_invariant():
    normalization = functools.partial(BatchNorm, epsilon=0.0)
    model = MLP((64, 12, 10), normalization=normalization, normalize_output=True, rngs=nnx.Rngs(0))
    apply, params, state = functional_view(model)
    scaled = jax.tree.map_with_path(
        lambda path, leaf: 3 * leaf if "kernel" in str(path) else leaf, params
    )
    outputs = [apply(p, state, IMAGES, train=True)[0] for p in (params, scaled)]
    np.testing.assert_allclose(*outputs, atol=1e-4)


def test_max_pool_is_that_of_flax_on_even_images_and_keeps_the_rest_on_odd_ones():
    np.testing.assert_array_equal(max_pool(IMAGES), nnx.max_pool(IMAGES, (2, 2), (2, 2)))
    odd = jnp.arange(15.0).reshape(1, 5, 3, 1)
    np.testing.assert_array_equal(max_pool(odd)[0, ..., 0], [[4, 5], [10, 11], [13, 14]])


def test_mistakes_are_named():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match=r"depth must be 6 n \+ 2 .*, got 10"):
        ResNet(10, rngs=rngs)
    with pytest.raises(ValueError, match=r"features must be .*, got \(3,\)"):
        MLP((3,), rngs=rngs)
    with pytest.raises(ValueError, match="widths must name at least one"):
        ConvNet(1, (), rngs=rngs)
