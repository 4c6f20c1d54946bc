"""Kronecker factors against sums written out in NumPy, and against whole Fisher matrices."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType

from jaxopt_course import nn, saddle

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
PARAMS = {
    "first": {"b": RNG.normal(size=4), "w": RNG.normal(size=(3, 4))},
    "last": {"b": RNG.normal(size=2), "w": RNG.normal(size=(4, 2))},
}
FAMILIES = ("categorical", "bernoulli", "gaussian")


def network(params, x):
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"][None])
    return hidden @ params["last"]["w"] + params["last"]["b"][None]


def labels_of(family, outputs):
    """Pairs of a weight for each example and labels: together the model's own distribution."""
    exp = np.exp(outputs)
    if family == "categorical":
        shares = exp / exp.sum(axis=1, keepdims=True)
        return [(shares[:, c], np.broadcast_to(row, (5, 2))) for c, row in enumerate(np.eye(2))]
    if family == "bernoulli":
        p = exp / (1 + exp)
        signs = [np.array(row) for row in itertools.product((0.0, 1.0), repeat=2)]
        return [(np.prod(np.where(row == 1, p, 1 - p), axis=1), row) for row in signs]
    # Two draws of each output with the mean and the variance of the Gaussian.
    return [
        (np.full(5, 1 / 4), outputs + sign * np.sqrt(2) * row)
        for row in np.eye(2)
        for sign in (-1, 1)
    ]


def by_hand(family, labels=None):
    """The factors of both layers of `network`, by sums over every label."""
    one = np.ones((5, 1))
    hidden = np.tanh(X @ PARAMS["first"]["w"] + PARAMS["first"]["b"])
    outputs = hidden @ PARAMS["last"]["w"] + PARAMS["last"]["b"]
    exp = np.exp(outputs)
    means = {
        "categorical": exp / exp.sum(axis=1, keepdims=True),
        "bernoulli": exp / (1 + exp),
        "gaussian": outputs,
    }
    entering = [np.hstack([X, one]), np.hstack([hidden, one])]
    leaving = [np.zeros((4, 4)), np.zeros((2, 2))]
    drawn = labels_of(family, outputs) if labels is None else [(np.ones(5), labels)]
    for weight, label in drawn:
        last = label - means[family]
        first = (last @ PARAMS["last"]["w"].T) * (1 - hidden**2)
        for total, g in zip(leaving, (first, last), strict=True):
            total += (weight[:, None] * g).T @ g / 5
    return [(a.T @ a / 5, g) for a, g in zip(entering, leaving, strict=True)]


def matrix_of(product, params):
    """The whole matrix of a linear map on pytrees."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    columns = jax.vmap(lambda v: jax.flatten_util.ravel_pytree(product(unravel(v)))[0])
    return np.asarray(jax.jit(columns)(jnp.eye(flat.size, dtype=flat.dtype)))


def fisher_of(model, params, inputs, **options):
    product = lambda v: saddle.fisher_product(lambda p: model(p, inputs), params, v, **options)  # noqa: E731
    return matrix_of(product, params)


def ratios(blocks, matrix, params):
    """Relative distances in the Frobenius norm: of each layer's block, and of the whole."""
    found = matrix_of(functools.partial(saddle.kfac_product, blocks), params)
    paths = blocks.paths
    owner = np.concatenate([np.full(np.prod(s, dtype=int), i) for i, s in enumerate(blocks.shapes)])
    each = []
    for block in blocks.blocks:
        own = np.isin(owner, [paths.index(p) for p in (block.kernel, block.bias) if p])
        part = np.ix_(own, own)
        each.append(np.linalg.norm((found - matrix)[part]) / np.linalg.norm(matrix[part]))
    return np.array(each), np.linalg.norm(found - matrix) / np.linalg.norm(matrix)


