"""A folder has one process at a time, which SIGTERM ends with status 75 whatever it is at."""

import contextlib
import os
import signal
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import saddle, training
from tests._engine import one_folder
from tests.own_processes import start

SCRIPT = one_folder.__file__


@pytest.mark.parametrize("kind", one_folder.CALLS)
def test_a_second_call_on_a_folder_in_use_is_refused_and_harms_nobody(tmp_path, kind):
    refused, devices = [], jax.local_devices()[:1]

    def call_again(progress):
        if not refused:
            with pytest.raises(BlockingIOError, match=f"in use by process {os.getpid()} on .* sin"):
                one_folder.CALLS[kind](tmp_path, devices=devices)
            refused.append(True)

    one_folder.CALLS[kind](tmp_path, devices=devices, callback=call_again)
    assert refused
    one_folder.CALLS[kind](tmp_path, devices=devices)


@pytest.mark.parametrize("kind", one_folder.CALLS)
def test_a_folder_that_cannot_be_written_is_told_of_before_any_work(tmp_path, kind):
    def work(progress):
        pytest.fail("something was computed")

    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/.* cannot be written to \(.*: make it writable, or"):
        one_folder.CALLS[kind](tmp_path / "file", callback=work)


def test_sigterm_while_a_call_with_a_folder_is_traced_ends_it_before_anything_is_computed(tmp_path):
    """Not within JAX, whose compiler crashed at the end of such a process; nothing is stored."""
    traced = []

    def fun(x):
        traced.append(True)
        signal.raise_signal(signal.SIGTERM)
        return jnp.sum(x**2)

    def run(**options):
        saddle.escape(fun, optax.sgd(0.1), jnp.ones((3, 2)), max_steps=5, **options)

    with pytest.raises(training.Preempted) as stop:
        run(checkpoint=tmp_path)
    assert stop.value.code == 75
    assert traced == [True, True]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def wanted(tmp_path_factory):
    """What each call gives if nothing happens, by kind, made when it is asked for."""
    found = {}

    def of(kind):
        if kind not in found:
            file = tmp_path_factory.mktemp(kind) / "results.npz"
            with start(SCRIPT, kind, file.parent / "folder", "--results", file) as process:
                output = process.communicate()[0]
            assert process.returncode == 0, output
            found[kind] = dict(np.load(file))
        return found[kind]

    return of


def assert_same(file, wanted):
    with np.load(file) as found:
        assert set(found) == set(wanted)
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", one_folder.CALLS)
def test_of_two_processes_on_a_folder_one_is_refused_and_nothing_is_mixed(
    tmp_path, wanted, kind, seed
):
    random, go = np.random.default_rng(seed), [tmp_path / "go-0", tmp_path / "go-1"]
    files = [tmp_path / "0.npz", tmp_path / "1.npz"]
    processes = [
        start(SCRIPT, kind, tmp_path / "folder", "--every", 0.05, "--results", file, "--go", word)
        for file, word in zip(files, go, strict=True)
    ]
    try:
        for process in processes:
            process.stdout.readline()
        go[0].touch()
        with contextlib.suppress(subprocess.TimeoutExpired):
            processes[0].wait(random.uniform(0, 0.5) if seed else 0)
        go[1].touch()
        outputs = [process.communicate(timeout=200)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert 0 in [process.returncode for process in processes], outputs
    for process, output, file in zip(processes, outputs, files, strict=True):
        if process.returncode == 0:
            assert_same(file, wanted(kind))
        else:
            assert "BlockingIOError" in output
            assert "is in use by process" in output
    with start(SCRIPT, kind, tmp_path / "folder", "--results", tmp_path / "2.npz") as process:
        assert process.communicate()[0] == "begun\nended\n"
    assert_same(tmp_path / "2.npz", wanted(kind))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["escape_to_disk", "fit"])
def test_a_process_killed_within_a_moment_of_its_writes_ends_with_the_same_bits(
    tmp_path, wanted, kind, seed
):
    """Five kills each, every one at most 20 ms after a file has appeared or gone."""
    random, folder = np.random.default_rng(seed), tmp_path / "folder"
    for _ in range(5):
        with start(SCRIPT, kind, folder, "--every", 0.01) as process:
            process.stdout.readline()
            seen = sorted(folder.rglob("*"))
            while process.poll() is None and sorted(folder.rglob("*")) == seen:
                pass
            try:
                process.wait(random.uniform(0, 0.02))
            except subprocess.TimeoutExpired:
                process.kill()
    with start(SCRIPT, kind, folder, "--results", tmp_path / "end.npz") as process:
        assert process.communicate()[0] == "begun\nended\n"
    assert_same(tmp_path / "end.npz", wanted(kind))


@pytest.mark.nightly
@pytest.mark.parametrize("kind", one_folder.CALLS)
def test_sigterm_at_any_moment_of_a_call_ends_the_process_with_status_75(tmp_path, wanted, kind):
    """While it traces, compiles, computes, writes: 8 moments in the first seconds."""
    random = np.random.default_rng(0)
    for moment in random.uniform(0, 3, 8):
        with start(SCRIPT, kind, tmp_path / "folder", "--every", 0.05) as process:
            process.stdout.readline()
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
            output = process.communicate(timeout=200)[0]
        # What comes after the call is not the library's.
        assert process.returncode == 75 or "ended" in output, output
    with start(SCRIPT, kind, tmp_path / "folder", "--results", tmp_path / "end.npz") as process:
        assert process.communicate()[0] == "begun\nended\n"
    assert_same(tmp_path / "end.npz", wanted(kind))
