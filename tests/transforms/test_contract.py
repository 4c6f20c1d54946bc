"""What every optimizer of the package promises, whatever its rule: one list, one test a promise.

A new optimizer is one line below. Where a promise is about structures, shapes and dtypes it is
checked without computing anything, by `jax.eval_shape`; where it is about numbers, the tests share
one compiled step a case.
"""

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxopt_course import transforms


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """An optimizer: a function, its arguments, and which of them no hyperparameter can replace."""

    factory: Callable[..., optax.GradientTransformation]
    arguments: dict[str, Any]
    static: tuple[str, ...] = ()

    def make(self, **changes):
        return self.factory(**(self.arguments | changes))

    @cached_property
    def first_updates(self):
        """The updates of the first step as a compiled function of the parameters."""
        return jax.jit(lambda params: first_step(self.make(), params)[0])

    def __str__(self):
        options = [f"{k}={v}" for k, v in self.arguments.items() if isinstance(v, str | bool)]
        return "-".join([self.factory.__name__, *options])


# Of noise that keeps every promise about numbers, and is drawn at the starts below.
NOISE = {"radius": 1e-3, "gradient_threshold": 1e2, "interval": 10, "key": jax.random.key(0)}

# Rules that need nothing but gradients.
FIRST_ORDER = [
    Case(transforms.gradient_descent, {"learning_rate": 0.05}),
    Case(transforms.heavy_ball, {"learning_rate": 0.05}),
    Case(transforms.heavy_ball, {"learning_rate": 0.05, "learning_rate_in_velocity": True}),
    Case(transforms.nesterov, {"learning_rate": 0.05}),
    Case(transforms.nesterov, {"learning_rate": 0.05, "learning_rate_in_velocity": False}),
    Case(
        transforms.nesterov,
        {"learning_rate": 0.05, "learning_rate_in_velocity": False, "look_ahead": "raw"},
    ),
    Case(transforms.adagrad, {"learning_rate": 0.05}),
    Case(transforms.adagrad, {"learning_rate": 1e-3, "eps": 0.1, "accumulate": "previous"}),
    Case(transforms.rmsprop, {"learning_rate": 0.01}),
    Case(
        transforms.rmsprop,
        # The first corrected variance is 0 up to rounding: its guard must not be.
        {"learning_rate": 0.01, "eps": 0.1, "centered": True, "bias_correction": True},
    ),
    Case(transforms.rmsprop, {"learning_rate": 0.01, "momentum": 0.5, "nesterov": True}),
    Case(transforms.rmsprop, {"learning_rate": 1e-3, "eps": 0.1, "accumulate": "previous"}),
    Case(transforms.adadelta, {}),
    Case(transforms.adam, {"learning_rate": 0.05}),
    Case(transforms.adam, {"learning_rate": 0.01, "bias_correction": False}),
    Case(transforms.adam, {"learning_rate": 0.05, "nesterov": True}),
    Case(
        transforms.noisy_gradient_descent,
        {"learning_rate": 0.05, "scale": 1e-2, "key": jax.random.key(0)},
    ),
    Case(transforms.perturbed_gradient_descent, {"learning_rate": 0.05, **NOISE}),
]

# Rules that look at the objective too, with every solver once; `test_second_order.py` has them all.
CURVATURE = [
    Case(transforms.newton, {"learning_rate": 0.5}),
    Case(transforms.newton, {"learning_rate": 0.5, "solver": "cg"}),
    Case(
        transforms.saddle_free_newton,
        {"learning_rate": 0.5, "solver": "lanczos", "subspace_size": 8},
        static=("subspace_size",),
    ),
    Case(transforms.cubic_newton, {"hessian_lipschitz": 3.0, "learning_rate": 0.5}),
    Case(transforms.trust_region, {"solver": "cg"}),
    Case(
        transforms.perturbed_accelerated_gradient_descent,
        {"learning_rate": 0.05, "momentum": 0.2, "gamma": 0.8, "nce_radius": 0.1, **NOISE},
    ),
]

CASES = FIRST_ORDER + CURVATURE