@pytest.mark.parametrize("family", FAMILIES)
def test_factors_are_means_over_every_label_that_the_model_could_draw(x64, family):
    whole = saddle.kfac_blocks(network, PARAMS, X, family=family)
    assert [(b.kernel, b.bias) for b in whole.blocks] == [
        ("first/w", "first/b"),
        ("last/w", "last/b"),
    ]
    assert whole.left_out == ()
    for block, (a, g) in zip(whole.blocks, by_hand(family), strict=True):
        np.testing.assert_allclose(block.inputs, a, rtol=1e-12)
        np.testing.assert_allclose(block.outputs, g, rtol=1e-12, atol=1e-14)
    labels = np.eye(2)[[0, 1, 1, 0, 1]]
    minus_log = {
        "categorical": lambda o, y: -jnp.sum(jax.nn.log_softmax(o) * y, axis=1),
        "bernoulli": lambda o, y: jnp.sum(jax.nn.softplus(o) - y * o, axis=1),
        "gaussian": lambda o, y: jnp.sum((o - y) ** 2, axis=1) / 2,
    }[family]
    losses = lambda params, data: minus_log(network(params, data[0]), data[1])  # noqa: E731
    empirical = saddle.empirical_kfac_blocks(losses, PARAMS, (X, labels))
    for block, (a, g) in zip(empirical.blocks, by_hand(family, labels), strict=True):
        np.testing.assert_allclose(block.inputs, a, rtol=1e-12)
        np.testing.assert_allclose(block.outputs, g, rtol=1e-12, atol=1e-14)


def test_batches_and_jit_change_nothing(x64):
    part = jax.jit(lambda params, x: saddle.kfac_blocks(network, params, x, batch_size=2))
    for block, (a, g) in zip(part(PARAMS, X).blocks, by_hand("categorical"), strict=True):
        np.testing.assert_allclose(block.inputs, a, rtol=1e-12)
        np.testing.assert_allclose(block.outputs, g, rtol=1e-12, atol=1e-14)


def test_one_example_has_exact_blocks_and_several_have_not(x64):
    """E[x y] = E[x] E[y] of constants; the gradients' labels are those of one distribution."""
    for count, exact in ((1, True), (5, False)):
        blocks = saddle.kfac_blocks(network, PARAMS, X[:count])
        each, whole = ratios(blocks, fisher_of(network, PARAMS, X[:count]), PARAMS)
        assert (each < 1e-12).all() == exact
        assert each.min() > 0.01 or exact
        assert whole > 0.1  # What is between the layers is not zero.
    single = saddle.kfac_blocks(lambda w, x: x @ w, PARAMS["first"]["w"], X[:1])
    matrix = fisher_of(lambda w, x: x @ w, PARAMS["first"]["w"], X[:1])
    (block,) = single.blocks
    np.testing.assert_allclose(np.kron(block.inputs, block.outputs), matrix, rtol=1e-12, atol=1e-14)


def test_linear_networks_with_gaussian_outputs_have_exact_blocks_and_others_have_not(x64):
    """The gradient at a layer is then a matrix that no example changes (Bernacchia et al. 2018)."""
    weights = [RNG.normal(size=shape) for shape in ((3, 4), (4, 4), (4, 2))]
    params = [{"b": np.ones(w.shape[1]), "w": w} for w in weights]

    def deep(params, x):
        for layer in params:
            x = x @ layer["w"] + layer["b"][None]
        return x

    for family, exact in (("gaussian", True), ("categorical", False)):
        blocks = saddle.kfac_blocks(deep, params, X, family=family)
        each, _ = ratios(blocks, fisher_of(deep, params, X, family=family), params)
        assert (each < 1e-12).all() if exact else (each > 0.01).all()
        assert len(each) == 3


