import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxopt_course.nn._functional_view import functional_view
from jaxopt_course.nn._models import MLP


def network(seed=0, **options):
    return MLP(
        (3, 8, 2), normalization=nnx.BatchNorm, dropout_rate=0.5, rngs=nnx.Rngs(seed), **options
    )


INPUTS = np.linspace(-1.0, 2.0, 12, dtype=np.float32).reshape(4, 3)


def test_view_gives_what_the_module_gives():
    model = network()
    apply, params, state = functional_view(model)
    model.eval()
    np.testing.assert_array_equal(apply(params, state, INPUTS)[0], model(INPUTS))
    model.train()
    outputs, state = apply(params, state, INPUTS, train=True)
    np.testing.assert_array_equal(outputs, model(INPUTS))
    chex.assert_trees_all_equal(state, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param))))


def test_evaluation_leaves_the_state_and_training_moves_it():
    apply, params, state = functional_view(network())
    chex.assert_trees_all_equal(apply(params, state, INPUTS)[1], state)
    first, moved = apply(params, state, INPUTS, train=True)
    second, _ = apply(params, moved, INPUTS, train=True)
    mean = state["blocks"][0]["normalization"]["mean"]
    assert not np.array_equal(moved["blocks"][0]["normalization"]["mean"], mean)
    assert not np.array_equal(first, second), "dropout drew the same units twice"
    np.testing.assert_array_equal(first, apply(params, state, INPUTS, train=True)[0])


def test_view_leaves_the_module_as_it_is():
    model = network()
    before = nnx.to_pure_dict(nnx.state(model))
    apply, params, state = functional_view(model)
    apply(params, state, INPUTS, train=True)
    chex.assert_trees_all_equal(before, nnx.to_pure_dict(nnx.state(model)))


def test_views_of_equal_modules_are_equal_so_that_jit_compiles_once():
    assert functional_view(network(0)).apply == functional_view(network(1)).apply
    assert hash(functional_view(network(0)).apply) == hash(functional_view(network(1)).apply)
    assert functional_view(network()).apply != functional_view(network(activation=jnp.tanh)).apply


def test_a_module_with_an_unhashable_attribute_can_still_be_a_static_argument():
    model = nnx.Conv(1, 2, (3, 3), padding=[(1, 1), (1, 1)], rngs=nnx.Rngs(0))
    apply, params, state = functional_view(model)
    assert hash(apply) == hash(apply)
    outputs, _ = jax.jit(apply.__call__)(params, state, np.ones((1, 4, 4, 1), np.float32))
    assert outputs.shape == (1, 4, 4, 2)


def test_optax_and_second_derivatives_take_the_parameters():
    apply, params, state = functional_view(network())

    def fun(params):
        outputs, _ = apply(params, state, INPUTS, train=True)
        return jnp.mean(outputs**2)

    optimizer = optax.adam(0.1)
    gradients, product = jax.jvp(jax.grad(fun), (params,), (params,))
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    assert fun(optax.apply_updates(params, updates)) < fun(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(product, params)
    chex.assert_tree_all_finite(product)


def test_what_is_not_a_module_is_named():
    with pytest.raises(TypeError, match=r"model must be a flax\.nnx\.Module, got function"):
        functional_view(lambda x: x)


class Told(nnx.Module):
    """The usual port of a linen model: its call is told the mode and tells its layers."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.9, rngs=rngs)

    def run(self, x, train):
        x = self.norm(self.linear(x), use_running_average=not train)
        return self.dropout(x, deterministic=not train)


def told_by(call):
    return functional_view(type("ToldBy", (Told,), {"__call__": call})(nnx.Rngs(0)))


TOLD = {
    "train": lambda self, x, train=False: self.run(x, train),
    "training": lambda self, x, *, training: self.run(x, training),
    "deterministic": lambda self, x, deterministic=True: self.run(x, not deterministic),
    "use_running_average": lambda self, x, use_running_average=True: self.run(
        x, not use_running_average
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_call_that_takes_the_mode_is_told(name):
    apply, params, state = told_by(TOLD[name])
    evaluated, same = apply(params, state, INPUTS)
    trained, moved = apply(params, state, INPUTS, train=True)
    assert float((trained == 0).mean()) > 0.5
    assert not bool((evaluated == 0).any())
    chex.assert_trees_all_equal(same, state)
    assert bool((moved["norm"]["mean"] != 0).all())


def test_a_call_that_takes_an_unknown_mode_is_refused_by_name():
    for call, name in (
        (lambda self, x, is_training=False: x, "is_training"),
        (lambda self, x, inference=True: x, "inference"),
        (lambda self, x, *, rate: x, "rate"),
    ):
        with pytest.raises(TypeError, match=f"takes {name}"):
            told_by(call)


def test_other_options_of_a_call_keep_their_defaults():
    apply, params, state = told_by(lambda self, x, constrained=False, scale=2.0: scale * x)
    np.testing.assert_array_equal(apply(params, state, INPUTS)[0], 2 * INPUTS)


def test_an_integer_parameter_is_refused_by_its_path():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    model.count = nnx.Param(jnp.zeros(2, int))
    with pytest.raises(TypeError, match=r"nnx.Param count has int32"):
        functional_view(model)