# Links of a chain, which promise the same except that they step.
LINKS = [
    Case(transforms.clip_by_value, {"max_delta": 0.1}),
    Case(transforms.clip_by_global_norm, {"max_norm": 0.1}),
    Case(transforms.clip_by_leaf_norm, {"max_norm": 0.1}),
    Case(transforms.scale_by_heavy_ball, {}),
    Case(transforms.scale_by_nesterov, {}),
    Case(transforms.scale_by_adagrad, {}),
    Case(transforms.scale_by_rmsprop, {}),
    Case(transforms.scale_by_adadelta, {}),
    Case(transforms.scale_by_adadelta, {"update_average": "norm"}),
    Case(transforms.scale_by_adam, {}),
    Case(transforms.scale_by_newton, {}),
    Case(transforms.scale_by_saddle_free_newton, {}),
    Case(transforms.scale_by_cubic_newton, {"hessian_lipschitz": 3.0, "solver": "lanczos"}),
    Case(transforms.inject_noise, {"scale": 1e-2, "key": jax.random.key(0)}),
    Case(transforms.perturb_at_saddle, NOISE),
    Case(
        transforms.escape_negative_curvature,
        {**NOISE, "subspace_size": 4, "max_restarts": 1},
        static=("subspace_size", "max_restarts"),
    ),
    Case(
        transforms.neon2,
        {
            **NOISE,
            "smoothness": 3.0,
            "curvature": 0.3,
            "start_radius": 1e-2,
            "end_radius": 0.1,
            "num_steps": 20,
        },
    ),
]

EVERY_OPTIMIZER = pytest.mark.parametrize("case", CASES, ids=str)
EVERY_CASE = pytest.mark.parametrize("case", CASES + LINKS, ids=str)
TAKES_RATE = [case for case in CASES if "learning_rate" in case.arguments]


def objective(params):
    """A rippled bowl over any tree of real leaves, also one without leaves."""
    bowls = [jnp.sum(leaf**2 + 0.1 * jnp.cos(3 * leaf)) for leaf in jax.tree.leaves(params)]
    return sum(bowls, start=jnp.zeros([]))


def start(dtype=jnp.float32):
    return {
        "matrix": jnp.linspace(-1, 1, 16).reshape(8, 2).astype(dtype),
        "rest": [jnp.linspace(0.5, 2, 3).astype(dtype), jnp.asarray(-0.7, dtype)],
    }


def step(optimizer, params, state, **unexpected):
    """One step, called as every optimizer may be called."""
    update = optax.with_extra_args_support(optimizer).update
    value, grads = jax.value_and_grad(objective)(params)
    fun = transforms.fill_masked(objective, params)
    updates, state = update(
        grads, state, params, value=value, grad=grads, value_fn=fun, **unexpected
    )
    return updates, state


def first_step(optimizer, params):
    return step(optimizer, params, optimizer.init(params))


def assert_same_types(actual, expected):
    """Same structure, shapes and dtypes; arrays or `ShapeDtypeStruct`s."""
    chex.assert_trees_all_equal_structs(actual, expected)
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)


@EVERY_CASE
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_updates_and_state_keep_structure_shapes_and_dtypes(case, dtype):
    params = jax.eval_shape(lambda: start(dtype))
    optimizer = case.make()
    state = jax.eval_shape(optimizer.init, params)
    updates, after = jax.eval_shape(partial(step, optimizer), params, state)
    assert_same_types(updates, params)
    assert_same_types(after, state)


@EVERY_CASE
def test_float64_stays_float64_and_float32_beside_it_float32(x64, case):
    params = jax.eval_shape(lambda: {"double": start(jnp.float64), "single": start(jnp.float32)})
    optimizer = case.make()
    state = jax.eval_shape(optimizer.init, params)
    updates, after = jax.eval_shape(partial(step, optimizer), params, state)
    assert_same_types(updates, params)
    assert_same_types(after, state)


@EVERY_OPTIMIZER
def test_unexpected_extra_arguments_are_ignored(case):
    optimizer = case.make()
    assert isinstance(optimizer, optax.GradientTransformationExtraArgs)
    state = jax.eval_shape(optimizer.init, start())
    updates, _ = jax.eval_shape(partial(step, optimizer, unexpected=1), start(), state)
    assert_same_types(updates, jax.eval_shape(start))


