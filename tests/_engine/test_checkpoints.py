"""Whatever happens to a checkpoint: the same results in the end, or a sentence why not."""

import contextlib
import errno
import json
import os
import resource
import shutil
import warnings
from functools import partial

import numpy as np
import pytest

from jaxopt_course._engine import _checkpoints as checkpoints
from jaxopt_course._engine import _files as files
from jaxopt_course._engine import _manifest as manifest
from jaxopt_course._engine._checkpoints import RunCheckpoints, holding, stored_parts
from jaxopt_course._engine._crews import concatenate
from tests._engine.small_engine import SmallEngine, rows_of

RUNS = range(60)
ABOUT = {"format": 3, "runs": 60}


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_the_disk():
    """That fsync is called, and in which order, does not depend on how long it takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def begin(folder, about=ABOUT, saves=None, steps=5, engine=None):
    """Work on what is in a folder, saving now and then, to the end or so many times."""
    engine = SmallEngine(RUNS) if engine is None else engine
    with RunCheckpoints(folder, about) as stored:
        stored.restore(engine)
        while not engine.finished and saves != 0:
            engine.work(steps)
            stored.save(engine)
            saves = None if saves is None else saves - 1
    return engine


def results(folder):
    return concatenate(list(stored_parts(folder, SmallEngine(RUNS).no_rows())))


def assert_all_there(folder):
    wanted = rows_of(np.array(RUNS))
    found = results(folder)
    np.testing.assert_array_equal(found["params"]["x"], wanted["params"]["x"])
    np.testing.assert_array_equal(found["steps"], wanted["steps"])


def own(folder):
    return folder / "process-0-of-1"


def names(folder):
    return sorted(path.name for path in own(folder).iterdir())


@pytest.fixture(scope="module")
def halfway(tmp_path_factory, no_waiting_for_the_disk):
    """Checkpoints 3 and 4 of a batch that has not ended."""
    folder = tmp_path_factory.mktemp("halfway")
    begin(folder, saves=4)
    return folder


@pytest.fixture
def copy(halfway, tmp_path):
    return shutil.copytree(halfway, tmp_path / "copy")


def test_two_checkpoints_are_kept_and_the_parts_of_all(halfway):
    assert names(halfway) == [
        "checkpoint-3.json",
        "checkpoint-4.json",
        *(f"ended-{number}.npz" for number in range(1, 5)),
        "lanes-3.npz",
        "lanes-4.npz",
    ]


def test_a_batch_in_pieces_has_the_results_of_a_whole_one(tmp_path):
    while not begin(tmp_path, saves=1, steps=3).finished:
        pass
    assert_all_there(tmp_path)
    before = names(tmp_path)
    begin(tmp_path)
    assert names(tmp_path) == before


def damage(path, how, random):
    """Do something to a file that is not as it was afterwards."""
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[random.integers(len(content))] ^= 1 << random.integers(8)
    elif how == "digit":
        digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
        place = digits[random.integers(len(digits))]
        content[place] = ord(str((int(chr(content[place])) + random.integers(1, 10)) % 10))
    elif how == "cut":
        content = content[: random.integers(len(content))]
    elif how == "empty":
        content = b""
    elif how == "zeros":
        content = bytes(len(content))
    path.write_bytes(content)
    if how == "gone":
        path.unlink()


@pytest.mark.parametrize("times", [10, pytest.param(300, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("how", ["flip", "digit", "cut", "empty", "zeros", "gone"])
def test_one_damaged_file_loses_nothing_and_is_named(halfway, tmp_path, how, times):
    random = np.random.default_rng(0)
    for number in range(times):
        folder = shutil.copytree(halfway, tmp_path / str(number))
        path = own(folder) / names(folder)[number % len(names(folder))]
        damage(path, how, random)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            begin(folder, steps=30)
        assert_all_there(folder)
        # The one before is not looked at as long as the newest is good, and nobody knows of a
        # newest whose manifest is gone.
        unseen = ["checkpoint-3.json", "lanes-3.npz", *["checkpoint-4.json"] * (how == "gone")]
        assert len(told) == (path.name not in unseen)
        for warning in told:
            assert str(own(folder)) in str(warning.message)
            assert path.name in str(warning.message)
        shutil.rmtree(folder)


@pytest.mark.parametrize("times", [10, pytest.param(300, marks=pytest.mark.nightly)])
def test_several_damaged_files_lose_nothing_as_long_as_a_manifest_is_left(halfway, tmp_path, times):
    random = np.random.default_rng(1)
    for number in range(times):
        folder = shutil.copytree(halfway, tmp_path / str(number))
        spared = random.choice(["checkpoint-3.json", "checkpoint-4.json"])
        for name in random.permutation([n for n in names(folder) if n != spared])[:5]:
            damage(own(folder) / name, "flip", random)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            begin(folder, steps=30)
        assert_all_there(folder)
        assert told
        shutil.rmtree(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"sha256": 1', b"\xff"])
def test_without_a_manifest_one_sentence_says_what_to_do(copy, content):
    for number in (3, 4):
        (own(copy) / f"checkpoint-{number}.json").write_bytes(content)
    for call in (
        partial(begin, copy),
        partial(results, copy),
        partial(holding, copy),
        partial(checkpoints.stored_about, copy),
    ):
        with pytest.raises(ValueError, match=rf"{own(copy)} cannot be .*checkpoint-4.*begin anew"):
            call()


def test_results_that_are_damaged_are_not_read(copy):
    damage(own(copy) / "ended-2.npz", "flip", np.random.default_rng(0))
    with pytest.raises(
        ValueError,
        match=rf"{own(copy)}: ended-2.npz has another checksum .* \d+ of 60 runs: the same call",
    ):
        results(copy)
    (own(copy) / "ended-2.npz").unlink()
    with pytest.warns(UserWarning, match=r"ended-2.npz is missing, and with it \d+ of 60 runs"):
        parts = list(stored_parts(copy, partial=True))
    assert len(parts) == 3


def test_a_checkpoint_that_does_not_add_up_is_refused_and_does_not_run_for_ever(copy):
    """As it would be of a fault of ours: whatever is read has the right checksum."""
    for number in (3, 4):
        path = own(copy) / f"checkpoint-{number}.json"
        content = json.loads(path.read_text())
        del content["sha256"]
        content["next"] -= 1
        content["sha256"] = manifest._checksum(content)
        path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"do not account for each of their 60 runs once"):
        begin(copy)


def test_results_of_a_run_twice_are_refused(tmp_path):
    engine = begin(tmp_path, saves=2)
    with RunCheckpoints(tmp_path, ABOUT) as stored:
        stored.restore(engine := SmallEngine(RUNS))
        while not engine.finished:
            engine.work(5)
        engine.rows[-1]["run"][0] = engine.rows[0]["run"][0]
        with pytest.raises(ValueError, match=r"holds 60 results, of 59 of the runs 0 to 59"):
            stored.save(engine)


@pytest.mark.parametrize("how", ["empty", "zeros", "cut", "gone"])
def test_results_that_are_damaged_while_a_batch_runs_are_missed_at_its_end(copy, how):
    engine = SmallEngine(RUNS)
    with RunCheckpoints(copy, ABOUT) as stored:
        stored.restore(engine)
        damage(own(copy) / "ended-1.npz", how, np.random.default_rng(0))
        while not engine.finished:
            engine.work(30)
        with pytest.raises(ValueError, match=r"ended-1.npz .* of 60 runs: the same call as before"):
            stored.save(engine)
    with pytest.warns(UserWarning, match="ended-1.npz .* are computed again"):
        begin(copy)
    assert_all_there(copy)


class Killed(BaseException):
    """Stands for what ends a process, or for Ctrl-C."""


def interrupt_at(monkeypatch, count, error):
    """Have the `count`th of the calls to the system by which files are written fail."""
    left = [count]

    def failing(call):
        def called(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                raise error
            return call(*arguments, **options)

        return called

    monkeypatch.setattr(files.os, "fsync", failing(os.fsync))
    for name in ("replace", "unlink"):
        monkeypatch.setattr(files.Path, name, failing(getattr(files.Path, name)))
    return left


def test_a_process_killed_at_any_point_of_a_write_loses_nothing(halfway, tmp_path, monkeypatch):
    before = len(results(halfway)["steps"])
    for count in range(1, 100):
        folder = shutil.copytree(halfway, tmp_path / str(count))
        engine = SmallEngine(RUNS)
        with RunCheckpoints(folder, ABOUT) as stored:
            stored.restore(engine)
            engine.work(5)
            with monkeypatch.context() as patch:
                left = interrupt_at(patch, count, Killed())
                with contextlib.suppress(Killed):
                    stored.save(engine)
        assert len(results(folder)["steps"]) >= before
        begin(folder)
        assert_all_there(folder)
        if left[0] > 0:  # It was through.
            break
    assert 10 < count < 99


def test_ctrl_c_at_any_point_of_a_write_has_what_was_computed_written_after_it(
    halfway, tmp_path, monkeypatch
):
    for count in range(1, 100):
        folder = shutil.copytree(halfway, tmp_path / str(count))
        engine = SmallEngine(RUNS)
        with RunCheckpoints(folder, ABOUT) as stored:
            stored.restore(engine)
            engine.work(5)
            with monkeypatch.context() as patch:
                left = interrupt_at(patch, count, KeyboardInterrupt())
                with contextlib.suppress(KeyboardInterrupt):
                    stored.save(engine)
            stored.save(engine)
        assert holding(folder).ended == engine.ended
        begin(folder)
        assert_all_there(folder)
        if left[0] > 0:
            break
    assert 10 < count < 99


def test_a_disk_that_fills_up_is_told_of_and_loses_nothing(halfway, tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for count in range(1, 100):
        folder = shutil.copytree(halfway, tmp_path / str(count))
        engine, said = SmallEngine(RUNS), None
        with RunCheckpoints(folder, ABOUT) as stored:
            stored.restore(engine)
            engine.work(5)
            before = names(folder)
            with monkeypatch.context() as patch:
                left = interrupt_at(patch, count, full)
                try:
                    stored.save(engine)
                except OSError as error:
                    said = error
            assert stored.failed == (said is not None)
            if said is not None:
                assert said.errno == errno.ENOSPC
                assert f"{own(folder)} cannot be written to (No space left" in str(said)
                assert "make room and give the same call again" in str(said)
                assert names(folder) == before
                if count % 2:  # Somebody makes room while it runs.
                    stored.save(engine)
        begin(folder)
        assert_all_there(folder)
        assert not [name for name in names(folder) if name.endswith(".tmp")]
        if left[0] > 0:
            break
    assert 10 < count < 99


def test_files_that_may_not_grow_are_a_full_disk(copy):
    """A real one: the system refuses, not a patch."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    engine = SmallEngine(RUNS)
    with RunCheckpoints(copy, ABOUT) as stored:
        stored.restore(engine)
        engine.work(5)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
        try:
            with pytest.raises(OSError, match=r"cannot be written to \(File too large\): make"):
                stored.save(engine)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    begin(copy)
    assert_all_there(copy)


