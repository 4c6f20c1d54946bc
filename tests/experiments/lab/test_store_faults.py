"""What the store leaves behind when it is killed, when the disk is full and when it may not write.

The faults are real ones, made in processes of their own.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from experiments.lab import store

ROOT = Path(__file__).parents[3]
PYTHON = [sys.executable, "-X", "faulthandler"]


def run_python(code, *arguments, path=ROOT, prefix=()):
    """Run code in another process and return what it printed."""
    done = subprocess.run(
        [*prefix, *PYTHON, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        env=dict(os.environ, PYTHONPATH=f"{path}:{ROOT}", JAX_PLATFORMS="cpu"),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_version(folder, version, size=1):
    with store.replacing(folder) as staging:
        for name in store.FILES[1:]:
            text = "[]" if name == "claims.json" else str(version) * size
            store.write_file(staging / name, text)
        store.seal(staging, {"format": store.FORMAT, "version": version})


@pytest.mark.parametrize("stride", [23, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_kill_at_any_line_of_the_code_leaves_the_old_result_or_the_new(tmp_path, stride):
    """Every line that the store, `shutil` and `pathlib` run while writing is a moment to die at."""
    code = """
    import os, shutil, signal, sys
    from pathlib import Path
    sys.path.insert(0, "tests/experiments/lab")
    import test_store_faults as faults
    from experiments.lab import store

    # Where their code is, not their modules: pathlib is a package on Python 3.13.
    codes = store.read.__code__, shutil.copyfile.__code__, Path.rename.__code__
    watched = {Path(code.co_filename).name for code in codes}
    out = Path(sys.argv[1])
    os.fsync = lambda descriptor: None  # a killed process loses nothing that the system has

    def die_at(moment, folder):
        seen = 0
        def trace(frame, event, argument):
            nonlocal seen
            if Path(frame.f_code.co_filename).name not in watched:
                return None
            if event == "line":
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        faults.write_version(folder, 2)

    moment, killed, versions = 0, True, []
    while killed:
        moment += int(sys.argv[2])
        folder = out / str(moment) / "toy" / "quick"
        faults.write_version(folder, 1)
        child = os.fork()
        if child == 0:
            die_at(moment, folder)
            os._exit(0)
        killed = os.waitpid(child, 0)[1] == signal.SIGKILL
        (result,) = store.results(out / str(moment), "toy")  # that `read` restores is not enough
        assert result.folder == folder
        version = result.about["version"]
        assert result.data.read_text() == result.figure.read_text() == str(version), moment
        versions.append(version)
        faults.write_version(folder, 3)  # leftovers are in nobody's way
        assert store.read(folder).about["version"] == 3
        shutil.rmtree(out / str(moment))
    assert versions == sorted(versions)
    print(versions.count(1), versions.count(2))
    """
    before, after = map(int, run_python(code, tmp_path, stride).split())
    assert before > 200 / stride  # moments before the new result was in place, and after
    assert after > 1


def test_kills_at_random_times_never_leave_a_mixture(tmp_path):
    code = """
    import sys
    from pathlib import Path
    sys.path.insert(0, "tests/experiments/lab")
    import test_store_faults as faults
    version = 0
    while True:
        version += 1
        faults.write_version(Path(sys.argv[1]), version, size=300_000)
        print(version, flush=True)
    """
    random = np.random.default_rng(0)
    folder = tmp_path / "toy" / "quick"
    for _ in range(5):
        with subprocess.Popen(
            [*PYTHON, "-c", textwrap.dedent(code), str(folder)],
            cwd=ROOT,
            env=dict(os.environ, PYTHONPATH=str(ROOT), JAX_PLATFORMS="cpu"),
            stdout=subprocess.PIPE,
        ) as process:
            process.stdout.readline()
            threading.Event().wait(random.uniform(0, 0.05))
            process.kill()
        result = store.read(folder)
        text = str(result.about["version"]) * 300_000
        assert result.data.read_text() == result.figure.read_text() == text


def test_two_writers_and_a_reader_who_restores_do_not_hurt_each_other(tmp_path):
    folder = tmp_path / "toy" / "quick"
    write_version(folder, 0)
    errors, done = [], threading.Event()

    def write():
        try:
            for version in range(60):
                write_version(folder, version)
        except BaseException as error:
            errors.append(error)

    def read():
        while not done.is_set():
            try:
                store.read(folder)
            except (OSError, store.UnreadableResultError):
                pass  # replaced while it was read: the next look finds the new one
            except BaseException as error:
                errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert errors == []
    assert store.read(folder).about["version"] == 59


FULL_DISK = """
import contextlib, io, json, resource, sys
from pathlib import Path
from experiments.lab import store
from experiments.lab.cli import main

