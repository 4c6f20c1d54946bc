"""Checkpoints of a batch of runs on disk: whole or not at all, known by their checksums, two kept.

    FOLDER/process-0-of-1/checkpoint-7.json, lanes-7.npz, ended-1.npz, ..., ended-7.npz
    FOLDER/process-0-of-1/checkpoint-6.json, lanes-6.npz

Every process of a distributed batch has its own folder and waits for nobody. While it works there
it holds the folder's lock. A checkpoint's files are forced to the disk before its manifest is, and
the manifest before the last checkpoint but one is removed: a process that is killed, at whatever
moment, leaves a whole checkpoint behind.

If the newest is damaged the one before is taken; runs whose results are damaged are computed again.
A warning says so. What cannot be repaired that way is an error, whose message says what to do.
"""

import contextlib
import dataclasses
import os
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxopt_course._engine import _arrays as _arrays
from jaxopt_course._engine import _files as files
from jaxopt_course._engine import _manifest as _manifest
from jaxopt_course._engine._about import check_about
from jaxopt_course._engine._crews import Crew, Engine, Rows
from jaxopt_course._engine._files import Damaged, Stamp
from jaxopt_course._engine._lock import locked, unwritable
from jaxopt_course._engine._loop import IDLE, Lanes
from jaxopt_course._engine._manifest import Manifest, Part, Waiting

_PROCESSES = "process-*-of-*"