def test_expand_and_reduce_are_exact_for_linear_networks_each_in_its_own_setting(x64):
    """Expand where every position has its own outputs, reduce where these are a mean over all."""
    x = RNG.normal(size=(5, 4, 3))  # examples, positions, features
    params = {"one": RNG.normal(size=(3, 4)), "two": RNG.normal(size=(4, 2)), "b": np.ones(2)}
    each = lambda params, x: x @ params["one"] @ params["two"] + params["b"][None, None]  # noqa: E731
    mean = lambda params, x: jnp.mean(each(params, x), axis=1)  # noqa: E731
    for model, right, wrong in ((each, "expand", "reduce"), (mean, "reduce", "expand")):
        fisher = fisher_of(model, params, x, family="gaussian")
        found = {
            sharing: ratios(
                saddle.kfac_blocks(model, params, x, family="gaussian", sharing=sharing),
                fisher,
                params,
            )[0]
            for sharing in (right, wrong)
        }
        assert (found[right] < 1e-12).all()
        assert (found[wrong] > 0.1).all()


def test_a_convolution_is_a_product_with_patches(x64):
    kernel = RNG.normal(size=(2, 3, 2, 4))  # height, width, in, out
    images, bias = RNG.normal(size=(3, 5, 6, 2)), RNG.normal(size=4)

    def model(params, x):
        y = jax.lax.conv_general_dilated(
            x, params["k"], (2, 1), ((1, 0), (0, 0)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.tanh(y + params["b"][None, None, None]).sum(axis=(1, 2))

    params = {"k": kernel, "b": bias}
    padded = np.pad(images, ((0, 0), (1, 0), (0, 0), (0, 0)))
    patches = np.stack(
        [
            padded[:, i : i + 2, j : j + 3].reshape(3, -1)  # as the kernel: height, width, in
            for i in (0, 2, 4)
            for j in range(4)
        ],
        axis=1,
    )
    a = np.concatenate([patches, np.ones((3, 12, 1))], axis=2)
    y = a @ np.vstack([kernel.reshape(12, 4), bias])
    # One score a class, through tanh: s_c (1 - tanh(y)^2).
    outputs = np.tanh(y).sum(axis=1)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    for sharing in ("expand", "reduce"):
        (block,) = saddle.kfac_blocks(model, params, images, sharing=sharing).blocks
        assert (block.kernel, block.bias) == ("k", "b")
        g = [
            np.sqrt(shares[:, c])[:, None, None]
            * (np.eye(4)[c] - shares)[:, None]
            * (1 - np.tanh(y) ** 2)
            for c in range(4)
        ]
        if sharing == "expand":
            expected = np.einsum("nri,nrj->ij", a, a) / 36
            leaving = sum(np.einsum("nri,nrj->ij", one, one) for one in g) / 3
        else:
            expected = np.einsum("ni,nj->ij", a.mean(axis=1), a.mean(axis=1)) / 3
            leaving = sum(np.einsum("ni,nj->ij", one.sum(axis=1), one.sum(axis=1)) for one in g) / 3
        # The library counts the input's features first, then the window.
        order = [*np.arange(12).reshape(2, 3, 2).transpose(2, 0, 1).reshape(-1), 12]
        np.testing.assert_allclose(block.inputs, expected[np.ix_(order, order)], rtol=1e-11)
        np.testing.assert_allclose(block.outputs, leaving, rtol=1e-11, atol=1e-13)
    # The gradient of one example with one position is one product: exact, axes in their places.
    small, crop = {"k": kernel, "b": bias}, images[:1, :1, :3]
    blocks = saddle.kfac_blocks(model, small, crop)
    assert ratios(blocks, fisher_of(model, small, crop), small)[0] < 1e-12


def test_layers_of_flax_are_found_whatever_their_axes(x64):
    """Attention has kernels of three axes; one example at one position is exact for each."""

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.LayerNorm(4, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 4, 6, decode=False, rngs=rngs)
            self.heads = nnx.LinearGeneral((2, 2), (3, 1, 2), axis=(1, 2), rngs=rngs)
            self.deep = nnx.Conv(2, 2, (1,), feature_group_count=2, rngs=rngs)
            self.out = nnx.Linear(6, 2, rngs=rngs)

        def __call__(self, x):
            x = self.attention(self.norm(x))
            x = self.heads(jnp.tanh(x.reshape(-1, 2, 2)))
            return self.out(self.deep(x[:, :, 0]).reshape(len(x), -1))

    apply, params, state = nn.functional_view(Model(nnx.Rngs(0)))
    params = jax.tree.map(lambda leaf: leaf.astype(float), params)
    model = lambda params, x: apply(params, state, x)[0]  # noqa: E731
    x = RNG.normal(size=(1, 1, 4))
    blocks = saddle.kfac_blocks(model, params, x)
    assert [block.kernel for block in blocks.blocks] == [
        *(f"attention/{name}/kernel" for name in ("query", "key", "value", "out")),
        "heads/kernel",
        "out/kernel",
    ]
    assert all(block.bias == block.kernel.replace("kernel", "bias") for block in blocks.blocks)
    assert blocks.left_out == ("deep/bias", "deep/kernel", "norm/bias", "norm/scale")
    matrix = fisher_of(model, params, x)
    found = matrix_of(functools.partial(saddle.kfac_product, blocks), params)
    names = [
        path for path, s in zip(blocks.paths, blocks.shapes, strict=True) for _ in range(np.prod(s))
    ]
    layers = np.array([name.rpartition("/")[0] for name in names])
    for layer in ("attention/value", "attention/out", "heads", "out"):
        part = np.ix_(layers == layer, layers == layer)
        assert np.linalg.norm(matrix[part]) > 1e-3
        np.testing.assert_allclose(found[part], matrix[part], atol=1e-12)
    # With one word attention does not depend on what is asked: those blocks are zero.
    np.testing.assert_allclose(found[layers == "attention/query"], 0, atol=1e-12)
    np.testing.assert_allclose(found[np.isin(names, blocks.left_out)], 0)


def test_a_kernel_that_multiplies_twice_is_one_layer_at_two_positions(x64):
    w, out = RNG.normal(size=(3, 3)), RNG.normal(size=(3, 2))
    params = {"out": out, "w": w}
    twice = lambda params, x: x @ params["w"] @ params["w"] @ params["out"]  # noqa: E731
    blocks = saddle.kfac_blocks(twice, params, X, family="gaussian").blocks
    assert [block.kernel for block in blocks] == ["w", "out"]
    a = np.stack([X, X @ w], axis=1)
    np.testing.assert_allclose(blocks[0].inputs, np.einsum("nri,nrj->ij", a, a) / 10)
    back = [(w @ out), out]
    np.testing.assert_allclose(blocks[0].outputs, sum(one @ one.T for one in back))


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_labels_have_the_exact_factors_for_their_mean(x64, family):
    layer, w = lambda w, x: x @ w, PARAMS["first"]["w"]
    (exact,) = saddle.kfac_blocks(layer, w, X, family=family).blocks

    def draw(key, size=None):
        options = {"num_samples": 8, "key": key, "batch_size": size}
        return saddle.kfac_blocks(layer, w, X, family=family, **options).blocks[0]

    keys = jax.random.split(jax.random.key(1), 100)
    many = jax.jit(jax.vmap(draw))(keys)
    np.testing.assert_allclose(many.inputs[0], exact.inputs, rtol=1e-12)
    mean, error = np.mean(many.outputs, axis=0), np.std(many.outputs, axis=0) / 10
    assert (np.abs(mean - exact.outputs) < 4.5 * error + 1e-12).all()
    assert (error > 1e-4).any()
    # Which labels an example draws does not depend on the batch that it is in.
    np.testing.assert_allclose(draw(keys[0], 2).outputs, many.outputs[0], rtol=1e-10)


def test_the_error_is_that_of_whole_matrices_within_its_standard_error(x64):
    blocks = saddle.kfac_blocks(network, PARAMS, X)
    each, whole = ratios(blocks, fisher_of(network, PARAMS, X), PARAMS)
    product = lambda v: saddle.fisher_product(lambda p: network(p, X), PARAMS, v)  # noqa: E731
    keys = jax.random.split(jax.random.key(0), 40)
    for kind, expected in ((False, each), (True, whole)):
        found = jax.jit(
            jax.vmap(
                lambda key, kind=kind: saddle.kfac_error(
                    blocks, product, PARAMS, num_probes=100, key=key, whole=kind
                )
            )
        )(keys)
        scores = (np.asarray(found.value) - expected) / found.standard_error
        assert np.abs(scores).max() < 4.5
        np.testing.assert_allclose(np.std(scores, axis=0), 1, atol=0.4)  # 11 % from 40 keys
        assert found.finite.all()
    assert found.num_products[0] == 100


def test_a_matrix_of_zeros_is_at_no_distance_from_itself_and_far_from_any_other():
    params = {"a": jnp.zeros((3, 2))}
    blocks = saddle.kfac_blocks(lambda p, x: x @ p["a"], params, jnp.ones((1, 3)))
    none = jax.tree.map(jnp.zeros_like, blocks)
    options = {"num_probes": 3, "key": jax.random.key(0)}
    nothing = lambda v: jax.tree.map(jnp.zeros_like, v)  # noqa: E731
    assert saddle.kfac_error(none, nothing, params, **options).value.tolist() == [0]
    assert saddle.kfac_error(blocks, nothing, params, **options).value.tolist() == [np.inf]


def test_a_solution_is_that_of_the_whole_matrix(x64):
    params = {**PARAMS, "scale": np.ones(2)}
    model = lambda p, x: network(p, x) * p["scale"][None]  # noqa: E731
    blocks = saddle.kfac_blocks(model, params, X)
    assert blocks.left_out == ("scale",)
    v = jax.tree.map(np.cos, params)
    matrix = matrix_of(functools.partial(saddle.kfac_product, blocks), params)
    flat, _ = jax.flatten_util.ravel_pytree(v)
    expected = np.linalg.solve(matrix + 0.01 * np.eye(len(flat)), flat)
    found = jax.jit(lambda v: saddle.kfac_solve(blocks, v, damping=0.01))(v)
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(found)[0], expected, rtol=1e-9)


def test_half_precision_is_computed_in_float32_and_given_back_in_its_own(x64):
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMS)
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), half)
    x = jnp.asarray(X, jnp.float32)
    one, other = (saddle.kfac_blocks(network, params, x) for params in (half, single))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(one)} == {"float32"}
    for found in (saddle.kfac_product(one, half), saddle.kfac_solve(one, half, damping=1.0)):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {"bfloat16"}


