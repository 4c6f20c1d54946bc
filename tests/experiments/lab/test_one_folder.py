"""Two processes that run one experiment into one folder, at nearly the same time."""

import os
import re
import subprocess
import sys

import pytest

from experiments.lab import store

FIELDS = {"dimensions": 3, "attractions": 1.5, "ratio-attractions": "1.0 1.5", "runs": 300}
FIELDS |= {"steps": 300, "ratio-steps": 600}
WORDS = [word for name, said in FIELDS.items() for word in (f"--{name}", *str(said).split())]


def run(out):
    """Start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", "run", "escape", *WORDS, "--out", str(out)],
        env=dict(os.environ, JAX_PLATFORMS="cpu", PYTHONPATH=os.getcwd(), NO_COLOR="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(out):
    return store.results(out, "escape")


@pytest.mark.nightly
def test_two_processes_that_run_one_experiment_both_end_right_or_one_is_told_of_the_other(tmp_path):
    with run(tmp_path / "alone") as process:
        said = process.communicate()[0]
    assert process.returncode in (0, 1), said
    (wanted,) = results(tmp_path / "alone")
    ended = []
    for pair in range(5):
        out = tmp_path / str(pair)
        started = [run(out)]
        # Together, and one while the other traces, compiles, computes, and writes its results.
        with pytest.raises(subprocess.TimeoutExpired):
            started[0].wait(timeout=0.01 + 1.5 * pair)
        started.append(run(out))
        for process in started:
            said = process.communicate()[0]
            assert "Traceback" not in said, said
            if process.returncode == 3:
                assert re.search(r"is in use by (process \d+ on|another process)", said), said
            else:
                assert process.returncode in (0, 1), said
            ended.append(process.returncode)
        (found,) = results(out)
        assert found.dataset().drop_attrs().identical(wanted.dataset().drop_attrs())
        assert found.claims() == wanted.claims()
        left = {path.name for path in (out / "escape").iterdir()}
        assert left <= {found.folder.name, f".{found.folder.name}.lock"}
    assert ended.count(3) <= 5
    assert set(ended) - {3}