class RunCheckpoints(contextlib.AbstractContextManager):
    """The checkpoints in one folder, which nobody else has meanwhile.

    Attributes:
        folder: The folder of this process.
        failed: Whether the last checkpoint could not be written.
    """

    def __init__(self, folder: str | os.PathLike[str], about: dict[str, Any]) -> None:
        """Make the folder, lock it and write to it.

        Args:
            folder: The folder of all processes.
            about: What must agree between a checkpoint and the batch that continues it, as JSON.

        Raises:
            ValueError: If the folder belongs to another number of processes.
            BlockingIOError: If another process works in it.
            OSError: If it cannot be written to.
        """
        self._about, self.failed = about, False
        # The newest checkpoint that is good, and the rows that it stored but the engine still has.
        # Both in one attribute: Ctrl-C between two assignments would store rows twice or never.
        self._state: tuple[Manifest | None, list[Rows] | None] = None, None
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(own_folder(folder))
            _check_processes(self.folder)
            for path in self.folder.glob(f"*{files.TEMPORARY}"):
                path.unlink(missing_ok=True)  # A process was killed as it wrote this.
            self._open = stack.pop_all()

    @property
    def exist(self) -> bool:
        """Whether there is a checkpoint, written by `save` or found by `restore`."""
        return self._state[0] is not None

    def __exit__(self, *error: object) -> None:
        """Give the folder back, or remove it if nothing was written."""
        self._open.close()

    def save(self, engine: Engine) -> None:
        """Write a checkpoint of a batch whose crews are at rest.

        Raises:
            OSError: If that cannot be written; the message says where and what to do, and the
                checkpoints before are as they were.
            ValueError: At the end, if the stored runs are not those of the batch, each once.
        """
        before, stored = self._state
        if engine.rows is stored:  # Ctrl-C came between storing and forgetting them.
            engine.forget_rows()
        number = 1 + max(_manifest.numbers(self.folder), default=0)
        try:
            manifest = self._write(engine, number, () if before is None else before.parts)
        except OSError as error:
            self.failed = True
            self._remove(number)
            raise unwritable(self.folder, error) from error
        self.failed = False
        self._state = manifest, engine.rows
        engine.forget_rows()
        self._state = manifest, None
        kept = [manifest] if before is None else [manifest, before]
        with contextlib.suppress(OSError):  # What cannot be removed now goes the next time.
            for path in _manifest.strays(self.folder, kept):
                path.unlink()

    def _write(self, engine: Engine, number: int, parts: tuple[Part, ...]) -> Manifest:
        """Write the files of a checkpoint that follows those that stored `parts`; `self` stays."""
        if engine.rows:
            rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *engine.rows)
            name = _manifest.ended_name(number)
            stamp = _arrays.write(self.folder / name, rows)
            parts = (*parts, Part(name, len(rows["run"]), stamp))
        lanes = [crew.lanes for crew in engine.crews if crew.under_way]
        manifest = Manifest(
            number=number,
            about=self._about,
            runs=engine.runs,
            next=engine.next,
            parts=parts,
            crews=tuple(Waiting(crew.waiting, crew.under_way) for crew in engine.crews),
            lanes=_arrays.write(self.folder / _manifest.lanes_name(number), lanes)
            if lanes
            else None,
        )
        if engine.finished:
            seen = _Seen(self.folder, manifest)
            for part in parts:
                try:
                    seen.note(_numbers(self.folder, part))
                except Damaged as damage:
                    raise ValueError(_what_is_lost(self.folder, manifest, part, damage)) from damage
            seen.check(lost=0)
        # Names of the files must reach the disk before the manifest that lists them.
        files.sync(self.folder)
        _manifest.write(self.folder, manifest)
        for path in (self.folder, self.folder.parent, self.folder.parent.parent):
            files.sync(path)
        return manifest

    def _remove(self, number: int) -> None:
        """Remove the files of a half-written checkpoint, its manifest first."""
        names = (_manifest.manifest_name, _manifest.lanes_name, _manifest.ended_name)
        with contextlib.suppress(OSError):
            for name in names:
                (self.folder / name(number)).unlink(missing_ok=True)

    def restore(self, engine: Engine) -> None:
        """Put a fresh batch where the newest good checkpoint stands, if there is one.

        Raises:
            ValueError: If the checkpoint belongs to another batch, or none can be read.
        """
        found = self._find(engine)
        if found is None:
            return
        manifest, harm = found
        for name, damage in harm.items():
            warnings.warn(_what_is_done(self.folder, manifest, name, damage), stacklevel=2)
        parts = tuple(part for part in manifest.parts if part.file not in harm)
        engine.next = manifest.next
        engine.ended = sum(part.runs for part in parts)
        if _manifest.lanes_name(manifest.number) not in harm:
            engine.crews = self._crews(engine, manifest)
        if harm:
            engine.crews += self._crews_of_lost_runs(engine, parts)
        if not engine.whole:
            raise ValueError(
                f"{self.folder} has checkpoints that do not account for each of their "
                f"{len(engine.runs)} runs once: they cannot be continued, move the folder away "
                "and begin anew"
            )
        self._state = dataclasses.replace(manifest, parts=parts), None

    def _find(self, engine: Engine) -> tuple[Manifest, dict[str, Damaged]] | None:
        """Return the newest checkpoint of which all is good, else the newest, and what is not.

        What is damaged in those that are newer is told in a warning.
        """
        known: dict[str, Damaged | None] = {}
        readable, unreadable = [], []
        for number in _manifest.numbers(self.folder):
            try:
                manifest = _manifest.read(self.folder, number)
            except Damaged as damage:
                unreadable.append(damage)
                continue
            check_about(self.folder.parent, "batch", manifest.about, self._about)
            if manifest.runs != engine.runs:
                raise ValueError(
                    f"checkpoint {self.folder} is of runs {_span(manifest.runs)}, this batch has "
                    f"{_span(engine.runs)} here"
                )
            unknown = {name: at for name, at in manifest.files.items() if name not in known}
            known |= _damages(self.folder, unknown)
            harm = {name: damage for name in manifest.files if (damage := known[name]) is not None}
            readable.append((manifest, harm))
            if not harm:
                break
        if not readable and unreadable:
            raise ValueError(_nothing_readable(self.folder, unreadable))
        if not readable:
            return None
        intact = [found for found in readable if not found[1]]
        taken = (intact or readable)[0]
        newer = [damage for _, harm in readable if harm is not taken[1] for damage in harm.values()]
        for damage in (*unreadable, *(newer if intact else ())):
            warnings.warn(
                f"{self.folder}: {damage}: checkpoint {taken[0].number} is taken, which is older, "
                "and what was computed after it is computed again",
                stacklevel=2,
            )
        return taken

    def _crews(self, engine: Engine, manifest: Manifest) -> list[Crew]:
        """The crews of an undamaged checkpoint, with their lanes as they stood."""
        stored: Iterator[Lanes] = iter(())
        if manifest.lanes is not None:
            like = [engine.idle_lanes()] * sum(crew.under_way > 0 for crew in manifest.crews)
            path = self.folder / _manifest.lanes_name(manifest.number)
            stored = iter(_arrays.unflatten(_arrays.read(path, manifest.lanes), like))
        return [
            Crew(next(stored) if crew.under_way else None, crew.waiting, crew.under_way)
            for crew in manifest.crews
        ]

    def _crews_of_lost_runs(self, engine: Engine, parts: tuple[Part, ...]) -> list[Crew]:
        """Crews for the runs that are lost: neither stored, nor in a crew, nor yet to be dealt."""
        first = engine.runs.start
        lost = np.ones(len(engine.runs), bool)
        lost[engine.next - first :] = False
        for part in parts:
            lost[_numbers(self.folder, part) - first] = False
        for crew in engine.crews:
            lost[crew.waiting.start - first : crew.waiting.stop - first] = False
            if crew.lanes is not None:
                under_way = np.asarray(crew.lanes.reason) != IDLE
                lost[np.asarray(crew.lanes.run)[under_way] - first] = False
        most = engine.idle_lanes().run.size
        return [
            Crew(None, range(start, min(start + most, block.stop)), 0)
            for block in as_ranges(first + np.flatnonzero(lost))
            for start in range(block.start, block.stop, most)
        ]


