"""Permuted copies are found out, functions stay, sums rise, and small cases are tried in full."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxopt_course import nn


def mlp(seed):
    return nn.MLP((5, 6, 7, 3), normalization=nn.BatchNorm, rngs=nnx.Rngs(seed))


def convnet(seed):
    return nn.ConvNet(2, (4, 5), wrapper=nn.WeightNorm, rngs=nnx.Rngs(seed))


def vgg(seed):
    return nn.VGG16(2, width=2, normalization=nn.LayerNorm, rngs=nnx.Rngs(seed))


def sequential(seed):
    rngs = nnx.Rngs(seed)
    return nnx.Sequential(
        nnx.Conv(2, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs), nnx.relu,
        nnx.Sequential(nnx.Conv(4, 5, (3, 3), rngs=rngs), nnx.tanh),
        lambda x: x.mean(axis=(1, 2)), nnx.Dropout(0.5, rngs=rngs), nnx.Linear(5, 3, rngs=rngs),
    )  # fmt: skip


def inputs_of(make):
    return jax.random.normal(jax.random.key(9), (6, 5) if make is mlp else (6, 8, 8, 2))


def scrambled(model, seed):
    """Parameters and statistics (with noise), the same with units in another order, the orders."""
    axes = nn.unit_axes(model)
    apply, params, state = nn.functional_view(model)
    rng = np.random.default_rng(seed)
    state = jax.tree.map(
        lambda leaf: (
            leaf + rng.uniform(0.5, 1, leaf.shape).astype(leaf.dtype)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
        ),
        state,
    )
    names = dict.fromkeys(name for named in axes.values() for name in named if name)
    sizes = {name: leaf.shape[-1] for name, leaf in
             nn.unit_activations(model, inputs_of(type_of(model))).items()}  # fmt: skip
    orders = {name: rng.permutation(sizes[name]) for name in names}
    paths = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree.leaves_with_path(params)
    }
    own = {path: named for path, named in axes.items() if path in paths}
    rest = {path: named for path, named in axes.items() if path not in paths}
    moved = nn.permute_units(params, orders, own), nn.permute_units(state, orders, rest)
    return apply, (params, state), moved, orders


def type_of(model):
    return {nn.MLP: mlp, nn.ConvNet: convnet, nn.VGG16: vgg, nnx.Sequential: sequential}[
        type(model)
    ]


@pytest.mark.parametrize("make", [mlp, convnet, vgg, sequential])
def test_a_permuted_copy_is_the_same_function_and_is_found_out(make):
    model, inputs = make(0), inputs_of(make)
    apply, original, moved, orders = scrambled(model, 1)
    assert all(len(order) > 1 for order in orders.values())
    before, after = apply(*original, inputs)[0], apply(*moved, inputs)[0]
    np.testing.assert_allclose(after, before, rtol=2e-5, atol=2e-5)

    copy = make(0)
    nnx.update(copy, moved[0])
    nnx.update(copy, moved[1])
    by_weights = nn.match_units(model, copy, key=jax.random.key(0))
    for name, order in orders.items():
        np.testing.assert_array_equal(order[by_weights.permutations[name]], np.arange(len(order)))
    for leaf, wanted in zip(*map(jax.tree.leaves, (by_weights.params, original[0])), strict=True):
        np.testing.assert_array_equal(leaf, wanted)
    for leaf, wanted in zip(*map(jax.tree.leaves, (by_weights.state, original[1])), strict=True):
        assert jnp.array_equal(leaf, wanted)  # Keys of dropout are among them.


@pytest.mark.parametrize("make", [mlp, sequential])
def test_activations_find_a_permuted_copy_out(make):
    model, inputs = make(0), inputs_of(make)
    _, original, moved, orders = scrambled(model, 1)
    copy = make(0)
    for tree in moved:
        nnx.update(copy, tree)
    nnx.update(model, original[1])
    found = nn.match_units(
        model, copy, activations=tuple(nn.unit_activations(m, inputs) for m in (model, copy))
    )
    alive = {name: np.asarray(z).reshape(-1, z.shape[-1]).any(axis=0)
             for name, z in nn.unit_activations(model, inputs).items()}  # fmt: skip
    for name, order in orders.items():
        assert alive[name].any()
        recovered = order[found.permutations[name]][alive[name]]
        np.testing.assert_array_equal(recovered, np.arange(len(order))[alive[name]])


@pytest.mark.parametrize("seed", range(5))
def test_the_sum_of_inner_products_never_decreases_and_is_that_of_the_result(seed):
    one, other = mlp(seed), mlp(seed + 100)
    found = nn.match_units(one, other, key=jax.random.key(seed))
    assert len(found.objective) > 2
    assert (np.diff(found.objective) >= -1e-12 * abs(found.objective[-1])).all()
    # Of two equal sums at the end the sweep that changed nothing tells that none was left.
    assert found.objective[-1] == found.objective[-2] > found.objective[0]
    reference = nn.functional_view(one).params
    axes = nn.unit_axes(one)

    def inner(params):
        pairs = zip(jax.tree.leaves_with_path(reference), jax.tree.leaves(params), strict=True)
        return sum(
            float(np.vdot(np.asarray(a, float), np.asarray(b, float)))
            for (path, a), b in pairs
            if jax.tree_util.keystr(path, simple=True, separator="/") in axes
        )

    np.testing.assert_allclose(inner(found.params), found.objective[-1], rtol=1e-10)
    apply, params, state = nn.functional_view(other)
    x = inputs_of(mlp)
    np.testing.assert_allclose(
        apply(found.params, found.state, x)[0], apply(params, state, x)[0], rtol=2e-5, atol=2e-5
    )


def test_one_hidden_layer_is_matched_at_best():
    """Every order of five units, tried."""
    one, other = (nn.MLP((3, 5, 2), rngs=nnx.Rngs(seed)) for seed in (0, 1))
    found = nn.match_units(one, other)
    (a, b) = (nn.functional_view(model).params["blocks"] for model in (one, other))

    def inner(order):
        order = np.array(order)
        return (
            np.vdot(a[0]["layer"]["kernel"], b[0]["layer"]["kernel"][:, order])
            + np.vdot(a[0]["layer"]["bias"], b[0]["layer"]["bias"][order])
            + np.vdot(a[1]["layer"]["kernel"], b[1]["layer"]["kernel"][order])
        )

    best = max(itertools.permutations(range(5)), key=inner)
    np.testing.assert_array_equal(found.permutations["blocks/0"], best)


def test_trees_of_any_library_are_matched_by_their_axes(x64):
    model = linen.Sequential([linen.Dense(4), linen.relu, linen.Dense(2)])
    one, other = (
        jax.tree.map(
            lambda leaf: leaf.astype(jnp.float64), model.init(jax.random.key(i), jnp.ones((1, 3)))
        )
        for i in (0, 1)
    )
    axes = {
        "params/layers_0/kernel": (None, "hidden"),
        "params/layers_0/bias": ("hidden",),
        "params/layers_2/kernel": ("hidden", None),
    }
    found = nn.match_units(one, other, axes=axes)
    assert found.state == {}
    assert set(found.permutations) == {"hidden"}
    x = jax.random.normal(jax.random.key(3), (5, 3))
    np.testing.assert_allclose(model.apply(found.params, x), model.apply(other, x), rtol=1e-12)
    assert jax.tree.leaves(found.params)[0].dtype == jnp.float64


def test_the_order_of_a_vmapped_permutation_is_each_one_s_own():
    orders = jnp.array([[2, 0, 1], [0, 1, 2]])
    moved = jax.vmap(
        lambda order: nn.permute_units({"w": jnp.arange(3)}, {"a": order}, {"w": ("a",)})
    )(orders)
    np.testing.assert_array_equal(moved["w"], orders)


def refused(make):
    return lambda: nn.unit_axes(make(nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            refused(lambda rngs: nn.ResNet(8, 1, width=2, rngs=rngs)),
            TypeError,
            "got ResNet",
        ),
        (
            refused(
                lambda rngs: nn.ConvNet(
                    1, (4,), normalization=functools.partial(nn.GroupNorm, num_groups=2), rngs=rngs
                )
            ),
            TypeError,
            "GroupNorm at blocks/0/normalization",
        ),
        (
            refused(
                lambda rngs: nnx.Sequential(
                    nnx.Conv(1, 4, (3,), rngs=rngs),
                    lambda x: x.reshape(len(x), -1),
                    nnx.Linear(8, 2, rngs=rngs),
                )
            ),
            ValueError,
            "takes 8 of 4",
        ),
        (
            refused(
                lambda rngs: nnx.Sequential(
                    nnx.Conv(4, 4, (3,), feature_group_count=2, rngs=rngs),
                    nnx.Linear(4, 2, rngs=rngs),
                )
            ),
            ValueError,
            "without groups",
        ),
        (lambda: nn.match_units(mlp(0), {}), TypeError, "both be modules"),
        (
            lambda: nn.match_units({"w": jnp.ones(2)}, {"w": jnp.ones(2)}),
            TypeError,
            "axes are given",
        ),
        (
            lambda: nn.match_units(
                {"w": jnp.ones((2, 3))}, {"w": jnp.ones((2, 3))}, axes={"w": ("a", "a")}
            ),
            ValueError,
            "each once in a leaf",
        ),
        (
            lambda: nn.match_units(
                {"w": jnp.full(2, jnp.nan)}, {"w": jnp.ones(2)}, axes={"w": ("a",)}
            ),
            ValueError,
            "must be finite",
        ),
        (
            lambda: jax.jit(lambda w: nn.match_units({"w": w}, {"w": w}, axes={"w": ("a",)}))(
                jnp.ones(2)
            ),
            TypeError,
            "got traced ones",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()