def test_a_folder_that_cannot_be_written_is_told_of_at_once(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", "/proc/x"):
        with pytest.raises(OSError, match=r"cannot be written to \(.* another folder"):
            RunCheckpoints(path, ABOUT)


def test_what_others_hold_is_left_alone(copy):
    with RunCheckpoints(copy, ABOUT):
        before = names(copy)
        with pytest.raises(BlockingIOError, match=rf"in use by process {os.getpid()} "):
            RunCheckpoints(copy, ABOUT)
        assert names(copy) == before
    begin(copy)
    assert_all_there(copy)


def test_a_refused_batch_leaves_the_folder_as_it_was(copy):
    before = names(copy)
    with pytest.raises(ValueError, match=r"runs = 60, this one has 61"):
        begin(copy, about=ABOUT | {"runs": 61})
    with pytest.raises(ValueError, match=r"is of runs 0 to 59, this batch has 0 to 29 here"):
        begin(copy, engine=SmallEngine(range(30)))
    assert names(copy) == before


def test_half_written_files_go_at_the_next_run(copy):
    (own(copy) / "lanes-5.npz.tmp").write_bytes(b"half")
    (own(copy) / "ended-5.npz").write_bytes(b"of a checkpoint that was not finished")
    begin(copy, saves=1)
    assert "lanes-5.npz.tmp" not in names(copy)
    begin(copy)
    assert_all_there(copy)


def test_a_batch_without_a_checkpoint_leaves_no_folder(tmp_path):
    with RunCheckpoints(tmp_path / "a" / "b", ABOUT) as stored:
        assert stored.folder.is_dir()
        assert not stored.exist
    assert not list(tmp_path.iterdir())


def test_what_is_forgotten_is_gone(copy):
    assert checkpoints.is_stored(copy)
    checkpoints.forget(copy)
    assert not copy.exists()
    assert not checkpoints.is_stored(copy)


def test_the_share_of_a_process_that_is_not_here_is_missed(copy):
    shutil.move(own(copy), copy / "process-1-of-3")
    assert holding(copy).absent == ["process-0-of-3", "process-2-of-3"]
    assert not holding(copy).finished
    shutil.copytree(copy / "process-1-of-3", copy / "process-0-of-2")
    with pytest.raises(ValueError, match=r"checkpoints of 2 and of 3 processes"):
        holding(copy)
