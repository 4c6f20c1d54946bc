"""`training`: keys, data and numbers that do not fit are named before anything is trained."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import strategies as st

from jaxopt_course import nn, training
from tests.fuzz.harness import Entry, check_complete, fuzz
from tests.fuzz.strategies import Kind, constant, flags, keys, numbers, sizes, wild_trees


def build(key):
    return nn.MLP((2, 3, 2), rngs=nnx.Rngs(key))


DATA = (np.ones((8, 2), np.float32), np.arange(8) % 2)
ADAM = optax.adam(0.01)  # the same object, so that what is compiled is compiled once
two_keys = st.integers(0, 9).map(lambda seed: jax.random.split(jax.random.key(seed), 2))
duplicates = two_keys.map(lambda keys: jnp.stack([keys[0]] * 2))
wrong_data = (
    None, 3, (), (DATA[0],), (DATA[0], DATA[1][:-1]), (DATA[0][:0], DATA[1][:0]), "data",
    (np.float32(1), np.float32(2)), (DATA[0] * np.nan, DATA[1]), {"x": DATA[0]},
)  # fmt: skip
labels = jnp.zeros(3, jnp.int32)
KINDS = {
    "build": Kind(st.just(build), st.sampled_from((build, None, 3, "model"))),
    "optimizer": Kind(st.just(ADAM), st.sampled_from((ADAM, None, 3, "adam"))),
    "train": Kind(st.just(DATA), st.sampled_from((DATA, *wrong_data))),
    "keys": Kind(two_keys, st.one_of(two_keys, duplicates, keys().wild)),
    "epochs": sizes(1, 2),
    "batch_size": sizes(4, 4),
    "hyperparams": constant(None),
    "evaluation": constant(None),
    "data_axis": Kind(st.just(None), st.sampled_from((None, 0, 1, -1, "a", 0.5, True))),
    "gradient_norm": constant(False),
    "observe": Kind(st.just(None), st.sampled_from(({}, {"a": 3}, {3: jnp.sin}, 3, "a", [1]))),
    "observe_every": sizes(1, 2),
    "max_loss": Kind(st.just(np.inf), numbers(st.just(1.0)).wild),
    "evaluation_batch_size": sizes(100, 100),
    "checkpoint": constant(None),
    "checkpoint_every": numbers(st.just(60.0)),
    "devices": Kind(st.just(None), st.sampled_from((None, (), tuple(jax.devices()[:2])))),
    "lanes": sizes(1, 2),
    "loss": Kind(st.just(training.cross_entropy), st.sampled_from((None, 3, "loss"))),
    "augment": Kind(st.just(None), st.sampled_from((None, 3, "a"))),
    "callback": Kind(st.just(None), st.sampled_from((None, 3, "a"))),
    "progress": flags(),
    "outputs": Kind(st.just(jnp.ones((3, 2))), wild_trees()),
    "labels": Kind(st.just(labels), st.one_of(st.just(labels), wild_trees())),
    "hyperparam": Kind(
        st.lists(st.floats(0, 1), min_size=1, max_size=3),
        st.sampled_from(([], 3, None, "ab", [[0.1, 0.2]], [None], ["a"], [np.nan], {"a": 1}, [1j])),
    ),
    "flag": flags(),
    "folder": Kind(st.just("logs"), st.sampled_from((None, 3, b"logs", ""))),
    "names": Kind(
        st.sampled_from((["a", "b/c"], ("x",))),
        st.sampled_from((None, 3, "ab", [], ["a", "a"], ["a", "./a"], [1], ["/a"], ["../a"], [""])),
    ),
}


def trained(result, arguments, data, sane):
    """A record for every run and epoch; finite where nothing was wild."""
    assert result.history["loss"].shape == (2, arguments["epochs"])
    assert not sane or np.isfinite(result.history["loss"]).all()


def combined(result, arguments, data, sane):
    runs = result.keys.shape[0]
    assert runs == int(np.prod(result.shape))
    assert all(values.shape == (runs,) for values in result.hyperparams.values())


def right(result, arguments, data, sane):
    assert result.dtype == jnp.float32


def logged(result, arguments, data, sane):
    """Names that are accepted make folders that are told apart."""
    with (
        tempfile.TemporaryDirectory() as folder,
        training.TensorBoard(
            folder, **{name: value for name, value in arguments.items() if name == "names"}
        ) as log,
    ):
        runs = len(arguments.get("names") or range(2))
        log(training.Epochs(range(runs), [1] * runs, {"loss": np.ones(runs)}, 0, runs))
        assert len(list(pathlib.Path(folder).rglob("events.*"))) == runs


def grid(keys, hyperparam):
    return training.grid(keys, hyperparam=hyperparam)


ENTRIES = {
    "fit": Entry(training.fit, KINDS, trained),
    "grid": Entry(grid, KINDS, combined),
    "correct": Entry(training.correct, KINDS, right),
    "TensorBoard": Entry(training.TensorBoard, KINDS, logged),
}


def test_every_public_function_has_an_entry():
    # `cross_entropy` is optax's, and `Preempted` an exception.
    check_complete(training, ENTRIES, skip=("cross_entropy", "Preempted"))


@pytest.mark.parametrize("name", ENTRIES)
def test_functions_work_or_name_the_argument(name):
    fuzz(ENTRIES[name], 5)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENTRIES)
def test_many_examples(name):
    fuzz(ENTRIES[name], 80, derandomize=False)
