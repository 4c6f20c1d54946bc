"""Which parameters are the kernel and the bias of a layer, and which are not."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course.saddle._layers import evaluate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3)).astype(np.float32)


def test_parameters_that_do_more_than_multiply_have_no_block():
    w, square = (
        RNG.normal(size=(3, 2)).astype(np.float32),
        RNG.normal(size=(3, 3)).astype(np.float32),
    )

    def left_out(model, **params):
        with jax.numpy_rank_promotion("allow"):
            equations = jax.make_jaxpr(lambda x, p: model(p, x))(X, params).jaxpr
        found = []
        jax.eval_shape(
            lambda *given: found.append(evaluate(equations, [X], given)), *jax.tree.leaves(params)
        )
        kept = [layer for layer in found[0].layers if layer is not None]
        paths = sorted(params)
        return tuple(
            path
            for number, path in enumerate(paths)
            if all(number not in (layer.kernel, layer.bias) for layer in kept)
        )

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