@EVERY_CASE
def test_shapes_without_values_initialise_and_so_does_a_tree_without_leaves(case):
    optimizer = case.make()
    shapes = jax.eval_shape(start)
    assert_same_types(jax.eval_shape(lambda: optimizer.init(shapes)), optimizer.init(start()))
    for empty in ({}, (), {"layer": []}):
        updates, _ = first_step(optimizer, empty)
        assert updates == empty


@EVERY_CASE
def test_none_leaves_stay_none(case):
    params = {"a": start(), "b": None}
    updates, _ = jax.eval_shape(partial(first_step, case.make()), params)
    assert_same_types(updates, jax.eval_shape(lambda: params))


@EVERY_CASE
def test_the_state_can_be_mapped_where_it_is_like_the_parameters(case):
    optimizer = case.make()
    state = optimizer.init(start())
    doubled = optax.tree.map_params(optimizer, lambda leaf: leaf + leaf, state)
    assert_same_types(doubled, state)


@EVERY_CASE
def test_wrappers_of_optax_take_it(case):
    optimizer = case.make()
    every_second = optax.MultiSteps(optimizer, 2)
    for wrapped in (
        optax.chain(optax.identity(), optimizer),
        optax.masked(optimizer, {"matrix": True, "rest": False}),
        # Not its gradient_transformation(), which drops the extra arguments (optax 0.2.8).
        optax.GradientTransformationExtraArgs(every_second.init, every_second.update),
        optax.apply_if_finite(optimizer, 3),
        optax.partition({"a": optimizer, "b": optax.sgd(0.1)}, {"matrix": "a", "rest": "b"}),
    ):
        state = jax.eval_shape(wrapped.init, start())
        updates, after = jax.eval_shape(partial(step, wrapped), start(), state)
        assert_same_types(updates, jax.eval_shape(start))
        assert_same_types(after, state)


def coupled(params):
    """A bowl whose every leaf changes the derivatives by all others, not linearly."""
    leaves = jax.tree.leaves(params)
    spread = sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves)
    return sum(jnp.sum(leaf**2) for leaf in leaves) + jnp.sin(spread) + 0.1 * spread**2


@EVERY_CASE
def test_masked_it_takes_the_step_of_the_objective_with_the_other_leaves_held(case):
    """`value_fn` has the frozen leaves in it; whether noise is due, the free gradient says."""
    params, optimizer = start(), case.make()
    free = {"matrix": params["matrix"]}
    masks = {"matrix": True, "rest": False}
    labels = {"matrix": "a", "rest": "b"}
    wrappers = {
        "masked": optax.masked(optimizer, masks),
        "partition": optax.partition({"a": optimizer, "b": optax.set_to_zero()}, labels),
    }

    def update(rule, fun, params):
        value, grads = jax.value_and_grad(fun)(params)
        rule = transforms.adapt(rule)
        arguments = {"value": value, "grad": grads, "value_fn": fun}
        return rule.update(grads, rule.init(params), params, **arguments)[0]["matrix"]

    @jax.jit
    def both(params, free):
        held = update(optimizer, lambda free: coupled({**params, **free}), free)
        return held, {name: update(rule, coupled, params) for name, rule in wrappers.items()}

    # In a case on which rules with a threshold act, too: the frozen leaves' gradient is far above.
    params["rest"] = [jnp.full(3, 1e3), jnp.asarray(-0.7)]
    held, found = both(params, free)
    for name in wrappers:
        np.testing.assert_allclose(found[name], held, rtol=1e-4, atol=1e-6, err_msg=name)


@EVERY_CASE
def test_injected_hyperparameters_give_the_same_step(case):
    injected = optax.inject_hyperparams(case.factory, static_args=case.static)(**case.arguments)
    updates, _ = jax.jit(partial(first_step, injected))(start())
    expected = case.first_updates(start())
    chex.assert_trees_all_close(updates, expected, rtol=1e-4, atol=1e-6)


@EVERY_CASE
def test_the_state_has_one_structure_whether_numbers_are_traced_or_not(case):
    """A number that is 0 or 1 now can be another after a step of `inject_hyperparams`."""
    injected = optax.inject_hyperparams(case.factory, static_args=case.static)(**case.arguments)
    traced = jax.eval_shape(injected.init, start())
    chex.assert_trees_all_equal_structs(traced.inner_state, case.make().init(start()))


