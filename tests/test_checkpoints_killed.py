"""A training that is killed again and again, also while it writes: the same bits in the end."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import spirals_batch
from tests.own_processes import start


@pytest.mark.parametrize("kills", [1, pytest.param(12, marks=pytest.mark.nightly)])
def test_a_training_killed_at_random_times_ends_with_the_same_bits(tmp_path, kills):
    """It writes without a pause, so that kills come while it does."""
    random, epochs = np.random.default_rng(0), 30 * (kills + 1)
    for _ in range(kills):
        with start(
            spirals_batch.__file__, tmp_path, "--epochs", epochs, "--every", 1e-3
        ) as process:
            process.stdout.readline()  # it trains
            try:
                process.wait(random.uniform(0.2, 0.8))
            except subprocess.TimeoutExpired:
                process.kill()
    folder = tmp_path / "checkpoint"
    assert list(Path(folder, f"epochs-{epochs}").glob("process-0-of-1/checkpoint-*.json"))
    resumed = spirals_batch.fit(epochs, checkpoint=folder)
    whole = spirals_batch.fit(epochs)
    for name, values in spirals_batch.arrays(whole).items():
        np.testing.assert_array_equal(spirals_batch.arrays(resumed)[name], values)
