"""Files that are there whole or not at all, and known for what was written.

A file is written under another name, forced to the disk and then renamed, and its folder is forced
to the disk after it: neither a killed process nor a power failure leaves half of it. What it must
be is told by a `Stamp`, its length and SHA-256, which is kept elsewhere. (A 32-bit CRC would miss
one damage in four billion and tell nothing of one intact file in the place of another; SHA-256
misses none, and takes less time than the disk.)
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

TEMPORARY = ".tmp"
"""Ending of the names of files that are being written."""


class Stamp(NamedTuple):
    """What tells an intact file from a damaged one, and from others.

    Attributes:
        bytes: Its length.
        sha256: Hexadecimal.
    """

    bytes: int
    sha256: str


class Damaged(Exception):
    """A file is not what was written.

    Attributes:
        path: The file.
        reason: What is wrong with it: "is missing".
    """

    def __init__(self, path: Path, reason: str) -> None:
        """Compose the message."""
        super().__init__(f"{path.name} {reason}")
        self.path, self.reason = path, reason


def write(path: Path, dump: Callable[[BinaryIO], Any]) -> Stamp:
    """Write a new file to the disk. Its name is safe there once its folder is `sync`ed.

    Args:
        path: Its name.
        dump: Writes to an open file what is to be in it.

    Returns:
        Its stamp.

    Raises:
        OSError: If it cannot be written; then nothing is left of it.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with open(temporary, "w+b") as file:
            dump(file)
            file.flush()
            os.fsync(file.fileno())
            stamp = _stamp(file)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return stamp


def sync(folder: Path) -> None:
    """Force the names of the files in a folder to the disk, where the system lets one."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check(path: Path, stamp: Stamp) -> None:
    """Raise Damaged unless the file is the one of the stamp."""
    try:
        length = path.stat().st_size
        if length != stamp.bytes:
            raise Damaged(path, f"has {length} bytes instead of {stamp.bytes}")
        with open(path, "rb") as file:
            found = _stamp(file)
    except OSError as error:
        raise Damaged(path, unreadable(error)) from error
    if found != stamp:
        raise Damaged(path, "has another checksum than when it was written")


def unreadable(error: OSError) -> str:
    """What is wrong with a file that the system cannot read."""
    missing = isinstance(error, FileNotFoundError)
    return "is missing" if missing else f"cannot be read ({error.strerror})"


def _stamp(file: Any) -> Stamp:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Stamp(file.seek(0, os.SEEK_END), digest)
