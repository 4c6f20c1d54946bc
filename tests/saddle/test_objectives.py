"""Objectives over batches: the values and derivatives of the whole, the memory of one batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import saddle

PARAMS = {"w": np.linspace(-1, 1, 24).reshape(3, 8), "o": np.cos(np.arange(8.0))}
V = jax.tree.map(np.sin, PARAMS)


def outputs(params, batch):
    return jnp.tanh(batch["x"] @ params["w"]) @ params["o"]


def loss_of(out, batch):
    return jnp.mean(jnp.exp((out - batch["y"]) / 4))


def loss(params, batch):
    return loss_of(outputs(params, batch), batch)


def data(size):
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((size, 3)), "y": rng.standard_normal(size)}


@jax.jit
def derivatives(fun, params, v):
    value, slope = jax.value_and_grad(fun)(params)
    return value, slope, saddle.hvp(fun, params, v)


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (11, 4), (3, 4), (4, 4)])
def test_batches_add_up_to_the_whole(x64, size, batch_size):
    whole = jax.tree_util.Partial(lambda data, params: loss(params, data), data(size))
    expected = derivatives(whole, PARAMS, V)
    found = derivatives(saddle.mean_over_batches(loss, data(size), batch_size), PARAMS, V)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-14), found, expected)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_gauss_newton_over_batches_is_that_of_the_whole(x64, batch_size):
    batch = data(11)
    objective = saddle.GaussNewton(outputs, loss_of, batch, batch_size)
    found = jax.jit(lambda objective, v: objective.curvature(PARAMS)(v))(objective, V)
    value = jax.jit(lambda objective: objective(PARAMS))(objective)

    @jax.jit
    def dense():
        flat, unravel = jax.flatten_util.ravel_pytree(PARAMS)
        jacobian = jax.jacobian(lambda flat: outputs(unravel(flat), batch))(flat)
        inner = jax.hessian(lambda out: loss_of(out, batch))(outputs(PARAMS, batch))
        return unravel(jacobian.T @ (inner @ (jacobian @ jax.flatten_util.ravel_pytree(V)[0])))

    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-14), found, dense())
    np.testing.assert_allclose(value, loss(PARAMS, batch), rtol=1e-14)


def test_memory_does_not_grow_with_the_data():
    def temporary(size):
        fun = saddle.mean_over_batches(loss, data(size), 64)
        memory = derivatives.lower(fun, PARAMS, V).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes, memory.argument_size_in_bytes

    # 16 times the data, and a rest that is no whole batch; the activations of all examples alone
    # would be 32 kilobytes for every 1,000 of them.
    small, large = temporary(8 * 64 + 5), temporary(128 * 64 + 5)
    assert large[0] <= small[0] + 1024
    # The data are arguments: they are not folded into the program.
    assert large[1] - small[1] == (128 - 8) * 64 * 4 * 4


def test_half_precision_is_summed_in_float32():
    fun = saddle.mean_over_batches(
        lambda x, batch: jnp.mean(batch) + 0 * x, jnp.full(4096, 0.01, jnp.bfloat16), 1
    )
    value = jax.jit(lambda fun: fun(jnp.bfloat16(0)))(fun)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, jnp.bfloat16(0.01), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones(3), 0), ValueError, "batch_size must be positive, got 0"),
        ((np.ones(3), 1.5), TypeError, "batch_size must be an integer, got 1.5"),
        (
            ((np.ones(3), np.ones(2)), 1),
            ValueError,
            r"same positive number.*\(3,\) at \[0\], \(2,\)",
        ),
        ((np.ones(0), 1), ValueError, "same positive number"),
        ((1.0, 1), ValueError, "same positive number"),
    ],
)
def test_data_that_are_no_examples_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        saddle.mean_over_batches(loss, *arguments)
