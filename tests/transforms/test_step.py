import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import transforms


def loss(params, data):
    return jnp.sum(jnp.tanh(data @ params["w"] + params["b"][None]) ** 2)


def start():
    # New buffers at every call: donated ones are gone.
    return {"w": jnp.arange(12.0).reshape(4, 3) / 12, "b": jnp.array([0.1, 0.2, 0.3])}


DATA = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)


def by_hand(optimizer, params, steps):
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(jax.grad(loss)(params, DATA), state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("donate", [True, False])
def test_a_step_is_gradient_update_and_application(donate):
    optimizer = transforms.adam(0.1)
    step = transforms.make_step(loss, optimizer, donate=donate)
    params, state = start(), optimizer.init(start())
    values = []
    for _ in range(3):
        params, state, value = step(params, state, DATA)
        values.append(value)
    chex.assert_trees_all_close(params, by_hand(optimizer, start(), 3), rtol=1e-5)
    assert values[0] == pytest.approx(loss(start(), DATA))


def test_donated_arguments_are_given_up_and_others_are_not():
    params, state = start(), optax.EmptyState()
    transforms.make_step(loss, transforms.gradient_descent(0.1))(params, state, DATA)
    assert params["w"].is_deleted()
    params = start()
    step = transforms.make_step(loss, transforms.gradient_descent(0.1), donate=False)
    step(params, state, DATA)
    assert not params["w"].is_deleted()


def test_every_buffer_is_updated_in_place():
    optimizer = transforms.adam(0.1)
    step = transforms.make_step(loss, optimizer)
    params, state, _ = step(start(), optimizer.init(start()), DATA)

    def addresses():
        return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, state))]

    before = addresses()
    params, state, _ = step(params, state, DATA)
    assert addresses() == before


def test_the_optimizer_is_given_what_lbfgs_asks_for():
    optimizer = optax.lbfgs()
    step = transforms.make_step(loss, optimizer)
    params, state = start(), optimizer.init(start())
    for _ in range(20):
        params, state, value = step(params, state, DATA)
    assert value < 0.5 * loss(start(), DATA)


def test_what_the_objective_returns_besides_its_value_comes_last():
    step = transforms.make_step(
        lambda x: (jnp.sum(x**2), {"norm": jnp.abs(x)}), optax.lbfgs(), has_aux=True
    )
    x = jnp.array([3.0])
    _, _, value, aux = step(x, optax.lbfgs().init(x))
    assert (value, aux["norm"]) == (9.0, 3.0)


def test_a_step_is_compiled_once():
    traces = []

    def counted(params, data):
        traces.append(1)
        return loss(params, data)

    optimizer = transforms.nesterov(lambda count: 0.1 / (1 + count))
    step = transforms.make_step(counted, optimizer)
    params, state = start(), optimizer.init(start())
    for _ in range(4):
        params, state, _ = step(params, state, DATA)
    assert len(traces) == 1


def test_a_step_runs_inside_a_scan():
    optimizer = transforms.heavy_ball(0.01)
    step = transforms.make_step(loss, optimizer)

    def body(carry, _):
        params, state, value = step(*carry, DATA)
        return (params, state), value

    (params, _), _ = jax.lax.scan(body, (start(), optimizer.init(start())), length=5)
    chex.assert_trees_all_close(params, by_hand(optimizer, start(), 5), rtol=1e-5)


def test_flat_training_gives_the_same_trajectory():
    flat, unflatten = transforms.flatten_by_dtype(start())
    optimizer = optax.chain(transforms.clip_by_global_norm(0.5), transforms.adam(0.1))
    step = transforms.make_step(lambda flat, data: loss(unflatten(flat), data), optimizer)
    state = optimizer.init(flat)
    for _ in range(10):
        flat, state, _ = step(flat, state, DATA)
    chex.assert_trees_all_close(unflatten(flat), by_hand(optimizer, start(), 10), rtol=1e-5)


def test_flattening_keeps_every_dtype_and_shape():
    params = {
        "half": jnp.ones((2, 3), jnp.bfloat16),
        "scalar": jnp.float32(2.0),
        "empty": jnp.zeros((0, 3)),
        "none": None,
        "vector": [jnp.arange(3.0)],
    }
    flat, unflatten = transforms.flatten_by_dtype(params)
    assert {name: vector.shape for name, vector in flat.items()} == {
        "bfloat16": (6,),
        "float32": (4,),
    }
    chex.assert_trees_all_equal(unflatten(flat), params)
    chex.assert_trees_all_equal_dtypes(unflatten(flat), params)
    flat, unflatten = transforms.flatten_by_dtype({})
    assert (flat, unflatten(flat)) == ({}, {})


def test_every_dtype_is_updated_in_its_own_where_optax_flatten_widens_all():
    params = {"half": jnp.ones(2, jnp.bfloat16), "single": jnp.ones(2)}
    flat, unflatten = transforms.flatten_by_dtype(params)
    optimizer = transforms.gradient_descent(1.0)
    updates = unflatten(optimizer.update(flat, optimizer.init(flat))[0])
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    joint = optax.flatten(optax.sgd(1.0))
    assert joint.update(params, joint.init(params))[0]["half"].dtype == jnp.float32


def test_the_gradient_of_flat_training_is_one_concatenation():
    flat, unflatten = transforms.flatten_by_dtype(start())
    gradient = jax.make_jaxpr(jax.grad(lambda flat: loss(unflatten(flat), DATA)))(flat)
    assert "concatenate" in str(gradient)
    assert "pad" not in str(gradient)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (transforms.heavy_ball(0.1), optax.sgd(0.1, 0.9)),
        (transforms.nesterov(0.1), optax.sgd(0.1, 0.9, nesterov=True)),
        (transforms.adagrad(0.1), optax.adagrad(0.1)),
        (transforms.rmsprop(0.1), optax.rmsprop(0.1)),
        (transforms.adadelta(0.1), optax.adadelta(0.1)),
        (transforms.adam(0.1), optax.adam(0.1)),
    ],
    ids=["heavy ball", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"],
)
def test_no_rule_reads_and_writes_more_memory_than_optax(ours, theirs):
    """Counted by the compiler. A state that is read after it is due for writing costs a copy."""

    def bytes_accessed(optimizer):
        def step(params, state, grads):
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        params = jax.ShapeDtypeStruct((1_000_000,), jnp.float32)
        state = jax.eval_shape(optimizer.init, params)
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params)
        return lowered.compile().cost_analysis()["bytes accessed"]

    assert bytes_accessed(ours) <= 1.01 * bytes_accessed(theirs)
