"""Functions are told apart by what they compute; what is wrong with an objective is named."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxopt_course import _tracing as tracing
from jaxopt_course import problems, saddle
from jaxopt_course.nn import _normalization as normalization
from jaxopt_course.nn import functional_view

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


def test_a_second_trace_is_made_unless_an_earlier_call_had_the_same():
    traces = []

    def made(a, scale=1.0):
        def fun(x):
            traces.append(1)
            return scale * jnp.sum(a * x)

        return fun

    def counted(fun):
        traces.clear()
        found = tracing.trace_objective("fun", fun, X)
        return len(traces), float(found(X))

    large = jnp.ones(2**15).at[0].set(3.0)
    of_large = lambda x: jnp.sum(x) + large[0] + 0 * len(traces)  # noqa: E731
    value = float(jnp.sum(X * X))
    assert counted(made(X)) == (2, value)
    assert counted(made(X)) == (1, value)
    assert counted(made(2 * X)) == (1, 2 * value)  # Other data, held before it was traced.
    assert counted(made(2 * np.asarray(X))) == (2, 2 * value)  # These could have been drawn into.
    assert counted(made(2 * np.asarray(X))) == (1, 2 * value)
    assert counted(made(3 * np.asarray(X))) == (2, 3 * value)
    assert counted(made(X, scale=2.0)) == (2, 2 * value)
    assert counted(made(X[:1])) == (2, float(jnp.sum(X)))
    for _ in range(2):
        assert float(tracing.trace_objective("fun", of_large, X)(X)) == 9.0


def test_what_begins_to_draw_is_refused_though_an_earlier_call_did_not():
    generator, buffer = np.random.default_rng(0), np.ones(3, np.float32)
    drawn = {"fixed": lambda: X, "list": None, "array": None, "buffer": None}
    drawn["list"] = lambda: generator.normal(size=3).tolist()
    drawn["array"] = lambda: jnp.asarray(generator.normal(size=3))
    drawn["buffer"] = lambda: np.copyto(buffer, generator.normal(size=3)) or buffer
    how = "fixed"
    held = X

    def fun(x):
        nonlocal held
        held = jnp.asarray(drawn[how]())
        return jnp.sum(held * x)

    for name in ("list", "array", "buffer"):
        how = "fixed"
        for _ in range(2):
            tracing.trace_objective("fun", fun, X)
        how = name
        with pytest.raises(ValueError, match="fun must be deterministic, but two evaluations at x"):
            tracing.trace_objective("fun", fun, X)


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


# Objectives whose curvature would not mean what it seems to.

PARAMS = {"a": jnp.ones(2), "b": jnp.zeros(())}


@pytest.mark.parametrize(
    ("fun", "message"),
    [
        pytest.param(lambda x: x["a"] ** 2, r"must return one real .*shape \(2,\)", id="vector"),
        pytest.param(lambda x: x, "fun must return one real number", id="tree"),
        pytest.param(lambda x: 1, "fun must return one real number", id="integer"),
        pytest.param(3.0, "fun must be a function of the parameters, got 3.0", id="number"),
    ],
)
def test_an_objective_that_is_no_real_scalar_is_named(fun, message):
    with pytest.raises(TypeError, match=message):
        saddle.hvp(fun, PARAMS, PARAMS)


def test_every_way_to_curvature_inspects_its_objective():
    key = jax.random.key(0)
    with pytest.raises(TypeError, match=r"loss\(model\) must return one real number"):
        saddle.gauss_newton_product(lambda x: x, lambda x: x["a"], PARAMS, PARAMS)
    for run in (
        lambda fun: saddle.extreme_eigenpairs(fun, PARAMS, key=key),
        lambda fun: saddle.trace(fun, PARAMS, num_probes=2, key=key),
        lambda fun: saddle.diagonal(fun, PARAMS, num_probes=2, key=key),
        lambda fun: saddle.spectral_density(fun, PARAMS, num_steps=2, num_probes=2, key=key),
    ):
        with pytest.raises(TypeError, match="fun must return one real number"):
            run(lambda x: x["a"])


def by_numpy():
    rng = np.random.default_rng(0)
    return lambda x: jnp.sum(x["a"] ** 2) * rng.standard_normal()


def by_fresh_keys():
    seeds = itertools.count()
    return lambda x: jnp.vdot(x["a"], jax.random.normal(jax.random.key(next(seeds)), (2,)))


def by_callback():
    rng = np.random.default_rng(0)
    shape = jax.ShapeDtypeStruct((), jnp.float32)

    def noise():
        return np.float32(rng.standard_normal())

    return lambda x: jnp.sum(x["a"]) + jax.lax.stop_gradient(jax.pure_callback(noise, shape))


def inside_a_scan():
    rng = np.random.default_rng(0)

    def fun(x):
        minibatch = rng.permutation(100)[:10].astype(np.float32)
        return jax.lax.scan(lambda s, y: (s + jnp.sum((x["a"] - y) ** 2), None), 0.0, minibatch)[0]

    return fun


@pytest.mark.parametrize("make", [by_numpy, by_fresh_keys, by_callback, inside_a_scan])
def test_an_objective_whose_evaluations_differ_is_named(make):
    with pytest.raises(ValueError, match="fun must be deterministic, but two evaluations"):
        saddle.hvp(make(), PARAMS, PARAMS)


def test_no_point_of_a_random_objective_is_classified():
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS)
    for run in (
        lambda fun: saddle.classify(fun, PARAMS),
        lambda fun: saddle.min_eigenvalue(fun, PARAMS),
        lambda fun: saddle.find(fun, starts),
    ):
        with pytest.raises(ValueError, match="fun must be deterministic, but two evaluations"):
            run(by_numpy())


def test_fixed_randomness_and_callbacks_that_repeat_themselves_pass():
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    noise = jax.random.normal(jax.random.key(0), (2,))
    saddle.hvp(
        lambda x: jnp.vdot(x["a"], noise + jax.random.normal(jax.random.key(1), (2,))),
        PARAMS,
        PARAMS,
    )
    saddle.hvp(
        lambda x: jnp.sum(x["a"]) * jax.pure_callback(lambda: np.float32(2.0), shape),
        PARAMS,
        PARAMS,
    )
    # Traces of `relu` print addresses in memory, which differ and mean nothing.
    saddle.hvp(lambda x: jnp.sum(jax.nn.relu(x["a"])), PARAMS, PARAMS)


def model(kind):
    class Model(nnx.Module):
        def __init__(self):
            self.dense = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
            self.norm = kind(4, rngs=nnx.Rngs(1))

        def __call__(self, x):
            return self.norm(self.dense(x))

    return functional_view(Model())


@pytest.mark.parametrize("kind", [nnx.BatchNorm, normalization.BatchNorm], ids=["nnx", "ours"])
def test_batch_normalization_in_training_mode_is_warned_of(kind):
    apply, params, state = model(kind)
    inputs = jnp.arange(15.0).reshape(5, 3)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)

    def run(train):
        fun = lambda p: jnp.sum(apply(p, state, inputs, train=train)[0] ** 3)  # noqa: E731
        # The objective may be hidden in a scan, and the caller in a jit.
        batched = saddle.mean_over_batches(
            lambda p, batch: jnp.sum(apply(p, state, batch, train=train)[0] ** 3), inputs, 5
        )
        return [
            lambda: saddle.hvp(fun, params, params),
            lambda: jax.jit(lambda p: saddle.hvp(batched, p, p))(params),
            # Nothing but the tracing of it, which is where the warning comes from.
            lambda: jax.eval_shape(lambda p: saddle.classify(fun, p), params),
            lambda: jax.eval_shape(lambda p: jax.vmap(partial(saddle.classify, fun))(p), batch),
            lambda: jax.eval_shape(lambda p: saddle.find(fun, p), batch),
        ]

    for call in run(train=True):
        with pytest.warns(UserWarning, match="fun normalizes by the statistics") as warned:
            call()
        assert len(warned) == 1
    for call in run(train=False):  # where a warning would be an error
        call()


def test_layer_normalization_is_not_mistaken_for_batch_normalization():
    apply, params, state = model(nnx.LayerNorm)
    inputs = jnp.arange(15.0).reshape(5, 3)
    saddle.hvp(lambda p: jnp.sum(apply(p, state, inputs, train=True)[0] ** 3), params, params)
