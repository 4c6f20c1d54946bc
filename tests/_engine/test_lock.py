"""A folder has one process at a time, and a dead one has none."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from jaxopt_course._engine import _lock as lock
from jaxopt_course._engine._lock import locked

HOLD = """
import sys, time
from jaxopt_course._engine._lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds `tmp_path / "folder"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "folder")],
        env=dict(os.environ, PYTHONPATH=os.getcwd(), JAX_PLATFORMS="cpu"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_folder_and_a_dead_one_holds_nothing(
    tmp_path, holder
):
    with (
        pytest.raises(BlockingIOError, match=rf"folder is in use by process {holder.pid} on .* si"),
        locked(tmp_path / "folder"),
    ):
        pass
    assert (tmp_path / "folder" / "lock").exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "folder") as folder:
        assert str(os.getpid()) in (folder / "lock").read_text()


def test_the_same_process_has_it_once(tmp_path):
    """Also in other threads: locks belong to the opened file, not to the process."""
    refused = []

    def again():
        with pytest.raises(BlockingIOError, match=str(os.getpid())), locked(tmp_path):
            pass
        refused.append(True)

    with locked(tmp_path):
        again()
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()
    assert refused == [True, True]
    with locked(tmp_path):
        pass


def test_what_was_made_and_is_empty_goes(tmp_path):
    with locked(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / "lock").exists()
    assert not list(tmp_path.iterdir())
    with locked(tmp_path / "a" / "b") as folder:
        (folder.parent / "something").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "something"]
    with locked(tmp_path):
        pass
    assert tmp_path.is_dir()


def test_a_folder_that_cannot_be_made_or_written_to_is_named_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=rf"{path} cannot be written to \(.*another folder"):
            locked(path).__enter__()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(lock.os, "fsync", full)
    with pytest.raises(OSError, match=r"new cannot be written to \(No space .*make room") as error:
        locked(tmp_path / "new").__enter__()
    assert error.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_nothing_can_be_locked_a_warning_says_so(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with pytest.warns(UserWarning, match=r"cannot be locked \(No locks available\)"):
        locked(tmp_path).__enter__()


def test_a_lock_file_that_its_holder_removed_is_not_taken_for_a_lock(tmp_path, monkeypatch):
    """It was opened before the holder left and removed it: another file is the lock now."""
    flock, removed = lock.fcntl.flock, []

    def late(file, operation):
        if not removed:
            removed.append((tmp_path / "lock").unlink())
        flock(file, operation)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with locked(tmp_path):
        monkeypatch.setattr(lock.fcntl, "flock", flock)
        with pytest.raises(BlockingIOError):
            locked(tmp_path).__enter__()
