"""What fuzzing found, one line a mistake: each is now refused by the name of the argument."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxopt_course import nn, problems, saddle, theory, training, transforms
from jaxopt_course._checks import check_inexact_dtype

KEY = jax.random.key(0)


def first_step(rule, params, grads):
    return rule.update(grads, rule.init(params), params, value_fn=lambda x: jnp.sum(x**2))


MISTAKES = {
    # Numbers that are none passed unseen and failed much later, or broadcast.
    "learning_rate must be a real number, got 'fast'": lambda: transforms.adam("fast"),
    "learning_rate must be one number": lambda: transforms.adam(np.ones(3)),
    "b1 must be a real number, got None": lambda: transforms.adam(0.1, b1=None),
    "interval must fit into 32 bits": lambda: transforms.perturb_at_saddle(1.0, 1.0, 2**40, KEY),
    "mu_dtype must be a floating dtype": lambda: transforms.adam(0.1, mu_dtype="int8"),
    "key must be a typed key": lambda: transforms.saddle_free_newton(key=0),
    # Gradients unlike the parameters.
    "updates must have the structure and shapes": lambda: first_step(
        transforms.adam(0.1), jnp.ones(3), jnp.ones(2)
    ),
    "updates must have the structure of params": lambda: first_step(
        transforms.newton(), jnp.ones(3), [jnp.ones(3)]
    ),
    "value_fn must be a function": lambda: transforms.newton().update(
        jnp.ones(3), transforms.newton().init(jnp.ones(3)), jnp.ones(3), value_fn=3
    ),
    "optimizer must be a GradientTransformation": lambda: transforms.make_step(jnp.sum, None),
    # Formulas.
    "smoothness must be in the range": lambda: theory.gradient_norm_bound(
        1, smoothness=10**400, function_gap=1.0
    ),
    "shapes of the arguments must broadcast": lambda: theory.gradient_norm_bound(
        1, smoothness=np.ones(3), function_gap=np.ones(2)
    ),
    # Problems.
    "eigenvalues must be an array of real numbers": lambda: problems.quadratic([[1.0], [1.0, 2.0]]),
    "weights must be an array of real numbers": lambda: problems.tensor_component([None]),
    "widths must be a sequence of integers": lambda: problems.linear_network(
        [1.0], widths=(1, 2.5, 1)
    ),
    "the parameters of rosenbrock": lambda: problems.rosenbrock().fun([1.0, 2.0]),
    "must have a real floating dtype": lambda: problems.himmelblau().fun(jnp.zeros(2, int)),
    # Curvature and symmetries.
    "v must have the structure of x": lambda: saddle.hvp(jnp.sum, jnp.ones(3), [jnp.ones(3)]),
    "fun must be a function": lambda: saddle.min_eigenvalue(3, jnp.ones(3)),
    "incoming must be a matrix": lambda: saddle.rescaling_null_space(jnp.ones(()), jnp.ones(3)),
    "weights must be two matrices": lambda: saddle.change_of_basis_null_space(None),
    "loss must be a function": lambda: saddle.mean_over_batches(None, jnp.ones((4, 2)), 2),
    # Networks and training.
    "num_features must be an integer": lambda: nn.BatchNorm(2.5, rngs=nnx.Rngs(0)),
    "rngs must be a flax.nnx.Rngs": lambda: nn.MLP((2, 3), rngs=None),
    "x must hold inputs of size 2": lambda: nn.MLP((2, 3), rngs=nnx.Rngs(0))(jnp.ones((4, 3))),
    "x must be a real array": lambda: nn.LayerNorm(3, rngs=nnx.Rngs(0))([1.0]),
    "model must be a flax.nnx.Module": lambda: nn.lsuv(None, jnp.ones(3), key=KEY),
    "shape must be a sequence of integers": lambda: nn.kaiming_normal()(KEY, (None,)),
    "padding must be": lambda: nn.im2col_conv_general_dilated(
        jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), (1, 1), ""
    ),
    "outputs must have the shape of labels": lambda: training.correct(jnp.ones(()), jnp.ones(3)),
    "rate must be a list": lambda: training.grid(jax.random.split(KEY), rate=3.0),
}  # fmt: skip


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_named(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        MISTAKES[message]()
    assert message in str(caught.value)


LARGE = np.arange(3000.0).reshape(300, 10)
TREE = {f"layer{i}": {"kernel": LARGE, "bias": LARGE} for i in range(40)}
DUMPS = {
    "fun must be a function": lambda: saddle.classify(LARGE, jnp.ones(3)),
    "optimizer must be": lambda: saddle.escape(jnp.sum, TREE, jnp.ones((3, 2)), max_steps=1),
    "key must be a typed key": lambda: transforms.saddle_free_newton(key=TREE),
    "v must have the structure of x, got nothing at ['layer1']": lambda: saddle.hvp(
        lambda x: jnp.sum(x["layer0"]["bias"]), TREE, {"layer0": TREE["layer0"]}
    ),
    "smoothness must be positive, got 0.0 at [0][0]": lambda: theory.gradient_norm_bound(
        1, smoothness=LARGE, function_gap=1.0
    ),
    "eigenvalues must be": lambda: problems.quadratic([1.0] * 1000 + [np.nan]),
    "rate must be a list": lambda: training.grid(jax.random.split(KEY), rate=LARGE),
    "labels must be a real array": lambda: training.correct(jnp.ones(3), [1] * 1000),
    "layer_instance must be": lambda: nn.WeightNorm(TREE, rngs=nnx.Rngs(0)),
    "null_space must be tangent vectors": lambda: saddle.classify(
        lambda x: jnp.sum(x["layer0"]["bias"]), TREE, null_space=LARGE, method="lanczos"
    ),
    "outgoing must be a matrix": lambda: saddle.rescaling_null_space(
        jnp.ones((2, 2)), np.ones((2, 2, 500))
    ),
}


@pytest.mark.parametrize("message", DUMPS)
def test_no_message_holds_an_array_or_a_tree_in_full(message):
    with pytest.raises((TypeError, ValueError)) as caught:
        DUMPS[message]()
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


class Net(nnx.Module):
    def __init__(self, width, rngs):
        self.layer = nnx.Linear(2, width, rngs=rngs)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (Net, "got the class Net of (width, rngs): give lambda key: Net(..., rngs=nnx.Rngs(key))"),
        (lambda key: Net(2, key), "here the key itself was used as one"),
        (lambda key: nn.MLP((2, 2), rngs=key), "nnx.Rngs(key) makes it of a key"),
        (Net(2, nnx.Rngs(0)), "got a network: lambda key: Net(..., rngs=nnx.Rngs(key))"),
        (linen.Dense(2), "got a module of flax.linen"),
    ],
)
def test_what_does_not_build_a_network_from_a_key_is_told_how(build, said):
    data = jnp.ones((4, 2)), jnp.zeros(4, int)
    with pytest.raises(TypeError, match="must be a") as caught:
        training.fit(build, optax.sgd(0.1), data, jax.random.split(KEY), epochs=1, batch_size=2)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("starts", "said"),
    [
        (jnp.zeros(5), "starts[None] makes a batch of one run"),
        ({"x": jnp.zeros(5)}, "jax.tree.map(lambda leaf: leaf[None], starts) makes a batch"),
        ([jnp.zeros(5)] * 3, "jnp.stack(starts) makes a batch"),
        ([[0.0, 1.0], [1.0, 2.0]], "jnp.array(starts) makes one"),
        (jnp.zeros(()), "jax.tree.map(lambda leaf: leaf[None], starts) makes a batch"),
    ],
)
def test_starts_that_are_no_batch_are_told_how_to_make_one(starts, said):
    def fun(x):
        return jnp.sum(jnp.asarray(x["x"] if isinstance(x, dict) else x[4])[2:])

    for call in (
        lambda: saddle.escape(fun, optax.sgd(0.1), starts, max_steps=3),
        lambda: saddle.find(fun, starts),
    ):
        with pytest.raises((ValueError, IndexError)) as caught:
            call()
        assert said in " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_formulas_overflow_to_infinity_instead_of_failing():
    decrease = theory.guaranteed_decrease(1e200, learning_rate=0.1, smoothness=1.0)
    assert decrease == float("inf")
    steps = theory.stationarity_iterations(smoothness=1.0, function_gap=1.0, epsilon=1e-200)
    assert steps == float("inf")


def test_second_order_rules_leave_trees_without_numbers_as_they_are():
    params = {"a": jnp.zeros((0,)), "b": jnp.zeros((2, 0))}
    for rule in (transforms.newton(), transforms.cubic_newton(1.0), transforms.trust_region()):
        updates, _ = rule.update(
            params, rule.init(params), params, value_fn=lambda x: jnp.sum(x["a"])
        )
        assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)


def test_initializers_draw_nothing_where_there_is_nothing_to_draw():
    assert nn.xavier_normal()(KEY, (0, 3)).shape == (0, 3)


def test_numbers_of_every_kind_pass():
    for number in (0.1, np.float64(0.1), jnp.float32(0.1), jnp.asarray(0.1), jnp.bfloat16(0.1)):
        updates, _ = first_step(transforms.adam(number), jnp.ones(3), jnp.ones(3))
        assert bool(jnp.isfinite(updates).all())
    injected = optax.inject_hyperparams(transforms.adam)(0.1)
    assert bool(jnp.isfinite(first_step(injected, jnp.ones(3), jnp.ones(3))[0]).all())


def test_dtypes_of_every_kind_pass():
    names = ("float32", "bfloat16", float, np.float16, np.dtype("float64"), jnp.bfloat16)
    for dtype in names:
        check_inexact_dtype(dtype=dtype)
