"""Batches of runs do what a plain loop over each run does, wherever and with whomever they run."""

import functools
import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import problems, saddle, transforms
from jaxopt_course.saddle import Kind, Stop
from tests.compilations import compilations

OCTOPUS = problems.octopus(dimension=5)
RATE = 1 / (4 * 1.5)


def perturbed(key):
    threshold = math.e / 100
    return transforms.perturbed_gradient_descent(RATE, threshold, threshold, 1, key)


def random_starts(runs, problem=OCTOPUS, seed=0):
    return jax.vmap(problem.init)(jax.random.split(jax.random.key(seed), runs))


def keys(runs, seed=1):
    return jax.random.split(jax.random.key(seed), runs)


def strict_saddle(x):
    """Lee et al. (2016): a strict saddle at 0, minima at (0, 1) and (0, -1) with value -1/4."""
    return x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2


def network_loss(params):
    """A tiny network with matrices among its parameters, hence another layout of the batch."""
    inputs = jnp.linspace(-1, 1, 12).reshape(6, 2)
    hidden = jnp.tanh(inputs @ params["w"] + params["b"][None])
    return jnp.mean((hidden @ params["v"] - inputs[:, 0] * inputs[:, 1]) ** 2)


def network_starts(runs):
    rng = np.random.default_rng(0)
    shapes = {"w": (runs, 2, 4), "b": (runs, 4), "v": (runs, 4)}
    return {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in shapes.items()}