def test_blocks_under_vmap_have_an_axis_in_front():
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), PARAMS)
    found = jax.vmap(lambda params: saddle.kfac_blocks(network, params, X))(many)
    last = saddle.kfac_blocks(network, jax.tree.map(lambda leaf: leaf[1], many), X)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one[1], other, rtol=1e-5, atol=1e-7),
        found,
        last,
    )


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_examples_may_be_on_several_devices(kind, batch_size):
    mesh = jax.make_mesh((8,), ("examples",), axis_types=(kind,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("examples"))
    x = jnp.asarray(RNG.normal(size=(16, 3)), jnp.float32)
    found = lambda x: saddle.kfac_blocks(  # noqa: E731
        lambda w, x: x @ w, jnp.ones((3, 2)), x, batch_size=batch_size
    )
    one = found(x)
    with jax.set_mesh(mesh):
        other = found(jax.device_put(x, spread))
        again = jax.jit(found)(jax.device_put(x, spread))
    assert len(jax.tree.leaves(other)[0].devices()) == 8
    for way in (other, again):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, way)


@pytest.mark.parametrize(
    "model",
    [
        lambda w, x: (x - jnp.mean(x, 0, keepdims=True)) @ w,
        lambda w, x: (x + x[::-1]) @ w,
        lambda w, x: (x @ x.T) @ (x @ w),
    ],
    ids=["mean of the data", "reversed", "contrastive"],
)
def test_examples_that_depend_on_each_other_are_refused(model):
    x = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    with pytest.raises(ValueError, match=r"on its own, but what it gives .* among all and alone"):
        saddle.kfac_blocks(model, jnp.eye(3), x)


