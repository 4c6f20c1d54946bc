"""Every update rule, with every hyperparameter, on pytrees of every dtype and with every number.

Most steps are taken by `jax.eval_shape`, which traces and computes nothing.
"""

import inspect

import jax
import jax.numpy as jnp
import optax
import pytest
from hypothesis import strategies as st

from jaxopt_course import transforms
from tests.fuzz.harness import Entry, attempt, check_complete, fuzz, same_shapes
from tests.fuzz.strategies import (
    constant,
    dtypes,
    flags,
    fractions,
    keys,
    numbers,
    options,
    positive,
    sizes,
    trees,
    wild_trees,
)

UPDATE = ("params", "updates", "state", "grad", "value", "value_fn")


def quartic(x):
    """A saddle at 0 on any tree of floats, in at least float32."""
    leaves = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(x)]
    return sum((jnp.sum(x**4 / 4 - x**2 / 2) for x in leaves), start=jnp.zeros([], jnp.float32))


rate = numbers(st.floats(1e-3, 1.0), lambda count: 0.1 / (1 + count))
KINDS = {
    "learning_rate": rate,
    "decay": numbers(st.floats(0.01, 0.99)),
    "rho": fractions(),
    "b1": fractions(),
    "b2": fractions(),
    "momentum": numbers(st.floats(0.01, 0.99)),
    "eps": positive(1e-8, 1e-2),
    "eps_root": positive(1e-8, 1e-2),
    "weight_decay": positive(),
    "weight_decay_mask": constant(None, True, lambda params: jax.tree.map(lambda _: True, params)),
    "initial_accumulator_value": positive(),
    "initial_scale": positive(),
    "exponent": numbers(st.floats(-1, -0.3)),
    "max_norm": positive(),
    "max_delta": positive(),
    "scale": positive(),
    "gamma": positive(),
    "nce_radius": positive(),
    "radius": positive(),
    "gradient_threshold": positive(),
    "interval": numbers(st.integers(0, 100)),
    "key": keys(),
    "distribution": options("sphere", "ball", "gaussian"),
    "update_average": options("elementwise", "norm"),
    "accumulate": options("current"),
    "look_ahead": options("scaled"),
    "damping": positive(),
    "cg_tolerance": positive(1e-4, 0.5),
    "max_cg_steps": sizes(1, 20),
    "subspace_size": sizes(1, 10),
    "hessian_lipschitz": positive(),
    "initial_radius": positive(),
    "max_radius": positive(),
    "acceptance": numbers(st.floats(0, 0.25)),
    "curvature_threshold": positive(),
    "max_restarts": sizes(0, 3),
    "smoothness": positive(),
    "curvature": positive(),
    "start_radius": positive(1e-4, 1e-3),
    "end_radius": positive(1e-2, 1e-1),
    "num_steps": sizes(1, 20),
    "mu_dtype": dtypes(None, "float32", jnp.bfloat16),
    "nu_dtype": dtypes(None, "float32"),
    "accumulator_dtype": dtypes(None, "float32"),
    "flip_sign": flags(),
    "nesterov": flags(),
    "bias_correction": constant(False, True),
    "eps_in_sqrt": flags(),
    "centered": flags(),
    "learning_rate_in_velocity": flags(),
}
SOLVERS = {
    "newton": options("eigh", "cg"),
    "scale_by_newton": options("eigh", "cg"),
    "trust_region": options("eigh", "cg", "lanczos"),
}
SECOND_ORDER = (
    "newton", "scale_by_newton", "saddle_free_newton", "scale_by_saddle_free_newton",
    "cubic_newton", "scale_by_cubic_newton", "trust_region", "escape_negative_curvature", "neon2",
    "perturbed_accelerated_gradient_descent",
)  # fmt: skip


def step(optimizer, params, grads):
    """One step as `saddle.escape` takes it."""
    state = optimizer.init(params)
    update = optax.with_extra_args_support(optimizer).update
    value = jnp.zeros([])
    updates, new = update(grads, state, params, value=value, grad=grads, value_fn=quartic)
    return updates, state, new


def traced(optimizer, arguments, data, sane):
    """A step on a drawn tree: it keeps structure, shapes and dtypes, of the state as well.

    Parameters, or gradients that are not like them, are refused by name.
    """
    names = {*arguments, *UPDATE}
    if data.draw(st.booleans(), label="sane params"):
        params = data.draw(trees(), label="params")
        updates, state, new = jax.eval_shape(lambda x: step(optimizer, x, x), params)
        same_shapes(updates, jax.eval_shape(lambda x: x, params))
        same_shapes(new, state)
    elif data.draw(st.booleans(), label="wild params"):
        params = data.draw(wild_trees(), label="params")
        attempt(lambda: step_shapes(optimizer, params, params), names)
    else:
        params, grads = data.draw(trees(), label="params"), data.draw(wild_trees(), label="grads")
        attempt(lambda: step_shapes(optimizer, params, grads), names)