@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.1), optax.adam(0.1), optax.adamw(0.1), transforms.heavy_ball(0.05), optax.lbfgs()],
    ids=["sgd", "adam", "adamw", "heavy ball", "lbfgs"],
)
def test_every_run_follows_the_plain_loop(optimizer):
    starts = jnp.array([[0.5, 0.1], [-1.0, 2.0], [0.3, -0.7]])
    runs = saddle.escape(strict_saddle, optimizer, starts, max_steps=12, record_every=1)
    optimizer = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(strict_saddle)(params)
        updates, state = optimizer.update(
            grads, state, params, value=value, grad=grads, value_fn=strict_saddle
        )
        return optax.apply_updates(params, updates), state, value

    for run, params in enumerate(starts):
        state, values = optimizer.init(params), []
        for _ in range(12):
            params, state, value = step(params, state)
            values.append(value)
        np.testing.assert_allclose(runs.record.value[run, :-1], values, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(runs.params[run], params, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(runs.value[run], strict_saddle(params), rtol=1e-4, atol=1e-6)
    assert runs.steps.tolist() == [12, 12, 12]
    assert set(runs.reason.tolist()) == {Stop.MAX_STEPS}


@pytest.mark.parametrize("runs", [1, 8, 130])
def test_runs_have_the_same_bits_on_one_device_and_on_eight(runs):
    assert len(jax.devices()) == 8
    run = partial(
        saddle.escape,
        OCTOPUS.fun,
        perturbed,
        max_steps=60,
        record_every=7,
        record_params=True,
        epsilon=0.1,
        hessian_lipschitz=1.0,
        lanes=16,
    )
    eight = run(random_starts(runs), keys(runs), devices=jax.devices())
    one = run(random_starts(runs), keys(runs), devices=jax.devices()[:1])
    jax.tree.map(np.testing.assert_array_equal, one, eight)


def adam_with_noise(key):
    return optax.chain(optax.adam(0.01), transforms.perturb_at_saddle(0.01, 0.5, 5, key))


def test_a_network_has_the_same_bits_on_one_device_and_on_eight():
    run = partial(saddle.escape, network_loss, adam_with_noise, max_steps=50)
    eight = run(network_starts(30), keys(30), devices=jax.devices())
    one = run(network_starts(30), keys(30), devices=jax.devices()[:1])
    jax.tree.map(np.testing.assert_array_equal, one, eight)


@pytest.mark.usefixtures("x64")
def test_precision_holds_on_every_device():
    starts = network_starts(30)
    starts = jax.tree.map(lambda leaf: leaf.astype("float64"), starts)
    runs = saddle.escape(
        network_loss, adam_with_noise, starts, keys(30), max_steps=3, devices=jax.devices()
    )
    assert all(leaf.dtype == "float64" for leaf in jax.tree.leaves((runs.params, runs.value)))


def test_a_run_has_the_same_bits_alone_and_among_others():
    starts, seeds = random_starts(33), keys(33)
    escape = partial(saddle.escape, OCTOPUS.fun, perturbed, max_steps=100, lanes=16)
    together = escape(starts, seeds)
    for run in (0, 17, 32):
        alone = escape(starts[run : run + 1], seeds[run : run + 1])
        np.testing.assert_array_equal(alone.params[0], together.params[run])


def test_each_run_draws_its_own_noise_from_its_own_key():
    starts = jnp.zeros((4, 5))
    seeds = keys(4)
    own = saddle.escape(OCTOPUS.fun, perturbed, starts, seeds, max_steps=5).params
    assert len(np.unique(own[:, 0])) == 4
    shared = saddle.escape(OCTOPUS.fun, perturbed(seeds[0]), starts, max_steps=5).params
    assert len(np.unique(shared[:, 0])) == 1
    np.testing.assert_array_equal(shared[0], own[0])


def test_a_run_ends_at_its_target_value_and_stays_there():
    starts = jnp.array([[0.0, 0.9], [0.0, 0.1], [0.0, 1.0]])
    runs = saddle.escape(
        strict_saddle,
        optax.sgd(0.1),
        starts,
        max_steps=200,
        target_value=-0.2499,
        record_every=1,
        record_params=True,
    )
    assert set(runs.reason.tolist()) == {Stop.TARGET_VALUE}
    assert runs.steps[2] == 0 < runs.steps[0] < runs.steps[1] < 200
    for run in range(3):
        ended = int(runs.steps[run])
        assert np.all(runs.record.value[run, :ended] > -0.2499)
        assert np.all(runs.record.value[run, ended:] == runs.value[run])
        np.testing.assert_array_equal(runs.record.params[run, ended], runs.params[run])
        np.testing.assert_array_equal(runs.record.params[run, -1], runs.params[run])


def test_runs_are_reported_where_they_ended_also_by_rules_that_report_from_their_state():
    """Schedule-free SGD reports an average that its state holds, also where a run waits to go."""
    fun = problems.quadratic([3.0, 1.0, 0.5]).fun
    rule = optax.contrib.schedule_free_sgd(0.1)
    starts = jax.random.normal(jax.random.key(0), (40, 3))
    options = {"max_steps": 100, "target_value": 1e-3}
    together = saddle.escape(fun, rule, starts, lanes=32, **options)
    assert set(together.counts()) <= {"TARGET_VALUE", "MAX_STEPS"}
    assert len(set(together.steps.tolist())) > 5
    apart = saddle.escape(fun, rule, starts, lanes=1, **options)
    np.testing.assert_allclose(together.params, apart.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(together.value, apart.value, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_a_run_ends_where_it_is_second_order_stationary_and_not_at_a_saddle():
    starts = jnp.array([[0.0, 0.0], [0.5, 1e-3], [0.0, 1.0]])
    epsilon, rho = 1e-3, 6.0
    make = partial(transforms.perturbed_gradient_descent, 0.1, 0.05, epsilon, 10)
    runs = saddle.escape(
        strict_saddle,
        lambda key: make(key=key),
        starts,
        keys(3),
        max_steps=1000,
        epsilon=epsilon,
        hessian_lipschitz=rho,
        record_every=1,
        record_min_eigenvalue=True,
    )
    assert set(runs.reason.tolist()) == {Stop.SECOND_ORDER_STATIONARY}
    lowest = runs.record.min_eigenvalue
    second_order = (runs.record.gradient_norm <= epsilon) & (lowest >= -math.sqrt(rho * epsilon))
    # Each run ended at the first step at which an independent reading of its record says so.
    np.testing.assert_array_equal(runs.steps, np.argmax(second_order, axis=1))
    np.testing.assert_allclose(np.abs(runs.params[:, 1]), 1, atol=1e-3)
    kinds = jax.vmap(partial(saddle.classify, strict_saddle, gradient_tolerance=epsilon))(
        runs.params
    )
    assert set(kinds.kind.tolist()) == {Kind.MINIMUM}
    # The saddle has a small gradient too; its curvature is what kept the first run going.
    assert runs.record.gradient_norm[0, 0] == 0
    np.testing.assert_allclose(lowest[0, 0], -1)


def test_plain_gradient_descent_stays_at_a_saddle_and_says_so():
    runs = saddle.escape(
        strict_saddle,
        transforms.gradient_descent(0.1),
        jnp.array([[0.5, 0.0]]),
        max_steps=500,
        epsilon=1e-3,
        hessian_lipschitz=6.0,
    )
    assert runs.reason[0] == Stop.MAX_STEPS
    assert saddle.classify(strict_saddle, runs.params[0]).kind == Kind.STRICT_SADDLE


def test_a_run_that_diverges_is_reported_and_its_neighbours_keep_their_bits():
    # x[0]^2 - x[1]^2 is unbounded below for x[1] != 0; the first and last run stay finite.
    def fun(x):
        return x[0] ** 2 - x[1] ** 2

    starts = jnp.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    escape = partial(saddle.escape, fun, optax.sgd(0.45), max_steps=400, record_every=50, lanes=8)
    runs = escape(starts)
    assert runs.reason.tolist() == [Stop.MAX_STEPS, Stop.DIVERGED, Stop.MAX_STEPS]
    assert 0 < runs.steps[1] < 400
    assert not np.isfinite(runs.gradient_norm[1])
    calm = escape(starts.at[1].set(jnp.zeros(2)))
    for i in (0, 2):
        np.testing.assert_array_equal(runs.record.value[i], calm.record.value[i])
        np.testing.assert_array_equal(runs.params[i], calm.params[i])


@pytest.mark.parametrize(("every", "steps"), [(1, 10), (4, 10), (5, 10), (10, 10), (11, 10)])
def test_the_record_is_taken_at_the_strides_asked_for(every, steps):
    starts = random_starts(3)
    dense = saddle.escape(OCTOPUS.fun, perturbed, starts, keys(3), max_steps=steps, record_every=1)
    sparse = saddle.escape(
        OCTOPUS.fun, perturbed, starts, keys(3), max_steps=steps, record_every=every
    )
    assert sparse.record.step.tolist() == list(range(0, steps + 1, every))
    for name in ("value", "gradient_norm"):
        ours, all_steps = getattr(sparse.record, name), getattr(dense.record, name)
        np.testing.assert_array_equal(ours, all_steps[:, ::every])
    np.testing.assert_array_equal(sparse.params, dense.params)


def test_memory_grows_with_the_record_and_not_with_the_steps():
    def bytes_used(max_steps, record_every):
        run = partial(
            saddle.escape,
            OCTOPUS.fun,
            perturbed,
            max_steps=max_steps,
            record_every=record_every,
            lanes=64,
        )
        memory = jax.jit(run).lower(random_starts(64), keys(64)).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    assert bytes_used(100_000, None) == bytes_used(100, None)
    assert bytes_used(100_000, 10_000) == bytes_used(100, 10)
    assert bytes_used(100_000, 1_000) > bytes_used(100_000, 10_000)


def test_the_objective_is_traced_a_fixed_number_of_times():
    traces = []

    def fun(x):
        traces.append(1)
        return jnp.sum(x**2)

    optimizer = optax.sgd(0.1)
    starts = jnp.ones((4, 3))
    saddle.escape(fun, optimizer, starts, max_steps=3)
    # The second time tells whether it is the same.
    assert len(traces) == 2
    saddle.escape(fun, optimizer, 2 * starts, max_steps=3)
    # Now the last call tells.
    assert len(traces) == 3


class Sphere:
    def __init__(self, centre):
        self.centre = centre

    def value(self, x):
        return jnp.sum((x - self.centre) ** 2)


def test_what_computes_the_same_is_compiled_once_whatever_object_it_is():
    starts, rate = jnp.ones((4, 3)), 0.25

    def minimum(fun, optimizer=None, **options):
        optimizer = optax.sgd(rate) if optimizer is None else optimizer
        runs = saddle.escape(fun, optimizer, starts, max_steps=60, **options)
        return np.asarray(runs.params[0])

    def distance(x, centre):
        return jnp.sum((x - centre) ** 2)

    first, second = jnp.zeros(3), jnp.arange(3.0)
    ways = {
        "a lambda": lambda centre: lambda x: jnp.sum((x - centre) ** 2),
        "partial": lambda centre: functools.partial(distance, centre=centre),
        "a method": lambda centre: Sphere(centre).value,
        "NumPy": lambda centre: lambda x: jnp.sum((x - np.asarray(centre)) ** 2),
        "jitted": lambda centre: jax.jit(lambda x: jnp.sum((x - centre) ** 2)),
        "a pytree": lambda centre: jax.tree_util.Partial(distance, centre=centre),
        "a loop": lambda centre: (
            lambda x: jax.lax.scan(
                lambda total, pair: (total + (pair[0] - pair[1]) ** 2, None), 0.0, (x, centre)
            )[0]
        ),
        "custom derivatives": lambda centre: (
            lambda x: jnp.sum(jax.nn.relu(x - centre) ** 2 + jax.nn.relu(centre - x) ** 2)
        ),
        "batches": lambda centre: saddle.mean_over_batches(
            lambda x, batch: 3 * jnp.mean((batch @ x - batch @ centre) ** 2), jnp.eye(3), 2
        ),
    }
    for name, make in ways.items():
        np.testing.assert_allclose(minimum(make(first)), first, atol=1e-5, err_msg=name)
        with compilations() as compiled:
            found = minimum(make(second))
        np.testing.assert_allclose(found, second, atol=1e-4, err_msg=name)
        assert compiled == [], name
    with compilations() as compiled:
        minimum(ways["a lambda"](first), optax.sgd(0.125))
        # Another rate is other equations.
        assert "_advance" in compiled


def test_data_that_changed_in_place_are_seen():
    centre = np.zeros(3, np.float32)
    fun = lambda x: jnp.sum((x - centre) ** 2)  # noqa: E731
    for wanted in (0.0, 5.0):
        centre[:] = wanted
        runs = saddle.escape(fun, optax.sgd(0.25), jnp.ones((2, 3)), max_steps=100)
        np.testing.assert_allclose(runs.params, jnp.full((2, 3), wanted), atol=1e-5)


def test_rules_of_differentiation_tell_objectives_apart():
    def doubled(slope):
        @jax.custom_vjp
        def double(x):
            return 2 * x

        double.defvjp(lambda x: (double(x), None), lambda _, g: (slope * g,))
        return lambda x: jnp.sum(double(x))

    for slope in (2.0, 3.0):
        runs = saddle.escape(doubled(slope), optax.sgd(1.0), jnp.zeros((1, 1)), max_steps=1)
        assert runs.params[0, 0] == -slope


def test_what_draws_is_refused():
    rng = np.random.default_rng(0)
    batches = itertools.cycle([np.zeros(4, np.float32), np.full(4, 10, np.float32)])
    still = lambda x: jnp.sum(x**2)  # noqa: E731
    starts = jnp.ones((1, 2))
    for fun in (
        lambda x: jnp.sum((x - rng.normal(size=2)) ** 2),
        lambda x: jnp.mean((x[0] - next(batches)) ** 2),
        # Both batches have the same mean square at the start, and another gradient.
        lambda x: jnp.mean((x[0] - 1 - next(batches) + 5) ** 2),
    ):
        with pytest.raises(ValueError, match=r"fun must be deterministic, but two .* and .*"):
            saddle.escape(fun, optax.sgd(0.1), starts, max_steps=5)

    def noisy(scale):
        def update(updates, state, params=None):
            del params
            return jax.tree.map(lambda u: u + scale * rng.normal(), updates), state

        return optax.GradientTransformation(lambda params: (), update)

    with pytest.raises(ValueError, match=r"optimizer must be deterministic, but two traces"):
        saddle.escape(still, noisy(0.1), starts, max_steps=5)


def test_it_can_be_compiled_into_a_larger_program():
    @jax.jit
    def final_value(starts):
        return saddle.escape(OCTOPUS.fun, perturbed, starts, keys(4), max_steps=20).value

    direct = saddle.escape(OCTOPUS.fun, perturbed, random_starts(4), keys(4), max_steps=20).value
    np.testing.assert_allclose(final_value(random_starts(4)), direct, rtol=1e-5)


def test_gradient_descent_in_float32_sticks_where_a_coordinate_underflows():
    """The trap: 126 halvings take a waiting coordinate to exactly zero, 1,022 in float64."""
    descent = transforms.gradient_descent(RATE)

    def last_coordinate(dtype):
        with jax.enable_x64(dtype == "float64"):
            runs = saddle.escape(
                OCTOPUS.fun,
                descent,
                random_starts(20).astype(dtype),
                max_steps=3000,
                record_every=126,
                record_params=True,
            )
            return np.asarray(runs.record.params)[:, :, 4], np.asarray(runs.params)

    waiting32, _ = last_coordinate("float32")
    waiting64, ended64 = last_coordinate("float64")
    # Gone by step 126, and from zero there is no return: every run ends on the way, its last
    # coordinate exactly zero, at a saddle. Nothing but the arithmetic differs in float64.
    assert np.all(waiting32[:, 1:] == 0)
    assert np.all(waiting64[:, 1] != 0)
    assert np.all(np.abs(ended64[:, 4]) > 2 * math.e)
    assert np.all(np.abs(ended64[:, :4]) > 2 * math.e)


GOOD = {"fun": strict_saddle, "optimizer": optax.sgd(0.1), "starts": jnp.ones((3, 2))}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"starts": jnp.ones((3, 2), int)}, TypeError, "starts must have a real floating dtype"),
        ({"starts": {}}, ValueError, "starts must hold at least one parameter"),
        ({"starts": jnp.ones((0, 2))}, ValueError, "starts must hold at least one parameter"),
        ({"starts": jnp.float32(1)}, ValueError, "starts must have the runs as its leading axis"),
        (
            {"starts": {"a": jnp.ones((3, 2)), "b": jnp.ones((4, 2))}},
            ValueError,
            r"must agree on the number of runs, got starts\['a'\]: 3, starts\['b'\]: 4",
        ),
        ({"keys": keys(2)}, ValueError, "number of runs, got starts: 3, keys: 2"),
        ({"keys": jnp.arange(3)}, TypeError, "keys must be a typed key"),
        ({"keys": jax.random.key(0)}, ValueError, r"keys must have shape \(runs,\), got \(\)"),
        ({"optimizer": perturbed}, ValueError, "keys must be given where optimizer is a function"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be an optax.GradientTransformation or"),
        ({"fun": lambda x: x}, TypeError, "fun must return one real number"),
        ({"max_steps": 0}, ValueError, "max_steps must be positive, got 0"),
        ({"max_steps": 1.5}, TypeError, "max_steps must be an integer, got 1.5"),
        ({"lanes": 0}, ValueError, "lanes must be positive, got 0"),
        ({"devices": ()}, ValueError, "devices must hold at least one device"),
        ({"record_every": -1}, ValueError, "record_every must be positive, got -1"),
        ({"epsilon": 0.1}, ValueError, "epsilon and hessian_lipschitz must be given together"),
        ({"record_params": True}, ValueError, "need record_every, got None"),
        (
            {"starts": jnp.array([[0.0, 0], [jnp.nan, 0], [jnp.inf, 0]])},
            ValueError,
            "fun must be finite at every start, got a value that is not in 2 of 3 runs, first in 1",
        ),
        ({"starts": jnp.full((3, 2), jnp.nan)}, ValueError, "first in 0"),
    ],
    ids=range(20),
)
def test_bad_input_is_named(changes, error, message):
    arguments = GOOD | {"max_steps": 5} | changes
    with pytest.raises(error, match=message):
        saddle.escape(**arguments)


def test_an_objective_that_is_traced_is_followed_within_the_trace():
    def end(depth):
        runs = saddle.escape(
            lambda x: depth * jnp.sum(x**2), optax.sgd(0.1), jnp.ones((3, 2)), max_steps=5
        )
        return runs.params

    np.testing.assert_allclose(jax.jit(end)(2.0), np.full((3, 2), 0.6**5), rtol=1e-6)


@pytest.mark.parametrize("slope", [300.0, 1e-4])
def test_gradient_norms_of_half_precision_are_taken_in_float32(slope):
    starts = jnp.zeros((1, 4), jnp.float16)
    rule = transforms.gradient_descent(1e-4)
    runs = saddle.escape(lambda x: slope * x.sum(), rule, starts, max_steps=3)
    assert runs.gradient_norm.dtype == jnp.float32
    np.testing.assert_allclose(runs.gradient_norm, 2 * slope, rtol=1e-3)
    assert runs.reason.tolist() == [saddle.Stop.MAX_STEPS]


def test_starts_of_numpy_s_float64_run_in_float32():
    """Warnings are errors here: JAX 0.12 has one for a shape with a dtype that it cannot have."""
    starts = np.random.default_rng(0).normal(size=(3, 2))
    rule = transforms.gradient_descent(0.1)
    given, narrow = (
        saddle.escape(strict_saddle, rule, where, max_steps=20)
        for where in (starts, starts.astype(np.float32))
    )
    assert given.params.dtype == np.float32
    np.testing.assert_array_equal(given.params, narrow.params)
