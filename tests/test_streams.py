"""What the library draws is independent of what its user draws from the same keys."""

import inspect
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxopt_course import problems, training, transforms
from jaxopt_course._streams import STREAMS, constant, stream
from jaxopt_course.nn import FunctionalView, lsuv

RUNS = 100
KEY = jax.random.key(0)
INPUTS = np.random.default_rng(0).normal(size=(8, 3))
PROBLEMS = {
    "asymmetric_factorization": ([4.0, 3.0, 2.0, 1.0], {"shape": (4, 5), "rank": 2}),
    "bad_minimum": ({"activation": "tanh"},),
    "empirical_loss": (
        lambda key: nnx.Linear(3, 2, rngs=nnx.Rngs(key)),
        INPUTS.astype(np.float32),
        np.zeros(8, np.int32),
        {},
    ),
    "linear_network": ([3.0, 2.0, 1.0], {"widths": (3, 4, 3)}),
    "linear_network_on_data": (INPUTS, INPUTS[:, :2], {"hidden_widths": (4,)}),
    "matrix_completion": ([2.0], {"dimension": 6, "sampling_probability": 0.5, "key": KEY}),
    "matrix_sensing": ([2.0], {"dimension": 5, "num_measurements": 9, "key": KEY}),
    "octopus": ({"dimension": 5},),
    "phase_retrieval": ([3.0, 2.0, 1.0], {}),
    "quadratic": ([3.0, 2.0, -1.0], {}),
    "quadratic_network": ([3.0, 2.0, 1.0], {"num_hidden": 4}),
    "quadratic_network_on_data": (INPUTS, INPUTS[:, 0], {"num_hidden": 4}),
    "relu_teacher_student": ({"num_students": 5, "dimension": 5},),
    "sampled_relu_teacher_student": (
        {"num_students": 5, "dimension": 5, "num_samples": 9, "key": KEY},
    ),
    "symmetric_factorization": ([3.0, 2.0, 1.0], {"rank": 2}),
    "tensor_component": ([3.0, 2.0, 1.0], {}),
    "tensor_decomposition": ({"dimension": 3},),
    "tensor_reconstruction": ({"dimension": 3},),
}
# The others take no argument.
for _name in problems.__all__:
    if not isinstance(getattr(problems, _name), type) and _name != "mirror_images":
        PROBLEMS.setdefault(_name, ({},))

SIZE = 40  # Parameters of the largest of them.

# Every step is due for noise.
AT_SADDLE = {"radius": 1.0, "gradient_threshold": 1.0, "interval": 0}
NEON2 = {"smoothness": 1.0, "curvature": 0.5, "start_radius": 0.01, "end_radius": 0.1}
RULES = (
    lambda key: transforms.inject_noise(1.0, key),
    lambda key: transforms.perturb_at_saddle(**AT_SADDLE, key=key),
    lambda key: transforms.neon2(**AT_SADDLE, **NEON2, num_steps=30, key=key),
)


@pytest.fixture(scope="module")
def first_moves():
    """What every rule adds to zeros in its first three steps, `(runs, rules * steps, SIZE)`.

    The objective curves down alike in all directions, so that rules go where their draws tell them.
    """

    def moves(key):
        zero, found = jnp.zeros(SIZE), []
        for rule in RULES:
            optimizer = optax.with_extra_args_support(rule(key))
            update = partial(optimizer.update, value_fn=lambda x: -x @ x / 2, grad=zero)
            _, steps = jax.lax.scan(
                lambda state, _, update=update: update(zero, state, zero)[::-1],
                optimizer.init(zero),
                None,
                length=3,
            )
            found.append(steps)
        return jnp.concatenate(found)

    return np.asarray(jax.jit(jax.vmap(moves))(jax.random.split(jax.random.key(1), RUNS)))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_first_noise_of_a_run_is_independent_of_its_start(first_moves, name):
    """Three steps of noise against every leaf of the start, which were drawn from the same key.

    The cosine of two independent directions in n dimensions, of which one is uniform, has mean 0
    and variance 1 / n, and so has the mean over the runs with 1 / (n runs). A shorter noise begins
    a longer one, so that one noise serves for problems of every size.
    """
    *arguments, keywords = PROBLEMS[name]
    problem = getattr(problems, name)(*arguments, **keywords)
    starts = jax.jit(jax.vmap(problem.init))(jax.random.split(jax.random.key(1), RUNS))
    offset = 0
    for leaf in jax.tree.leaves(starts):
        start = np.asarray(leaf).reshape(RUNS, 1, -1)
        size = start.shape[-1]
        start = start[np.linalg.norm(start, axis=-1)[:, 0] > 0]  # Biases start at 0.
        for begin in {0, offset} if len(start) else ():
            noise = first_moves[:, :, begin : begin + size]
            mean = (unit(noise) * unit(start)).sum(axis=-1).mean(axis=0)
            assert np.abs(mean).max() < 5 / (size * RUNS) ** 0.5
        offset += size


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_streams_are_independent_of_each_other_and_of_their_user(implementation):
    size = 8

    def draws(key):
        own = {name: stream(key, name) for name in STREAMS}
        drawn = [key, *jax.random.split(key, 3), *own.values()]
        drawn += [jax.random.split(k)[0] for k in own.values()]
        return jnp.stack([jax.random.normal(k, (size,)) for k in drawn])

    keys = jax.random.split(jax.random.key(2, impl=implementation), 400)
    rows = unit(np.asarray(jax.jit(lambda keys: jax.lax.map(draws, keys))(keys)))
    mean = np.einsum("rad,rbd->ab", rows, rows) / len(keys)
    deviation = (size * len(keys)) ** -0.5
    assert np.abs(mean - np.eye(len(mean))).max() < 5 * deviation


