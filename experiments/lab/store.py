"""Results on disk: whole or not there.

A result is the folder `OUT/NAME/PRESET-or-digest/` with

    config.json    what was computed and by what: config, versions, devices, seeds, command, time,
                   and the checksums of all files
    results.nc     the data (netCDF, read by `xarray`)
    claims.json    the verdicts
    figure.svg, figure.png
    *.html         interactive pages, from experiments that have any

It is written under a hidden temporary name beside its place and renamed when it is complete, so a
crash, a full disk or a kill never leaves something that looks finished, and never harms the result
that was there before. Folder names come from the experiment's and the preset's name or from a
digest, never from a config's values. Nothing is pickled. What lies in a result's place and is not
one, damaged, a link to somewhere else or of another layout, is refused with its reason
(`UnreadableResultError`): every file is held against its checksum (SHA-256) whenever it is read.
"""

import contextlib
import dataclasses
import glob
import hashlib
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import registry
from .claims import Claim

if TYPE_CHECKING:
    import xarray as xr

Item = TypeVar("Item")

FORMAT = 2
PRESETS = ("quick", "standard", "fashion", "paper")
"""The presets whose results speak for an experiment, the larger the later."""
_FORMER = ".former"
ABOUT = "config.json"
FILES = (ABOUT, "results.nc", "claims.json", "figure.svg", "figure.png")


def plain(config: Any) -> dict[str, Any]:
    """Return a config as what JSON gives back: tuples become lists, paths and enums strings."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def folder_of(out: Path, name: str, config: Any) -> Path:
    """Return the folder of one experiment's result with one config."""
    return out / name / registry.folder_name(config, digest(config))