@pytest.mark.parametrize("case", TAKES_RATE, ids=str)
def test_a_constant_schedule_is_its_number(case):
    rate = case.arguments["learning_rate"]
    optimizer = case.make(learning_rate=lambda count: rate + 0 * count)
    scheduled, _ = jax.jit(partial(first_step, optimizer))(start())
    chex.assert_trees_all_close(scheduled, case.first_updates(start()), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", TAKES_RATE, ids=str)
def test_a_sweep_over_rates_is_one_vmap(case):
    rates = jnp.array([0.5, 1.0]) * case.arguments["learning_rate"]
    sweep = jax.vmap(lambda rate: first_step(case.make(learning_rate=rate), start())[0])
    last = jax.tree.map(lambda leaf: leaf[1], jax.jit(sweep)(rates))
    chex.assert_trees_all_close(last, case.first_updates(start()), rtol=1e-4, atol=1e-6)


@EVERY_OPTIMIZER
def test_a_jitted_batch_of_runs_is_the_runs_one_by_one(case):
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, -0.5 * leaf]), start())
    batch = jax.jit(jax.vmap(case.first_updates))(starts)
    for index in range(2):
        alone = case.first_updates(jax.tree.map(lambda leaf, i=index: leaf[i], starts))
        run = jax.tree.map(lambda leaf, i=index: leaf[i], batch)
        chex.assert_trees_all_close(run, alone, rtol=1e-4, atol=1e-6)


def in_rows(axis_type):
    """The start on eight devices, the matrix by rows."""
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(axis_type,))
    rows, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["rows"], []))
    return jax.device_put(start(), {"matrix": rows, "rest": [everywhere, everywhere]})


@EVERY_OPTIMIZER
def test_sharded_parameters_give_the_same_updates(case):
    updates = case.first_updates(in_rows(AxisType.Auto))
    chex.assert_trees_all_close(updates, case.first_updates(start()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", FIRST_ORDER, ids=str)
def test_sharded_parameters_are_updated_as_they_lie(case):
    params = in_rows(AxisType.Explicit)
    updates = case.first_updates(params)
    assert updates["matrix"].sharding.is_equivalent_to(params["matrix"].sharding, 2)
    chex.assert_trees_all_close(updates, case.first_updates(start()), rtol=1e-4, atol=1e-6)


@EVERY_CASE
def test_within_a_mesh_of_explicit_axes_a_step_keeps_types_and_shardings(case):
    params = in_rows(AxisType.Explicit)
    optimizer = case.make()

    def types(tree):
        # None, of what is made of constants, stands for no sharding.
        return jax.tree.map(
            lambda leaf: (
                leaf.shape,
                leaf.dtype,
                "rows" in str(leaf.sharding and leaf.sharding.spec),
            ),
            tree,
        )

    with jax.set_mesh(params["matrix"].sharding.mesh):
        before = jax.eval_shape(optimizer.init, params)
        updates, after = jax.eval_shape(partial(step, optimizer), params, before)
    assert types(updates) == types(jax.eval_shape(lambda params: params, params))
    assert types(after) == types(before)


@pytest.mark.parametrize("case", [*CURVATURE, *LINKS[-2:]], ids=str)
def test_within_a_mesh_of_explicit_axes_curvature_gives_the_same_updates(case):
    params = in_rows(AxisType.Explicit)
    with jax.set_mesh(params["matrix"].sharding.mesh):
        updates = case.first_updates(params)
    assert updates["matrix"].sharding.is_equivalent_to(params["matrix"].sharding, 2)
    chex.assert_trees_all_close(updates, case.first_updates(start()), rtol=1e-4, atol=1e-6)


@EVERY_OPTIMIZER
def test_the_objective_decreases(case):
    optimizer = case.make()

    def body(carry, _):
        params, state = carry
        updates, state = step(optimizer, params, state)
        return (optax.apply_updates(params, updates), state), None

    carry = start(), optimizer.init(start())
    (end, _), _ = jax.jit(lambda carry: jax.lax.scan(body, carry, length=50))(carry)
    assert objective(end) < objective(start())
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(end))
