"""Functions are told apart by what they compute, and by nothing else."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _tracing as tracing
from jaxopt_course import problems

X = jnp.arange(1.0, 4.0)


def equations(fun, *examples):
    return tracing.trace_once(fun, *(examples or (X,))).equations


def test_arrays_are_leaves_wherever_they_are_closed_over():
    def fun(a):
        inner = jax.jit(lambda x: x * a)
        return lambda x: jnp.sum(inner(inner(x))) + jnp.asarray(a)[0]

    for make in (jnp.asarray, np.asarray):
        one, other = (tracing.trace_once(fun(make(X * k)), X) for k in (1, 2))
        assert jax.tree.structure(one) == jax.tree.structure(other)
        for traced, k in ((one, 1), (other, 2)):
            np.testing.assert_allclose(traced(X), fun(X * k)(X), rtol=1e-6)
            np.testing.assert_allclose(jax.grad(traced)(X), jax.grad(fun(X * k))(X), rtol=1e-6)
    assert tracing.trace_once(fun(X), X).digest() != tracing.trace_once(fun(2 * X), X).digest()


def test_callbacks_never_share():
    def fun(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((), x.dtype), jnp.sum(x))

    assert equations(fun) != equations(fun)
    traced = tracing.trace_objective("fun", fun, X)
    assert traced(X) == jnp.sum(X)


def test_what_is_mapped_or_differentiated_outside_is_followed():
    def of(a):
        return tracing.trace_objective("fun", lambda x: jnp.sum(a * x**2), X)(X)

    np.testing.assert_allclose(jax.vmap(of)(X), X * jnp.sum(X**2))
    np.testing.assert_allclose(jax.jit(jax.grad(of))(2.0), jnp.sum(X**2))


def test_settings_are_part_of_what_is_computed():
    fun = problems.octopus(dimension=3).fun
    narrow = tracing.trace("fun", fun, X)
    with jax.enable_x64(True):
        wide = tracing.trace("fun", fun, np.arange(3.0))
    assert (narrow.result().dtype, wide.result().dtype) == (jnp.float32, jnp.float64)