class Holding(NamedTuple):
    """How much of a batch a folder holds.

    Attributes:
        ended: How many runs have ended.
        runs: Numbers of the runs of each process that is here, in order.
        absent: Names of the folders of processes that have no checkpoint here.
    """

    ended: int
    runs: list[range]
    absent: list[str]

    @property
    def finished(self) -> bool:
        """Whether all runs of all processes are here."""
        return not self.absent and self.ended == sum(map(len, self.runs))


def holding(folder: str | os.PathLike[str]) -> Holding:
    """How much of a batch the folder of all processes, or of one, holds.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If one cannot be read.
    """
    shares = [manifest for _, manifest in _newest_manifests(folder)]
    absent = [path.name for path in _process_folders(folder) if not _manifest.numbers(path)]
    runs = sorted((share.runs for share in shares), key=lambda runs: runs.start)
    return Holding(sum(share.ended for share in shares), runs, absent)


def stored_parts(
    folder: str | os.PathLike[str], like: Rows | None = None, *, partial: bool = False
) -> Iterator[Rows]:
    """Read the results in the folder of one process, or of all, part by part.

    Args:
        folder: The folder.
        like: Rows of the same structure; without, what lies deeper is named by its path.
        partial: Whether to go on, with a warning, where a part is damaged.

    Yields:
        What is kept of the runs of one part.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If a part is damaged, or the runs are not those of the batch, each once.
    """
    for process, manifest in _newest_manifests(folder):
        seen, lost = _Seen(process, manifest), 0
        for part in manifest.parts:
            try:
                arrays = _arrays.read(process / part.file, part.stamp)
            except Damaged as damage:
                told = _what_is_lost(process, manifest, part, damage)
                if not partial:
                    raise ValueError(told) from damage
                warnings.warn(told, stacklevel=2)
                lost += part.runs
                continue
            rows = _arrays.by_name(arrays) if like is None else _arrays.unflatten(arrays, like)
            seen.note(rows["run"])
            yield rows
        seen.check(lost)