folder = Path(sys.argv[1]) / "toy" / "quick"
line = ["run", "toy", "--out", sys.argv[1]]

def content():
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

def attempt(*options):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main([*line, *options], package="toys")
    return code, said.getvalue()

assert attempt()[0] == 0
before = content()
"""


def test_files_that_may_not_grow_are_said_and_the_former_result_stays(toys, tmp_path, out):
    """A limit on the size of files makes `write` fail in the middle, at every file in turn."""
    code = (
        FULL_DISK
        + """
sizes = sorted(len(file) for file in before.values())
for limit in [1, sizes[0] - 1, *(size // 2 for size in sizes), *(size - 1 for size in sizes[1:])]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    code, said = attempt("--force")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert code == 3, (limit, code, said)
    assert "File too large" in said and "unchanged" in said and "Traceback" not in said, said
    assert content() == before, limit
    names = {path.name for path in folder.parent.iterdir()}
    assert names <= {"quick", ".quick.nc"}, names
print("kept" if (folder.parent / ".quick.nc").exists() else "lost")
assert attempt("--force")[0] == 0
assert [path.name for path in folder.parent.iterdir()] == ["quick"]
"""
    )
    # What the last failure had computed was small enough to be kept.
    assert run_python(code, out, path=tmp_path).split() == ["kept"]


def mounts():
    """Whether this process may mount, in a namespace of its own that ends with it."""
    if not shutil.which("unshare"):
        return False
    try_it = ["unshare", "-m", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(try_it, capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_said_and_the_former_result_stays(toys, tmp_path, out):
    if not mounts():
        pytest.skip("needs the right to mount; the limit on files above tests the same code")
    code = (
        FULL_DISK
        + """
import os
def free():
    at = os.statvfs(sys.argv[1])
    return at.f_bavail * at.f_bsize

filler = Path(sys.argv[1]) / "filler"
total = sum(map(len, before.values()))
for room in [0, *(total * part // 8 for part in range(1, 8))]:
    filler.write_bytes(bytes(max(free() - room, 0)))
    code, said = attempt("--force")
    filler.unlink()
    assert code == 3, (room, code, said)
    assert "No space left" in said and "unchanged" in said and "Traceback" not in said, said
    assert content() == before, room
assert attempt("--force")[0] == 0
print("done")
"""
    )
    out.mkdir()
    small = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", small, str(out)]
    assert run_python(code, out, path=tmp_path, prefix=prefix).split() == ["done"]


def test_a_read_only_folder_is_said_and_stays_readable(toys, command, tmp_path, out):
    code = (
        FULL_DISK.replace("assert attempt()[0] == 0\n", "")
        + """
import toys.toy
code, said = attempt("--force")
assert (code, toys.toy.runs) == (3, 0), (code, said)  # said before anything is computed
assert ("Read-only" in said or "Permission denied" in said) and "Traceback" not in said, said
assert content() == before
assert attempt()[0] == 0  # the stored result can be shown
assert len(store.results(Path(sys.argv[1]), "toy")) == 1
print("done")
"""
    )
    assert command("run toy") == 0
    prefix = []
    if os.geteuid() != 0:
        (out / "toy").chmod(0o555)
    elif mounts():  # for root the permissions of a folder mean nothing
        script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        prefix = ["unshare", "-m", "sh", "-c", script, str(out)]
    else:
        pytest.skip("root may write everywhere, and may not mount here")
    try:
        assert run_python(code, out, path=tmp_path, prefix=prefix).split() == ["done"]
    finally:
        (out / "toy").chmod(0o755)
