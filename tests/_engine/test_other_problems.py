"""A folder with checkpoints of one problem is refused to any other; the error says what differs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxopt_course import problems, saddle, training, transforms
from jaxopt_course.nn import MLP

SADDLE = problems.nesterov_saddle()


class Interruption(Exception):
    """Leaves a checkpoint."""


def interrupt(_):
    raise Interruption


def noisy(rate, scale=0.01):
    return lambda key: transforms.noisy_gradient_descent(rate, scale, key)


def to_disk(folder, **changes):
    options = {
        "fun": lambda x: SADDLE.fun(x),
        "optimizer": noisy(0.1),
        "init": lambda key: SADDLE.init(key),
        "key": jax.random.key(0),
        "runs": 20,
        "max_steps": 5,
        "lanes": 8,
    } | changes
    return saddle.escape_to_disk(folder=folder, **options)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"fun": lambda x: 2 * SADDLE.fun(x)}, "objective"),
        ({"fun": lambda x: SADDLE.fun(x + jnp.ones(2) * 1e-3)}, "objective"),
        ({"optimizer": noisy(0.2)}, "optimizer"),
        ({"optimizer": noisy(0.1, 0.02)}, "optimizer"),
        ({"optimizer": optax.sgd(0.1)}, "optimizer"),
        ({"init": lambda key: 2 * SADDLE.init(key)}, "init"),
        ({"key": jax.random.key(1)}, "key"),
        ({"max_steps": 6}, "max_steps"),
        ({"target_value": 0.0}, "target_value"),
        ({"epsilon": 0.1, "hessian_lipschitz": 1.0}, "epsilon"),
        ({"lanes": 4}, "lanes"),
        ({"runs": 21}, "runs"),
        ({"init": lambda key: SADDLE.init(key).astype(jnp.bfloat16)}, "objective"),
    ],
)
def test_runs_on_disk_are_of_one_problem(tmp_path_factory, changes, part):
    folder = tmp_path_factory.getbasetemp() / "runs_on_disk"
    to_disk(folder)  # equal functions, defined anew, go on
    with pytest.raises(ValueError, match=f"{part} = .*, this one has"):
        to_disk(folder, **changes)


def test_runs_on_disk_are_of_one_precision(tmp_path):
    to_disk(tmp_path)
    narrow = lambda key: jax.random.normal(key, (2,), jnp.float32)  # noqa: E731
    to_disk(tmp_path / "narrow", init=narrow)
    with (
        jax.enable_x64(True),
        pytest.raises(ValueError, match=r"x64|objective|optimizer"),
    ):
        to_disk(tmp_path / "narrow", init=narrow)
    with (
        jax.default_matmul_precision("float32"),
        pytest.raises(ValueError, match=r"another settings: it has None at .*matmul_precision"),
    ):
        to_disk(tmp_path)


def test_runs_in_memory_are_of_one_problem(tmp_path):
    starts = jax.random.normal(jax.random.key(0), (40, 2))

    def escape(rate=0.1, starts=starts, factor=1.0, **options):
        return saddle.escape(
            lambda x: factor * SADDLE.fun(x),
            optax.sgd(rate),
            starts,
            max_steps=5,
            lanes=8,
            checkpoint=tmp_path,
            **options,
        )

    with pytest.raises(Interruption):
        escape(callback=interrupt)
    for changes, part in (
        ({"rate": 0.2}, "optimizer"),
        ({"factor": 2.0}, "objective"),
        ({"starts": 2 * starts}, "starts"),
        ({"record_every": 1}, "record_every"),
    ):
        with pytest.raises(ValueError, match=f"{part} = .*, this one has"):
            escape(**changes)
    whole = saddle.escape(SADDLE.fun, optax.sgd(0.1), starts, max_steps=5, lanes=8)
    np.testing.assert_allclose(escape().params, whole.params, rtol=1e-6)


def test_searches_are_of_one_problem(tmp_path):
    starts = jax.random.normal(jax.random.key(0), (40, 2))

    def find(factor=1.0, starts=starts, **options):
        fun = lambda x: jnp.sum(x**4) - factor * jnp.sum(x**2)  # noqa: E731
        return saddle.find(fun, starts, lanes=8, checkpoint=tmp_path, **options)

    with pytest.raises(Interruption):
        find(callback=interrupt)
    for changes, part in (
        ({"factor": 2.0}, "objective"),
        ({"starts": 2 * starts}, "starts"),
        ({"method": "levenberg_marquardt"}, "method"),
        ({"tolerance": 1e-3}, "tolerance"),
        ({"max_steps": 10}, "max_steps"),
    ):
        with pytest.raises(ValueError, match=f"{part} = .*, this one has"):
            find(**changes)
    assert find().num_points == 9


def test_trainings_are_of_one_problem(tmp_path):
    inputs = jax.random.normal(jax.random.key(0), (40, 2))
    labels = (inputs[:, 0] > 0).astype(int)

    def network(activation=jax.nn.relu):
        return lambda key: MLP((2, 4, 2), rngs=nnx.Rngs(key), activation=activation)

    def fit(build=None, rate=0.1, inputs=inputs, labels=labels, **options):
        return training.fit(
            network() if build is None else build,
            optax.adam(rate),
            (inputs, labels),
            jax.random.split(jax.random.key(1), 2),
            **{"epochs": 1, "batch_size": 20, "checkpoint": tmp_path} | options,
        ).history["loss"]

    first = fit()
    for changes, part in (
        ({"labels": 1 - labels}, "data of 'train'"),
        ({"inputs": inputs + 1e-3}, "data of 'train'"),
        ({"rate": 0.2}, "optimizer"),
        ({"loss": lambda *both: 2 * training.cross_entropy(*both)}, "loss"),
        ({"metrics": {"accuracy": lambda *both: 1 - training.correct(*both)}}, "metric 'accuracy'"),
        ({"build": network(jnp.tanh)}, "network"),
        ({"batch_size": 10}, "batch_size"),
        ({"max_loss": 3.0}, "max_loss"),
        ({"augment": lambda key, x: x + jax.random.normal(key, x.shape)}, "augment|network"),
    ):
        with pytest.raises(ValueError, match=f"({part}) = .*, this one has"):
            fit(**changes)
    np.testing.assert_array_equal(fit(), first)
    longer = fit(epochs=2)  # more epochs go on from there
    np.testing.assert_array_equal(longer[:, :1], first)
