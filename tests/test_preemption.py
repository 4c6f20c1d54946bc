"""SIGTERM between epochs: a checkpoint, a distinct exit status, and a resumption bit for bit."""

import os
import signal
import subprocess
import sys
import threading

import chex
import jax
import numpy as np
import optax
import pytest
from flax import nnx

from jaxopt_course import training
from jaxopt_course.nn import MLP

INPUTS = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
ADAM = optax.adam(0.03)


def network(key):
    return MLP((2, 4, 2), rngs=nnx.Rngs(key))


def fit(**options):
    return training.fit(
        network,
        ADAM,
        (INPUTS, (INPUTS[:, 0] > 0).astype(np.int32)),
        jax.random.split(jax.random.key(0), 2),
        epochs=5,
        batch_size=20,
        **options,
    )


def terminate_in(epoch):
    def callback(epochs):
        if epochs.epoch[0] == epoch:
            signal.raise_signal(signal.SIGTERM)

    return callback


def test_a_terminated_training_resumes_bit_for_bit(tmp_path):
    """The signal comes when epoch 2 is over; that is kept, and epoch 3 does not begin."""
    whole = fit()
    with pytest.raises(training.Preempted) as stop:
        fit(checkpoint=tmp_path, checkpoint_every=3600, callback=terminate_in(2))
    assert stop.value.code == 75
    epochs = []
    resumed = fit(checkpoint=tmp_path, callback=lambda told: epochs.append(told.epoch.tolist()))
    assert epochs == [[3, 3], [4, 4], [5, 5]]
    chex.assert_trees_all_equal(resumed.runs, whole.runs)
    for name, values in whole.history.items():
        np.testing.assert_array_equal(resumed.history[name], values)


def test_a_signal_in_the_last_epoch_is_not_lost(tmp_path):
    with pytest.raises(training.Preempted):
        fit(checkpoint=tmp_path, callback=terminate_in(5))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    fit(checkpoint=tmp_path, callback=terminate_in(5))  # nothing is left to do


def test_a_program_s_own_handler_stays_in_charge(tmp_path):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        fit(checkpoint=tmp_path, callback=terminate_in(2))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]


def test_training_works_in_other_threads_than_the_main_one(tmp_path):
    ended = []
    thread = threading.Thread(target=lambda: ended.append(fit(checkpoint=tmp_path)))
    thread.start()
    thread.join()
    assert ended[0].history["loss"].shape == (2, 5)


def test_a_terminated_process_exits_with_its_own_status():
    code = """
import os, signal
from jaxopt_course._engine._preemption import deferred
with deferred() as came:
    os.kill(os.getpid(), signal.SIGTERM)
    print("finished the epoch", came())
print("not reached")
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, JAX_PLATFORMS="cpu"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.returncode) == ("finished the epoch True\n", 75)


def test_a_signal_while_functions_are_traced_is_heeded_before_anything_is_computed(tmp_path):
    """It does not interrupt JAX, whose compiler crashes at the end of a process that was."""
    told = []

    def build(key):
        signal.raise_signal(signal.SIGTERM)
        told.append("traced")
        return network(key)

    with pytest.raises(training.Preempted):
        training.fit(
            build,
            ADAM,
            (INPUTS, (INPUTS[:, 0] > 0).astype(np.int32)),
            jax.random.split(jax.random.key(0), 2),
            epochs=5,
            batch_size=20,
            checkpoint=tmp_path,
            callback=told.append,
        )
    assert told == ["traced", "traced"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