def digest(config: Any) -> str:
    """Return what tells this config from others, as a name."""
    text = json.dumps(plain(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished result on disk.

    Attributes:
        folder: Where it lies.
        about: What `config.json` says.
    """

    folder: Path
    about: dict[str, Any]

    @property
    def figure(self) -> Path:
        """Path of the figure as PNG."""
        return self.folder / "figure.png"

    @property
    def data(self) -> Path:
        """Path of the data."""
        return self.folder / "results.nc"

    @property
    def pages(self) -> list[str]:
        """Names of its interactive pages."""
        return sorted(name for name in self.about["files"] if name.endswith(".html"))

    def read(self, name: str) -> bytes:
        """Read one of the files.

        Raises:
            UnreadableResultError: If it is not what was written.
        """
        path = self.folder / name
        if Path(name).name != name:
            raise _damaged(self.folder / ABOUT, f"it lists {name!r}")
        content = _read_own(path)
        if sha256(content) != self.about["files"][name]:
            raise _damaged(path, "its checksum is another")
        return content

    def claims(self) -> list[Claim]:
        """Read the verdicts."""
        with refusing(self.folder / "claims.json"):
            return [Claim(**claim) for claim in json.loads(self.read("claims.json"))]

    def dataset(self) -> "xr.Dataset":
        """Read the data into memory."""
        return decode(self.read("results.nc"), self.data)


class UnreadableResultError(ValueError):
    """A folder that has the place of a result but cannot be read as one."""


def read(folder: Path, files: Sequence[str] = FILES) -> Result | None:
    """Return the result in `folder`, or None where nothing finished lies.

    Args:
        folder: Where it lies.
        files: The files that must be there as they were written.

    Raises:
        UnreadableResultError: If the folder is damaged or was written by a version with another
            layout.
    """
    _restore(folder)
    if folder.is_symlink():
        raise UnreadableResultError(f"{folder} is a link; put the result itself there")
    if not folder.is_dir():
        return None
    missing = [file for file in (ABOUT, *files) if not (folder / file).is_file()]
    if missing:
        raise UnreadableResultError(f"{folder} lacks {', '.join(missing)}; run it anew by --force")
    path = folder / ABOUT
    with refusing(path):
        about = json.loads(_read_own(path))
        layout = about["format"]
        if layout == FORMAT and about["checksum"] != _checksum(about):
            raise ValueError("its checksum is another")
    if layout != FORMAT:
        raise UnreadableResultError(
            f"{folder} has layout {layout}, this version reads {FORMAT}; run it anew by --force"
        )
    result = Result(folder, about)
    with refusing(path):
        for name in files:
            if name != ABOUT:
                result.read(name)
    if "claims.json" in files:
        result.claims()  # Whoever is given a result can print its verdicts.
    return result


def seal(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Write `config.json`, last of all files, with their checksums and its own.

    Args:
        folder: Folder of the result, with everything else in it.
        about: What is to be written.

    Returns:
        What was written.
    """
    files = {path.name: sha256(path.read_bytes()) for path in sorted(folder.iterdir())}
    files.pop(ABOUT, None)
    about = {**about, "files": files}
    about["checksum"] = _checksum(about)
    write_file(folder / ABOUT, json.dumps(about, indent=1))
    return about


def sha256(content: bytes) -> str:
    """Return the checksum of a file's content."""
    return hashlib.sha256(content).hexdigest()


def _checksum(about: dict[str, Any]) -> str:
    """Return the checksum of everything that `config.json` says, but for itself."""
    said = {name: value for name, value in about.items() if name != "checksum"}
    return sha256(json.dumps(said, sort_keys=True).encode())


def _read_own(path: Path) -> bytes:
    """Read a file that is no link to another."""
    if path.is_symlink():
        raise UnreadableResultError(f"{path} is a link, which results do not have")
    return path.read_bytes()


def _damaged(path: Path, reason: str) -> UnreadableResultError:
    return UnreadableResultError(f"{path} is damaged ({reason}); run it anew by --force")


def survey(out: Path, name: str) -> tuple[list[Result], dict[str, UnreadableResultError]]:
    """Look at everything that is stored of one experiment.

    Returns:
        The readable results, presets first, and why each of the other folders is refused, by name.
    """
    parent = out / name
    if not parent.is_dir():
        return [], {}
    # With the folders whose replacement was cut short, which for now have their hidden name only.
    names = {_visible(path.name) for path in parent.iterdir() if path.is_dir()}
    found, refused = [], {}
    for folder in sorted(parent / folder for folder in names if not folder.startswith(".")):
        try:
            found.append(read(folder))
        except UnreadableResultError as error:
            refused[folder.name] = error
    found = [result for result in found if result is not None]
    order = {name: place for place, name in enumerate(PRESETS)}
    return sorted(found, key=lambda result: order.get(result.folder.name, len(order))), refused


def largest(by_name: Mapping[str, Item]) -> Item | None:
    """Return that of the largest preset that is there; None without a preset.

    Example:
        >>> largest({"quick": 1, "paper": 2, "0a1b2c3d4e5f": 3})
        2
    """
    return next((by_name[name] for name in reversed(PRESETS) if name in by_name), None)


def results(out: Path, name: str) -> list[Result]:
    """Return every readable result of one experiment, presets first."""
    return survey(out, name)[0]


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with the content of a file into the error that names the file."""
    try:
        yield
    except (OSError, MemoryError, UnreadableResultError):
        raise  # The disk's fault or the machine's, not the content's.
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def decode(content: bytes, path: Path) -> "xr.Dataset":
    """Return the dataset in the bytes of a netCDF file; `path` is for the message.

    Raises:
        UnreadableResultError: If they are damaged.
    """
    import xarray as xr

    with refusing(path):
        try:
            return xr.load_dataset(io.BytesIO(content), engine="h5netcdf")
        except OSError as error:  # HDF5's word for a file that is cut short or not its own.
            raise ValueError(str(error)) from error


def encode(dataset: "xr.Dataset") -> bytes:
    """Return a dataset as the bytes of a netCDF file.

    In memory first, so that a full disk is an ordinary OSError of one `write` and not an error from
    within the HDF5 library.
    """
    return bytes(dataset.to_netcdf(engine="h5netcdf"))


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file whole: under a temporary name, synchronised to disk, then renamed.

    Raises:
        OSError: If that is not possible; a former file of this name stays as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `folder` when the block ends without an error.

    Making it at once also shows before a long computation whether the place can be written at all.
    On an error `folder` is left as it was.

    Args:
        folder: Where the new content shall be; may exist.

    Yields:
        A hidden, empty folder beside it.
    """
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    staging.mkdir(parents=True)
    try:
        yield staging
        _synchronize(staging)
        _put_in_place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, folder: Path) -> None:
    """Rename `staging` to `folder`; what was there waits under its hidden name meanwhile."""
    aside = _aside(folder)
    with _alone_in(folder.parent):
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
        staging.rename(folder)
        _synchronize(folder.parent)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """Let only one at a time rename in a folder, whoever writes there or restores.

    The lock is on the folder itself, for the moment of two renames, and ends with the process.
    Where the system has no such lock, two at the same moment get an OSError instead.
    """
    descriptor = None
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        descriptor = os.open(parent, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def clear(folder: Path) -> None:
    """Remove what killed processes left of results that were to take the place of `folder`.

    Only for whoever has the place for himself: another's unfinished result has such a name too.
    """
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        if re.fullmatch(r"[0-9a-f]{8}", path.name.rpartition(".")[2]):
            shutil.rmtree(path, ignore_errors=True)


def _synchronize(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _aside(folder: Path) -> Path:
    """Return where the former content waits during the two renames of `replacing`."""
    return folder.with_name(f".{folder.name}{_FORMER}")


def _visible(name: str) -> str:
    """Return what a folder that waits aside is called otherwise, and any other name as it is."""
    waits = name.startswith(".") and name.endswith(_FORMER)
    return name[1 : -len(_FORMER)] if waits else name


def _restore(folder: Path) -> None:
    """Put the former content back if the process was killed between the two renames."""
    aside = _aside(folder)
    if aside.is_dir() and not folder.exists():
        with contextlib.suppress(OSError), _alone_in(folder.parent):
            if not folder.exists():
                aside.rename(folder)
