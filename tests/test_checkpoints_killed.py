"""Checkpoints of a process that is killed while it writes them: whole, or the one before."""

import os
import subprocess
import sys
import textwrap
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course.training.checkpoints import Checkpoints

WRITER = """
import sys
import jax.numpy as jnp
import numpy as np
from jaxopt_course.training.checkpoints import Checkpoints

with Checkpoints(sys.argv[1], {}) as checkpoints:
    runs, records = checkpoints.restore({"a": jnp.zeros(300_000), "b": jnp.zeros(3)})
    while True:
        records.append({"loss": np.full(2, len(records) + 1.0)})
        step = float(len(records))
        checkpoints.save({"a": jnp.full(300_000, step), "b": jnp.full(3, step)}, records)
        print(len(records), flush=True)
"""


@pytest.mark.parametrize("kills", [1, pytest.param(12, marks=pytest.mark.nightly)])
def test_a_kill_at_a_random_time_leaves_a_whole_checkpoint(tmp_path, kills):
    random, before = np.random.default_rng(0), 0
    for _ in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "checkpoint")],
            env=dict(os.environ, JAX_PLATFORMS="cpu"),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            written = int(process.stdout.readline())
            threading.Event().wait(random.uniform(0, 0.3))
            process.kill()
        assert written == before + 1  # it went on from the checkpoint of the process before
        fresh = {"a": jnp.zeros(300_000), "b": jnp.zeros(3)}
        with Checkpoints(tmp_path / "checkpoint", {}) as checkpoints:
            runs, records = checkpoints.restore(fresh)
        before = len(records)
        assert before >= written
        assert bool((runs["a"] == before).all())
        assert bool((runs["b"] == before).all())
        assert [record["loss"].tolist() for record in records] == [
            [step, step] for step in range(1, before + 1)
        ]
