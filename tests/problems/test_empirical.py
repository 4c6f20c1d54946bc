"""The loss of networks on data: values, starts, what is compiled in, and coupled examples."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from experiments.lab import data
from jaxopt_course import problems, saddle
from jaxopt_course.nn import MLP, BatchNorm, functional_view


def _build(key):
    return MLP((4, 5, 3), rngs=nnx.Rngs(key))


def _data(examples=12):
    rng = np.random.default_rng(0)
    return rng.normal(size=(examples, 4)).astype(np.float32), rng.integers(3, size=examples)


class _Normalized(nnx.Module):
    """A linear map after batch normalization and before dropout."""

    def __init__(self, key, **norm):
        self.norm = BatchNorm(4, rngs=nnx.Rngs(0))
        self.linear = nnx.Linear(4, 3, rngs=nnx.Rngs(key))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))
        self.arguments = nnx.static(norm)

    def __call__(self, x):
        return self.dropout(self.linear(self.norm(x, **self.arguments)))


def test_it_is_the_mean_loss_of_real_digits():
    digits = data.load("digits").standardized().train
    x, y = digits.images[:200].reshape(200, -1), digits.labels[:200]
    problem = problems.empirical_loss(lambda key: MLP((64, 8, 10), rngs=nnx.Rngs(key)), x, y)
    apply, params, state = functional_view(MLP((64, 8, 10), rngs=nnx.Rngs(jax.random.key(3))))
    outputs, _ = jax.jit(apply)(params, state, x)
    outputs = np.asarray(outputs, float)
    losses = np.log(np.sum(np.exp(outputs), axis=1)) - outputs[np.arange(200), y]
    assert jax.jit(problem.fun)(params) == pytest.approx(np.mean(losses), rel=1e-5)
    start = problem.init(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, start, params)
    assert problem.name == "empirical-loss-MLP"


def test_every_key_draws_other_parameters():
    problem = problems.empirical_loss(_build, *_data())
    stacked = jax.jit(jax.vmap(problem.init))(jax.random.split(jax.random.key(2), 3))
    kernels = [leaf for leaf in jax.tree.leaves(stacked) if leaf.ndim == 3]
    assert len(kernels) == 2
    assert all(not np.allclose(kernel[0], kernel[1]) for kernel in kernels)
    assert len(set(jax.jit(jax.vmap(problem.fun))(stacked).tolist())) == 3


def test_a_module_is_taken_as_it_is_and_says_that_it_cannot_be_drawn_anew():
    model = _build(jax.random.key(0))
    problem = problems.empirical_loss(model, *_data())
    params = functional_view(model).params
    drawn = problems.empirical_loss(_build, *_data())
    assert problem.fun(params) == drawn.fun(params)
    with pytest.raises(TypeError, match="give empirical_loss a function from a key to a module"):
        problem.init(jax.random.key(0))


def test_the_loss_may_be_any_of_outputs_and_labels(x64):
    x, _ = _data()
    targets = np.random.default_rng(1).normal(size=(12, 3))
    params = functional_view(_build(jax.random.key(0))).params
    values = []
    for loss in (optax.squared_error, lambda out, y: jnp.mean(optax.squared_error(out, y))):
        fun = problems.empirical_loss(_build, x, targets, loss=loss).fun
        values.append(float(jax.jit(fun)(params)))
    assert values[0] == pytest.approx(values[1], rel=1e-13)


def test_examples_are_an_argument_of_what_is_compiled_not_a_part():
    """Data closed over is compiled in; as leaves of `fun` it is not, and programs are shared."""
    traces = []

    @jax.jit
    def slope(fun, params):
        traces.append(fun)
        return jax.grad(fun)(params)

    x, y = _data(500)
    first = problems.empirical_loss(_build, x, y)
    second = problems.empirical_loss(_build, 2 * x, y)
    params = first.init(jax.random.key(0))
    gradients = [slope(problem.fun, params) for problem in (first, second)]
    assert len(traces) == 1
    assert not np.allclose(*[jax.tree.leaves(g)[0] for g in gradients])
    closed = jax.make_jaxpr(first.fun)(params).consts
    as_argument = jax.make_jaxpr(lambda fun, p: fun(p))(first.fun, params).consts
    assert sum(np.size(c) for c in closed) >= x.size
    assert sum(np.size(c) for c in as_argument) == 0


def test_the_same_loss_on_other_examples_is_at_hand():
    x, y = _data()
    fun = problems.empirical_loss(_build, x, y).fun
    params = functional_view(_build(jax.random.key(0))).params
    compiled = jax.jit(fun.func)
    parts = [
        float(compiled(params, **{**fun.keywords, "inputs": x[part], "labels": y[part]}))
        for part in (slice(0, 6), slice(6, 12))
    ]
    assert fun(params) == pytest.approx(sum(parts) / 2, rel=1e-6)


def test_the_loss_can_be_taken_in_batches_as_the_module_says():
    problem = problems.empirical_loss(_build, *_data())
    params = problem.init(jax.random.key(0))
    loss, examples = problem.fun.func, dict(problem.fun.keywords)
    batch_loss = jax.tree_util.Partial(
        lambda params, batch, state: loss(params, state=state, **batch), state=examples.pop("state")
    )
    fun = saddle.mean_over_batches(batch_loss, examples, batch_size=5)
    in_batches, at_once = (jax.jit(lambda f, p: f(p))(f, params) for f in (fun, problem.fun))
    np.testing.assert_allclose(in_batches, at_once, rtol=1e-6)


def test_batch_normalization_uses_running_statistics_and_dropout_is_off():
    x, y = _data()
    model = _Normalized(jax.random.key(0))
    model.norm.mean[...] = 1.0
    problem = problems.empirical_loss(model, x, y)
    params = functional_view(model).params
    outputs = model.linear((x - 1) / np.sqrt(1 + model.norm.epsilon))
    expected = optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()
    assert problem.fun(params) == pytest.approx(float(expected), rel=1e-5)


def test_a_model_that_normalizes_by_the_batch_all_the_same_is_refused():
    model = _Normalized(jax.random.key(0), use_running_average=False)
    with pytest.raises(ValueError, match="batch normalization in training mode"):
        problems.empirical_loss(model, *_data())


def test_training_mode_warns_that_the_examples_are_coupled():
    x, y = _data()
    with pytest.warns(UserWarning, match="the examples depend on one another"):
        problem = problems.empirical_loss(_Normalized, x, y, train=True)
    params = problem.init(jax.random.key(0))
    # Invariant under an affine change of every input: the statistics are those of the batch.
    shifted = problem.fun.func(params, **{**problem.fun.keywords, "inputs": 3 * x + 1})
    assert shifted == pytest.approx(float(problem.fun(params)), rel=1e-3)


def test_training_mode_of_a_model_without_coupling_does_not_warn():
    x, y = _data()
    trained = problems.empirical_loss(_build, x, y, train=True)
    params = trained.init(jax.random.key(0))
    assert trained.fun(params) == problems.empirical_loss(_build, x, y).fun(params)


def test_empirical_loss_names_the_argument_that_is_wrong():
    x, y = _data()
    with pytest.raises(ValueError, match=r"got shapes \(12, 4\) and \(11,\)"):
        problems.empirical_loss(_build, x, y[1:])
    with pytest.raises(TypeError, match=r"model must be a flax\.nnx\.Module, or a function"):
        problems.empirical_loss("mlp", x, y)
    with pytest.raises(TypeError, match=r"model must be a flax\.nnx\.Module, got float"):
        problems.empirical_loss(lambda key: 1.0, x, y)
    with pytest.raises(TypeError, match="loss must return floating numbers"):
        problems.empirical_loss(_build, x, y, loss=lambda out, y: out.argmax(-1) - y)
    with pytest.raises(TypeError, match="key must be a typed key"):
        problems.empirical_loss(_build, x, y).init(0)