def test_blocks_are_told_in_words():
    params = {"scale": np.ones(3), "w": np.ones((3, 2))}
    model = lambda p, x: (p["scale"][None] * x) @ p["w"]  # noqa: E731
    blocks = saddle.kfac_blocks(model, params, np.ones((1, 3)), family="gaussian")
    text = "1 Kronecker block for 6 of 9 parameters\n  w         3 x 3 and 2 x 2, trace 6\n"
    assert str(blocks) == text + "  left out  scale"
    assert str(jax.vmap(lambda one: one)(jax.tree.map(lambda x: x[None], blocks))).startswith(
        "KroneckerBlocks\n"
    )


W = np.ones((3, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(network, PARAMS, X, family="poisson"), ValueError, "family must be one of"),
        (lambda f: f(network, PARAMS, X, sharing="sum"), ValueError, "sharing must be one of"),
        (lambda f: f(network, PARAMS, X, num_samples=3), TypeError, "num_samples alone"),
        (lambda f: f(network, PARAMS, X, key=jax.random.key(0)), TypeError, "got key alone"),
        (lambda f: f(network, PARAMS, X, batch_size=0), ValueError, "batch_size must be"),
        (lambda f: f(None, PARAMS, X), TypeError, "model must be"),
        (lambda f: f(network, {}, X), ValueError, "params must hold at least one"),
        (lambda f: f(lambda p, x: x * p, 1.0, X), ValueError, "hold a kernel that multiplies"),
        (lambda f: f(lambda p, x: jnp.sum(x @ p), W, X), ValueError, r"shape \(5, classes\)"),
        (lambda f: f(lambda p, x: (x @ p)[:2], W, X), ValueError, r"got \(2, 2\)"),
        (lambda f: f(lambda p, x: [x @ p], W, X), TypeError, "model must return"),
        (lambda f: f(lambda p, x: x[0] @ p, W, (X, X[:2])), ValueError, "same positive number"),
        (
            lambda f: f(lambda p, x: (x @ p) - jnp.mean(x @ p, axis=0, keepdims=True), W, X),
            ValueError,
            "each of the examples in inputs on its own",
        ),
    ],
)
def test_factors_name_what_they_cannot_be_computed_of(call, error, message):
    with pytest.raises(error, match=message):
        call(saddle.kfac_blocks)


