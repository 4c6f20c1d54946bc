"""TensorBoard logs, read back by TensorBoard's own reader."""

import importlib.util

import jax
import numpy as np
import optax
import pytest
from flax import nnx
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jaxopt_course import training
from jaxopt_course._engine._checkpoints import RunCheckpoints
from jaxopt_course.nn import MLP


def network(key):
    return MLP((2, 4, 2), rngs=nnx.Rngs(key))


INPUTS = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
DATA = INPUTS, (INPUTS[:, 0] > 0).astype(np.int32)
KEYS = jax.random.split(jax.random.key(0), 2)
ADAM = optax.adam(0.03)


def fit(log, epochs, **options):
    return training.fit(
        network,
        ADAM,
        DATA,
        KEYS,
        epochs=epochs,
        batch_size=20,
        evaluation={"test": DATA},
        callback=log,
        **options,
    )


def told(epoch, losses):
    """An epoch of every run."""
    runs = len(losses)
    return training.Epochs(np.arange(runs), np.full(runs, epoch), {"loss": losses}, 0, runs)


def read(folder):
    """Steps and values by tag."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: ([event.step for event in found], [event.value for event in found])
        for tag in events.Tags()["scalars"]
        for found in [events.Scalars(tag)]
    }


def test_every_metric_of_every_run_is_a_scalar_an_epoch(tmp_path):
    with training.TensorBoard(tmp_path / "logs") as log:
        fitted = fit(log, epochs=3)
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["run_0", "run_1"]
    for run in range(2):
        logged = read(tmp_path / "logs" / f"run_{run}")
        assert logged.keys() == fitted.history.keys()
        for name, (steps, values) in logged.items():
            assert steps == [1, 2, 3]
            np.testing.assert_array_equal(np.float32(values), fitted.history[name][run])


def test_an_epoch_is_on_disk_before_the_next_begins(tmp_path):
    with training.TensorBoard(tmp_path) as log:
        for epoch in (1, 2):
            log(told(epoch, [0.5 / epoch]))
            assert read(tmp_path / "run_0")["loss"][0] == list(range(1, epoch + 1))


def test_runs_that_take_turns_have_curves_of_their_own(tmp_path):
    with training.TensorBoard(tmp_path, names=["a", "b"]) as log:
        fitted = fit(log, epochs=3, lanes=1)
    for run, name in enumerate("ab"):
        steps, values = read(tmp_path / name)["test_loss"]
        assert steps == [1, 2, 3]
        np.testing.assert_array_equal(np.float32(values), fitted.history["test_loss"][run])


def test_a_resumed_training_continues_the_curves_from_its_checkpoint(tmp_path, monkeypatch):
    """A process is killed in epoch 3, whose last checkpoint is that of epoch 2."""

    class KilledError(Exception):
        pass

    options = {"checkpoint": tmp_path / "checkpoint", "epochs": 5}
    with training.TensorBoard(tmp_path / "logs") as log:

        def killed(epochs):
            # What is lost with the process must not be seen: here, numbers that would be wrong.
            wrong = epochs.epoch > 2
            log(
                epochs._replace(
                    record={name: values + wrong for name, values in epochs.record.items()}
                )
            )
            if epochs.epoch[0] >= 2:
                raise KilledError

        with pytest.raises(KilledError):
            fit(killed, **options)
        monkeypatch.setattr(RunCheckpoints, "save", lambda *_: None)  # no time left for it
        with pytest.raises(KilledError):
            fit(killed, **options)
    monkeypatch.undo()
    with training.TensorBoard(tmp_path / "logs") as log:
        fitted = fit(log, **options)
    steps, values = read(tmp_path / "logs" / "run_1")["loss"]
    assert steps == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(np.float32(values), fitted.history["loss"][1])


def test_training_anew_replaces_the_curves(tmp_path):
    for epochs, loss in ((3, 1.0), (2, 0.5)):
        with training.TensorBoard(tmp_path, names=["sgd/0"]) as log:
            for epoch in range(epochs):
                log(told(epoch + 1, [loss]))
    assert read(tmp_path / "sgd" / "0") == {"loss": ([1, 2], [0.5, 0.5])}


def test_mistakes_are_named(tmp_path):
    for names, message in (
        (["a", "a/"], "names must be distinct"),
        (["../a"], "names must be folders below"),
        (["/a"], "names must be folders below"),
        ([""], "names must be folders below"),
    ):
        with pytest.raises(ValueError, match=message):
            training.TensorBoard(tmp_path, names=names)
    with pytest.raises(TypeError, match="names must be a list of text, got 'ab'"):
        training.TensorBoard(tmp_path, names="ab")
    with pytest.raises(TypeError, match="folder must be a path, got 3"):
        training.TensorBoard(3)
    with (
        training.TensorBoard(tmp_path, names=["a"]) as log,
        pytest.raises(ValueError, match="names must be one a run, 2, got 1"),
    ):
        log(told(1, [0.0, 0.0]))
    assert list(tmp_path.iterdir()) == []


def test_without_its_package_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxopt_course\[tensorboard\]'"):
        training.TensorBoard(tmp_path)
