"""Results on disk: whole or not there.

A result is the folder `OUT/NAME/PRESET-or-digest/` with

    config.json    what was computed and by what: config, versions, devices, seeds, command, time
    results.nc     the data (netCDF, read by `xarray`)
    claims.json    the verdicts
    figure.svg, figure.png
    *.html         interactive pages, from experiments that have any

It is written under a hidden temporary name beside its place and renamed when it is complete, so a
crash, a full disk or a kill never leaves something that looks finished, and never harms the result
that was there before. Folder names come from the experiment's and the preset's name or from a
digest, never from a config's values. Nothing is pickled. What lies in a result's place and is not
one, damaged or of another layout, is refused with its reason (`UnreadableResultError`).
"""

import contextlib
import dataclasses
import errno
import hashlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import registry
from .claims import Claim

if TYPE_CHECKING:
    import xarray as xr

FORMAT = 1
_FORMER = ".former"
FILES = ("config.json", "results.nc", "claims.json", "figure.svg", "figure.png")


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

    def claims(self) -> list[Claim]:
        """Read the verdicts."""
        path = self.folder / "claims.json"
        with _refusing(path):
            return [Claim(**claim) for claim in json.loads(path.read_bytes())]

    def dataset(self) -> "xr.Dataset":
        """Read the data into memory."""
        return load_dataset(self.data)


class UnreadableResultError(ValueError):
    """A folder that has the place of a result but cannot be read as one."""


def read(folder: Path) -> Result | None:
    """Return the result in `folder`, or None where nothing finished lies.

    Raises:
        UnreadableResultError: If the folder is damaged or was written by a version with another
            layout.
    """
    _restore(folder)
    if not folder.is_dir():
        return None
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise UnreadableResultError(f"{folder} lacks {', '.join(missing)}; run it anew by --force")
    path = folder / "config.json"
    with _refusing(path):
        about = json.loads(path.read_bytes())
        layout = about["format"]
    if layout != FORMAT:
        raise UnreadableResultError(
            f"{folder} has layout {layout}, this version reads {FORMAT}; run it anew by --force"
        )
    result = Result(folder, about)
    result.claims()  # Whoever is given a result can print its verdicts.
    return result


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
    order = {"quick": 0, "paper": 1}
    return sorted(found, key=lambda result: order.get(result.folder.name, 2)), refused


def results(out: Path, name: str) -> list[Result]:
    """Return every readable result of one experiment, presets first."""
    return survey(out, name)[0]


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with the content of a file into the error that names the file."""
    try:
        yield
    except (OSError, MemoryError, UnreadableResultError):
        raise  # The disk's fault or the machine's, not the content's.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UnreadableResultError(f"{path} is damaged ({reason}); run it anew by --force") from (
            error
        )


def load_dataset(path: Path) -> "xr.Dataset":
    """Read a netCDF file into memory.

    Raises:
        UnreadableResultError: If the file is damaged.
    """
    import xarray as xr

    content = path.read_bytes()
    with _refusing(path):
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
        _synchronize(folder.parent)
        shutil.rmtree(_aside(folder), ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, folder: Path) -> None:
    """Rename `staging` to `folder`; what was there waits under its hidden name."""
    attempts = 100
    occupied = errno.ENOTEMPTY, errno.EEXIST
    for attempt in range(1, attempts + 1):
        aside = _aside(folder)
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
            try:
                folder.rename(aside)
            except OSError as error:
                # Another run has just moved it away, or has put there what it replaces itself.
                if error.errno not in (errno.ENOENT, *occupied):
                    raise
        try:
            staging.rename(folder)
        except OSError as error:
            # Between the two renames another run can put its result here, or a reader the former
            # one back: then that one is the former content.
            if error.errno not in occupied or attempt == attempts:
                raise
        else:
            return


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
        with contextlib.suppress(OSError):
            aside.rename(folder)