def users_draws(key, size):
    """Draws that a user may have made of a key, `(4, size)`."""
    own = jnp.stack([key, *jax.random.split(key, 3)])
    return jax.vmap(lambda k: jax.random.normal(k, (size,)))(own)


def check_independent_of_their_user(drawn, keys):
    size = drawn.shape[-1]
    users = np.asarray(jax.jit(jax.vmap(partial(users_draws, size=size)))(keys))
    mean = (unit(users) * unit(np.asarray(drawn))[:, None]).sum(axis=-1).mean(axis=0)
    assert np.abs(mean).max() < 5 / (size * len(keys)) ** 0.5


def test_a_network_that_fit_builds_is_independent_of_what_its_user_draws():
    keys = jax.random.split(jax.random.key(3), RUNS)

    def build(key):
        params = {"w": jax.random.normal(key, (SIZE, 1))}
        return FunctionalView(lambda p, s, x, train=False: (x @ p["w"], s), params, {})

    def made_of_a_key(key):
        """Adds what it draws of its key, and takes no step."""
        return optax.GradientTransformation(
            lambda params: {"drawn": jax.random.normal(key, (SIZE,))},
            lambda updates, state, params=None: (jax.tree.map(jnp.zeros_like, updates), state),
        )

    data = np.zeros((4, SIZE), np.float32), np.zeros((4, 1), np.float32)
    squares = lambda outputs, labels: jnp.sum((outputs - labels) ** 2, axis=-1)  # noqa: E731
    options = {"epochs": 1, "batch_size": 4, "loss": squares, "metrics": {}}
    fitted = training.fit(build, made_of_a_key, data, keys, **options)
    check_independent_of_their_user(fitted.runs.params["w"][..., 0], keys)
    check_independent_of_their_user(fitted.runs.opt_state["drawn"], keys)


def test_kernels_of_lsuv_are_independent_of_what_their_user_draws():
    keys = jax.random.split(jax.random.key(4), RUNS)

    @jax.jit
    @jax.vmap
    def kernel(key):
        layer = nnx.Linear(SIZE, 1, rngs=nnx.Rngs(0))
        lsuv(layer, jnp.eye(SIZE), key=key)
        return layer.kernel[...][:, 0]

    check_independent_of_their_user(kernel(keys), keys)


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_draw_nothing_of_keys_that_their_user_can_reach(name, monkeypatch):
    *arguments, keywords = PROBLEMS[name]
    make = getattr(problems, name)
    if "key" not in inspect.signature(make).parameters:
        return
    key, met = jax.random.key(5), []

    def spy(draw):
        def spied(key, *args, **kwargs):
            met.append(tuple(jax.random.key_data(key).tolist()))
            return draw(key, *args, **kwargs)

        return spied

    for sampler in ("normal", "uniform"):
        monkeypatch.setattr(jax.random, sampler, spy(getattr(jax.random, sampler)))
    make(*arguments, **(keywords | {"key": key}))
    reachable = [key, *jax.random.split(key, 4)]
    reachable += [below for k in reachable for below in jax.random.split(k, 4)]
    assert met
    assert not {tuple(jax.random.key_data(k).tolist()) for k in reachable} & set(met)


def test_a_stream_is_of_the_type_of_its_key():
    old = jax.random.PRNGKey(3)
    assert stream(old, "noise").dtype == old.dtype
    new = stream(jax.random.wrap_key_data(old), "noise")
    np.testing.assert_array_equal(jax.random.key_data(new), stream(old, "noise"))


def test_constants_differ_and_lie_beyond_counters():
    numbers = {constant(name) for name in STREAMS}
    assert len(numbers) == len(STREAMS)
    assert min(numbers) > np.iinfo(np.int32).max


def test_a_stream_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"name must be one of noise, .*; got 'noises'"):
        stream(KEY, "noises")
