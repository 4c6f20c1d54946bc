"""The manifest of a checkpoint: which batch it is of, which runs wait, which files belong to it.

    checkpoint-7.json   the manifest, written last: without it the files beside it count for nothing
    lanes-7.npz         where the lanes stood at checkpoint 7
    ended-7.npz         the runs that had ended since checkpoint 6

Every manifest names the parts of all runs that have ended until then, from `ended-1.npz` on. It
knows its files by their `Stamp`s, and itself by a checksum.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxopt_course._engine import _files as files
from jaxopt_course._engine._files import TEMPORARY, Damaged, Stamp

_OURS = re.compile(r"(checkpoint-\d+\.json|(lanes|ended)-\d+\.npz)")
_MOST_LISTINGS = 100


class Part(NamedTuple):
    """Some of the runs that have ended.

    Attributes:
        file: Name of their file.
        runs: How many they are.
        stamp: Of the file.
    """

    file: str
    runs: int
    stamp: Stamp


class Waiting(NamedTuple):
    """A crew at rest.

    Attributes:
        waiting: Numbers of the runs that wait for its lanes.
        under_way: How many runs are in its lanes; if none are, the lanes are not stored.
    """

    waiting: range
    under_way: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a checkpoint says.

    Attributes:
        number: Of the checkpoint, counting from 1.
        about: What must agree between it and the batch that continues it, as JSON.
        runs: Numbers of the runs of this process.
        next: Number of the next run to deal.
        parts: The runs that have ended.
        crews: The crews.
        lanes: Stamp of the file of the lanes, None if no run is under way.
    """

    number: int
    about: dict[str, Any]
    runs: range
    next: int
    parts: tuple[Part, ...]
    crews: tuple[Waiting, ...]
    lanes: Stamp | None

    @property
    def ended(self) -> int:
        """How many runs have ended."""
        return sum(part.runs for part in self.parts)

    @property
    def files(self) -> dict[str, Stamp]:
        """The files that belong to it, with their stamps."""
        lanes = {} if self.lanes is None else {lanes_name(self.number): self.lanes}
        return lanes | {part.file: part.stamp for part in self.parts}


def manifest_name(number: int) -> str:
    """Name of the manifest of a checkpoint."""
    return f"checkpoint-{number}.json"


def lanes_name(number: int) -> str:
    """Name of the file of its lanes."""
    return f"lanes-{number}.npz"


def ended_name(number: int) -> str:
    """Name of the file of the runs that have ended since the one before."""
    return f"ended-{number}.npz"


def numbers(folder: Path) -> list[int]:
    """Numbers of the checkpoints in the folder of one process, the newest first."""
    names = [re.fullmatch(r"checkpoint-(\d+)\.json", path.name) for path in folder.glob("*.json")]
    return sorted((int(name[1]) for name in names if name), reverse=True)


def strays(folder: Path, manifests: list[Manifest]) -> Iterator[Path]:
    """Files of checkpoints that none of these manifests lists, half-written ones included.

    Manifests come first: a checkpoint that has lost its manifest counts for nothing.
    """
    kept = {manifest_name(manifest.number) for manifest in manifests}
    kept.update(*(manifest.files for manifest in manifests))
    for path in sorted(folder.iterdir()):  # "checkpoint", "ended", "lanes"
        name = path.name.removesuffix(TEMPORARY)
        if _OURS.fullmatch(name) and path.name not in kept:
            yield path


def write(folder: Path, manifest: Manifest) -> None:
    """Write a manifest, whose files are on the disk: from now on the checkpoint counts."""
    content = {
        "about": manifest.about,
        "runs": [manifest.runs.start, manifest.runs.stop],
        "next": manifest.next,
        "parts": [[part.file, part.runs, *part.stamp] for part in manifest.parts],
        "crews": [
            [crew.waiting.start, crew.waiting.stop, crew.under_way] for crew in manifest.crews
        ],
        "lanes": manifest.lanes,
    }
    text = json.dumps({"sha256": _checksum(content), **content}, indent=1).encode()
    files.write(folder / manifest_name(manifest.number), lambda file: file.write(text))


def read(folder: Path, number: int) -> Manifest:
    """Read a manifest.

    Raises:
        Damaged: If it is not what was written.
    """
    path = folder / manifest_name(number)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Damaged(path, files.unreadable(error)) from error
    try:
        content = json.loads(text)
        intact = content.pop("sha256") == _checksum(content)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(path, "is not what was written") from error
    if not intact:
        raise Damaged(path, "has another checksum than when it was written")
    return Manifest(
        number=number,
        about=content["about"],
        runs=range(*content["runs"]),
        next=content["next"],
        parts=tuple(Part(file, runs, Stamp(*stamp)) for file, runs, *stamp in content["parts"]),
        crews=tuple(Waiting(range(start, stop), n) for start, stop, n in content["crews"]),
        lanes=None if content["lanes"] is None else Stamp(*content["lanes"]),
    )


def newest(folder: Path) -> tuple[Manifest | None, list[Damaged]]:
    """The newest manifest that can be read, if there is any, and what is wrong with later ones."""
    damages: list[Damaged] = []
    for _ in range(_MOST_LISTINGS):
        damages = []
        for number in numbers(folder):
            try:
                return read(folder, number), damages
            except Damaged as damage:
                damages.append(damage)
        if all(damage.path.exists() for damage in damages):
            return None, damages
        # One has gone since the folder was listed, so its owner has written a newer one.
    return None, damages


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
