"""Which parameters are the kernel and the bias of a layer, and which are not."""

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen

from jaxopt_course.saddle._layers import evaluate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3)).astype(np.float32)


def left_out_of(model, params, x):
    """Paths of the parameters that are in no layer of a model of one or more examples."""
    with jax.numpy_rank_promotion("allow"):
        closed = jax.make_jaxpr(lambda x, params: model(params, x))(x, params)
    leaves = jax.tree.leaves(params)
    found = []

    def look(x, *leaves):
        found.append(evaluate(closed.jaxpr, [*closed.consts, x], leaves))
        return found[0].outputs

    jax.eval_shape(look, x, *leaves)
    kept = [layer for layer in found[0].layers if layer is not None]
    taken = {layer.kernel for layer in kept} | {layer.bias for layer in kept}
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(params)]
    return tuple(path for number, path in enumerate(paths) if number not in taken)


def test_layers_of_other_libraries_are_found_as_flax_has_them():
    """Equinox multiplies from the left, an example at a time; biases have axes of their own."""
    images = np.ones((1, 6, 6, 3), np.float32)

    class Linen(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.LayerNorm()(linen.Conv(4, (3, 3), strides=2)(x)))
            return linen.Dense(2)(x.reshape(len(x), -1))

    net = Linen()
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), variables)
    assert left_out_of(net.apply, variables, images) == (
        "['params']['LayerNorm_0']['bias']",
        "['params']['LayerNorm_0']['scale']",
    )

    def forward(x):
        x = jax.nn.gelu(hk.Conv2D(4, 3, padding="VALID")(x))
        looked_up = hk.Embed(7, 4)(jnp.zeros((1, 4, 4), int))
        return hk.Linear(2)(hk.Flatten()(x + looked_up))

    net = hk.without_apply_rng(hk.transform(forward))
    params = jax.eval_shape(net.init, jax.random.key(0), images)
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), params)
    assert left_out_of(net.apply, params, images) == ("['embed']['embeddings']",)

    keys = jax.random.split(jax.random.key(0))
    layers = eqx.nn.Conv2d(3, 4, 3, key=keys[0]), eqx.nn.MLP(64, 2, 8, 2, key=keys[1])
    params, static = eqx.partition(layers, eqx.is_inexact_array)

    def model(params, x):
        conv, mlp = eqx.combine(params, static)
        return jax.vmap(lambda x: mlp(jnp.tanh(conv(x.transpose(2, 0, 1))).reshape(-1)))(x)

    assert left_out_of(model, params, images) == ()


def test_parameters_that_do_more_than_multiply_have_no_block():
    w, square = (
        RNG.normal(size=(3, 2)).astype(np.float32),
        RNG.normal(size=(3, 3)).astype(np.float32),
    )

    def left_out(model, **params):
        both = lambda p, x: model(p, x) + x @ p["plain"]  # noqa: E731
        return tuple(path[2] for path in left_out_of(both, {"plain": w, **params}, X))

    looped = lambda p, x: jax.lax.fori_loop(0, 2, lambda _, x: x @ p["a"], x)[:, :2]  # noqa: E731
    assert left_out(looped, a=square) == ("a",)
    assert left_out(lambda p, x: x @ (2 * p["a"]), a=w) == ("a",)  # scaled before
    assert left_out(lambda p, x: x @ p["a"] + jnp.sum(p["a"] ** 2), a=w) == ("a",)  # and a penalty
    assert left_out(lambda p, x: x @ p["a"] + p["a"][0], a=w) == ("a",)
    assert left_out(lambda p, x: x @ p["a"].T @ p["a"][:, :2], a=square) == ("a",)
    assert left_out(lambda p, x: x @ (p["a"] @ p["b"]), a=square, b=w) == ("a", "b")
    # A bias that comes after something else, that two layers share, or that is one number for all.
    assert left_out(lambda p, x: jnp.tanh(x @ p["a"]) + p["b"], a=w, b=np.ones(2)) == ("b",)
    both = lambda p, x: jnp.tanh(x @ p["a"] + p["b"]) * (x @ p["c"] + p["b"])  # noqa: E731
    assert left_out(both, a=w, b=np.ones(2), c=w) == ("b",)
    assert left_out(lambda p, x: jnp.tanh(x @ p["a"] + p["b"]), a=w, b=np.ones(1)) == ("b",)
    again = lambda p, x: (lambda y: jnp.tanh(y + p["b"]) * y)(x @ p["a"])  # noqa: E731
    assert left_out(again, a=w, b=np.ones(2)) == ("b",)
    # Within jit, transposed, with a bias in front, and rematerialized it is a layer like others.
    inner = jax.jit(lambda x, a, b: jnp.tanh(b[None] + x @ a.T))
    assert left_out(lambda p, x: inner(x, p["a"], p["b"]), a=w.T, b=np.ones(2)) == ()
    remat = jax.checkpoint(lambda x, a, b: jnp.tanh(x @ a + b))
    assert left_out(lambda p, x: remat(x, p["a"], p["b"]), a=w, b=np.ones((1, 2))) == ()
    single = lambda p, x: jax.vmap(lambda x: jnp.tanh(p["a"] @ x + p["b"]))(x)  # noqa: E731
    assert left_out(single, a=w.T, b=np.ones(2)) == ()


def test_a_number_is_no_bias_of_several_outputs_but_one_of_a_single_output():
    """`jnp` adds a number without giving it the axes of what it is added to."""
    model = lambda p, x: jnp.tanh(x @ p["a"] + p["b"])  # noqa: E731
    kernel = RNG.normal(size=(3, 2)).astype(np.float32)
    assert left_out_of(model, {"a": kernel, "b": np.float32(1)}, X) == ("['b']",)
    assert left_out_of(model, {"a": kernel[:, 0], "b": np.float32(1)}, X) == ()
    front = lambda p, x: jnp.tanh(p["b"] + x @ p["a"])  # noqa: E731
    assert left_out_of(front, {"a": kernel, "b": np.float32(1)}, X) == ("['b']",)


def test_a_bias_that_is_added_in_two_orders_leaves_its_kernel_one_layer():
    kernel, bias = np.ones((3, 2, 2), np.float32), np.ones((2, 2), np.float32)

    def model(p, x):
        once, again = (jnp.einsum("nd,dhk->nhk", x, p["a"]) for _ in range(2))
        return jnp.tanh(once + p["b"]) + jnp.sin(again + p["b"].T)

    assert left_out_of(model, {"a": kernel, "b": bias}, X) == ("['b']",)