def step_shapes(optimizer, params, grads):
    """Trace a step; what is no array is closed over, as a caller would."""
    leaves = jax.tree.leaves((params, grads))
    if all(isinstance(leaf, jax.Array) for leaf in leaves):
        return jax.eval_shape(lambda x, g: step(optimizer, x, g), params, grads)
    return step(optimizer, params, grads)


def computed(optimizer, arguments, data, sane):
    """Three steps with numbers: sane ones stay finite, others raise nothing."""
    benign = sane and data.draw(st.booleans(), label="sane numbers")
    floats = ("float32",) if benign else ("float32", "bfloat16")
    drawn = trees(sane=benign, shapes=((3,),), floats=floats, empty=False)
    params = data.draw(drawn, label="params")
    grads = jax.grad(quartic)(params)
    run = jax.jit(lambda x, g: step(optimizer, x, g)[0])
    updates = run(params, grads)
    same_shapes(updates, params)
    if benign:
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(updates)), updates


def kinds_of(name):
    own = {"solver": SOLVERS.get(name, options("eigh", "lanczos"))}
    if name == "perturbed_accelerated_gradient_descent":
        own["learning_rate"] = positive(1e-3, 1.0)
    return KINDS | own


def rule(name, act):
    return Entry(getattr(transforms, name), kinds_of(name), act, UPDATE)


OTHERS = (
    "adapt",
    "eval_params",
    "fill_masked",
    "flatten_by_dtype",
    "make_step",
    "nesterov_eval_params",
    "path",
)
RULES = [
    name
    for name, member in vars(transforms).items()
    if inspect.isfunction(member) and not name.startswith("_") and name not in OTHERS
]


def test_every_public_function_has_an_entry():
    entries = {name: rule(name, traced) for name in RULES}
    check_complete(transforms, entries, skip=OTHERS)
    for name, entry in entries.items():
        unknown = {parameter.name for parameter in entry.parameters()} - set(entry.kinds)
        assert not unknown, f"add kinds for {unknown} of {name}"


@pytest.mark.parametrize("name", RULES)
def test_rules_work_or_name_the_argument(name):
    fuzz(rule(name, traced), 4)


def test_numbers():
    for name in ("adam", "perturbed_gradient_descent", "clip_by_global_norm"):
        fuzz(rule(name, computed), 3)


def draw_state(data, params):
    optimizer = transforms.nesterov(0.1)
    wrong = st.sampled_from((None, (), {"a": 1}, (optimizer.init(params),) * 2, "state"))
    return data.draw(st.one_of(st.just(optimizer.init(params)), wrong), label="state")


def evaluate(examples, derandomize=True):
    """`nesterov_eval_params`, `flatten_by_dtype` and `make_step` on drawn trees."""

    def drawn(learning_rate):
        return learning_rate

    def act(learning_rate, arguments, data, sane):
        params = data.draw(trees() if sane else wild_trees(), label="params")
        names = {"state", "params", "learning_rate", "fun", "optimizer"}

        def call():
            state = draw_state(data, data.draw(trees()) if not sane else params)
            out = transforms.nesterov_eval_params(state, params, learning_rate=learning_rate)
            same_shapes(out, params)
            same_shapes(transforms.eval_params(state, params), params)

        attempt(call, names)

        def flatten():
            flat, unflatten = transforms.flatten_by_dtype(params)
            same_shapes(unflatten(flat), jax.tree.map(jnp.asarray, params))

        attempt(flatten, names, sane=sane)

        def compiled():
            fun = data.draw(st.sampled_from((quartic, None, "f")), label="fun")
            optimizer = data.draw(
                st.sampled_from((optax.sgd(0.1), None, transforms.adam(0.1))), label="optimizer"
            )
            make = transforms.make_step(fun, optimizer, donate=False)
            if not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params)):
                return  # what the objective says of these is the caller's
            state = optimizer.init(params)
            new, _, value = jax.eval_shape(make, params, state)
            same_shapes(new, params)
            assert value.shape == ()

        attempt(compiled, names | {"updates", "grad"})

    fuzz(Entry(drawn, {"learning_rate": positive()}, act), examples, derandomize=derandomize)


def test_the_other_functions():
    evaluate(10)


@pytest.mark.nightly
@pytest.mark.parametrize("name", RULES)
def test_many_examples(name):
    fuzz(rule(name, traced), 70, derandomize=False)


@pytest.mark.nightly
@pytest.mark.parametrize("name", RULES)
def test_many_numbers(name):
    fuzz(rule(name, computed), 10 if name in SECOND_ORDER else 25, derandomize=False)


@pytest.mark.nightly
def test_many_examples_of_the_other_functions():
    evaluate(300, derandomize=False)