def test_products_name_what_is_not_like_the_parameters():
    blocks = saddle.kfac_blocks(lambda p, x: x @ p["w"], {"w": W}, X)
    product = lambda v: v  # noqa: E731
    options = {"num_probes": 2, "key": jax.random.key(0)}
    with pytest.raises(ValueError, match="with the leaves w, got x"):
        saddle.kfac_product(blocks, {"x": W})
    with pytest.raises(ValueError, match=r"v must have shape \(3, 2\) at w, got \(2, 3\)"):
        saddle.kfac_solve(blocks, {"w": W.T}, damping=1.0)
    with pytest.raises(ValueError, match="damping must be positive"):
        saddle.kfac_solve(blocks, {"w": W}, damping=0.0)
    with pytest.raises(TypeError, match="blocks must be KroneckerBlocks"):
        saddle.kfac_product({"w": W}, {"w": W})
    with pytest.raises(ValueError, match="num_probes must be at least 2"):
        saddle.kfac_error(blocks, product, {"w": W}, num_probes=1, key=jax.random.key(0))
    with pytest.raises(TypeError, match="product must return a pytree like params"):
        saddle.kfac_error(blocks, lambda v: v["w"], {"w": W}, **options)
    with pytest.raises(ValueError, match=r"losses must return an array of shape \(5,\)"):
        saddle.empirical_kfac_blocks(lambda p, x: x @ p, W, X)