def stored_about(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what the checkpoint of this process in a folder is of, None if there is none.

    Raises:
        ValueError: If there is one that cannot be read.
    """
    own = _own(folder)
    manifest, damages = _manifest.newest(own)
    if manifest is None and damages:
        raise ValueError(_nothing_readable(own, damages))
    return None if manifest is None else manifest.about


def is_stored(folder: Path) -> bool:
    """Whether any process has a checkpoint in the folder of all."""
    return any(_manifest.numbers(process) for process in folder.glob(_PROCESSES))


def forget(folder: Path) -> None:
    """Remove the checkpoints of this process, and the folder after the last."""
    with own_folder(folder) as own:
        for path in _manifest.strays(own, []):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # Others still have theirs.
        folder.rmdir()


@contextlib.contextmanager
def own_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The part of a folder that belongs to this process, locked; it goes if nothing is in it."""
    with locked(_own(folder)) as own:
        yield own
    with contextlib.suppress(OSError):
        own.rmdir()


def _own(folder: str | os.PathLike[str]) -> Path:
    process, processes = jax.process_index(), jax.process_count()
    return Path(folder).absolute() / f"process-{process}-of-{processes}"


def _check_processes(own: Path) -> None:
    processes = jax.process_count()
    others = sorted(path.name for path in own.parent.glob(_PROCESSES))
    strangers = [name for name in others if not name.endswith(f"-of-{processes}")]
    if strangers:
        raise ValueError(
            f"checkpoint {own.parent} has {strangers[0]}, this batch has {processes} "
            "processes: continue with as many as it was begun with"
        )


def _process_folders(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the folders of all processes of a batch, whether they are there or not."""
    folder = Path(folder)
    if _manifest.numbers(folder):
        return [folder]
    found = sorted(folder.glob(_PROCESSES))
    counts = sorted({path.name.rpartition("-")[2] for path in found if _manifest.numbers(path)})
    if not counts:
        raise FileNotFoundError(f"{folder} holds no checkpoint of runs")
    if len(counts) > 1:
        raise ValueError(
            f"{folder} holds checkpoints of {' and of '.join(counts)} processes: move those away "
            "that do not belong to the batch"
        )
    (count,) = counts
    return [folder / f"process-{process}-of-{count}" for process in range(int(count))]


def _newest_manifests(folder: str | os.PathLike[str]) -> Iterator[tuple[Path, Manifest]]:
    """Yield the folder of every process that has a checkpoint, and what the newest says."""
    for process in _process_folders(folder):
        manifest, damages = _manifest.newest(process)
        if manifest is None and damages:
            raise ValueError(_nothing_readable(process, damages))
        if manifest is None:
            continue
        for damage in damages:
            warnings.warn(
                f"{process}: {damage}: the checkpoint before it is read instead", stacklevel=2
            )
        yield process, manifest


class _Seen:
    """Which runs of a process have been seen among its results."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._seen, self._count = np.zeros(len(manifest.runs), bool), 0

    def note(self, numbers: np.ndarray) -> None:
        places = np.asarray(numbers) - self._manifest.runs.start
        if places.size and not (places.min() >= 0 and places.max() < self._seen.size):
            self._refuse()
        self._seen[places] = True
        self._count += places.size

    def check(self, lost: int) -> None:
        """Raise ValueError unless every run was seen once that has ended, but for `lost` ones."""
        if not self._count == self._seen.sum() == self._manifest.ended - lost:
            self._refuse()

    def _refuse(self) -> None:
        raise ValueError(
            f"{self._folder} holds {self._count} results, of {self._seen.sum()} of the runs "
            f"{_span(self._manifest.runs)}, where {self._manifest.ended} have ended: they are not "
            "of this batch alone, move the folder away and begin anew"
        )


def _numbers(folder: Path, part: Part) -> np.ndarray:
    """Read the numbers of the runs of a part, and nothing else.

    Raises:
        Damaged: If they cannot be read.
    """
    path = folder / part.file
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            (name,) = (name for name in archive.files if name.startswith("['run']|"))
            return archive[name]
    except OSError as error:
        raise Damaged(path, files.unreadable(error)) from error
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise Damaged(path, "is not what was written") from error


def _damages(folder: Path, stamps: dict[str, Stamp]) -> dict[str, Damaged | None]:
    """Return what is wrong with files, by name; None where nothing is."""

    def damage(name: str) -> Damaged | None:
        try:
            files.check(folder / name, stamps[name])
        except Damaged as damage:
            return damage
        return None

    with ThreadPoolExecutor() as threads:  # Reading and hashing need no lock of the interpreter.
        return dict(zip(stamps, threads.map(damage, stamps), strict=True))


def _what_is_lost(folder: Path, manifest: Manifest, part: Part, damage: Damaged) -> str:
    return (
        f"{folder}: {damage}, and with it {part.runs} of {len(manifest.runs)} runs: the same call "
        "as before computes them again"
    )


def _what_is_done(folder: Path, manifest: Manifest, name: str, damage: Damaged) -> str:
    lost = "the runs that were under way"
    for part in manifest.parts:
        if part.file == name:
            lost = f"its runs, {part.runs} of {len(manifest.runs)},"
    return f"{folder}: {damage}: {lost} are computed again"


def _nothing_readable(folder: Path, damages: list[Damaged]) -> str:
    return (
        f"{folder} cannot be continued or read: {' and '.join(map(str, damages))}, without which "
        "nobody knows of which batch the results are: restore the folder from a backup, or move it "
        "away and begin anew"
    )


def as_ranges(numbers: np.ndarray) -> list[range]:
    """Return increasing numbers as ranges."""
    if not numbers.size:
        return []
    pieces = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [range(int(piece[0]), int(piece[-1]) + 1) for piece in pieces]


def _span(runs: range) -> str:
    return f"{runs.start} to {runs.stop - 1}" if runs else "none"
