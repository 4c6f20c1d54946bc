"""One command line in several processes: one result, written by the first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.lab import processes
from tests.own_processes import free_port

ROOT = Path(__file__).parents[3]
MAIN = "import sys; from experiments.lab.cli import main; sys.exit(main(sys.argv[2:], sys.argv[1]))"


def start(package, *words, **environment):
    """Start a command line in a process of its own."""
    path = os.pathsep.join([*sys.path, str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, package, *map(str, words)],
        env=dict(os.environ, JAX_PLATFORMS="cpu", PYTHONPATH=path) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def of_ours(address, count, process):
    return {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": count,
        "JAX_PROCESS_ID": process,
    }


def of_slurm(address, count, process):
    # What srun sets of which JAX makes use; the number of the job gives the port.
    return {
        "SLURM_JOB_ID": int(address.split(":")[1]) % 2**12,
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": count,
        "SLURM_PROCID": process,
        "SLURM_LOCALID": process,
    }


def of_open_mpi_5(address, count, process):
    return {
        "JAX_COORDINATOR_ADDRESS": address,
        "OMPI_COMM_WORLD_SIZE": count,
        "OMPI_COMM_WORLD_RANK": process,
    }


def start_all(count, package, *words, launcher=of_ours):
    """Start a command line in several processes that know of each other."""
    address = f"localhost:{free_port()}"
    return [
        start(
            package,
            *words,
            JAX_NUM_CPU_DEVICES="2",
            **{name: str(value) for name, value in launcher(address, count, process).items()},
        )
        for process in range(count)
    ]


def test_alone_a_process_decides_for_itself():
    assert processes.is_first()
    assert processes.agree(True)
    assert not processes.agree(False)


def test_the_first_of_two_processes_writes_and_prints(toys, out):
    for message in ("running", "the result exists already"):
        started = start_all(2, toys, "run", "toy", "--distributed", "--out", out)
        outputs = [process.communicate(timeout=120)[0] for process in started]
        assert [process.returncode for process in started] == [0, 0], outputs
        assert message in outputs[0]
        assert "toy" not in outputs[1]
    assert [path.name for path in (out / "toy").iterdir()] == ["quick"]


@pytest.mark.parametrize("launcher", [of_slurm, of_open_mpi_5])
def test_processes_of_a_launcher_find_each_other(toys, out, launcher):
    started = start_all(2, toys, "run", "toy", "--distributed", "--out", out, launcher=launcher)
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert "running" in outputs[0]
    assert "toy" not in outputs[1]


def test_open_mpi_5_without_an_address_or_mpi4py_is_told_what_it_needs(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    monkeypatch.setattr(processes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install mpi4py, or mpirun -x JAX_COORDINATOR"):
        processes.start()


def test_tasks_of_an_array_share_a_folder(toys, out):
    started = [start(toys, "run", "toy", "--size", size, "--out", out) for size in (2, 4)]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [1, 1], outputs  # 3 numbers are expected
    assert len(list((out / "toy").iterdir())) == 2


@pytest.mark.nightly
def test_an_experiment_has_the_same_results_in_two_processes(tmp_path):
    import numpy as np

    import experiments

    small = "--runs 6 --steps 80 --ratio-steps 80 --dimensions 3 --ratio-attractions 1.0"
    words = ("run", "escape", *small.split(), "--out")
    both = start_all(2, "experiments", *words, tmp_path / "two", "--distributed")
    outputs = [process.communicate(timeout=600)[0] for process in both]
    assert all(process.returncode in (0, 1) for process in both), outputs
    alone = start("experiments", *words, tmp_path / "one")
    output, _ = alone.communicate(timeout=600)
    assert alone.returncode in (0, 1), output
    (folder,) = (tmp_path / "one" / "escape").iterdir()
    one, two = (experiments.load("escape", folder.name, out=tmp_path / n) for n in ("one", "two"))
    for name in one.variables:
        np.testing.assert_array_equal(one[name], two[name])
