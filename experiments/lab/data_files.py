"""The binary formats in which MNIST and CIFAR-10 are published; what is broken is named.

LeCun, Cortes & Burges, http://yann.lecun.com/exdb/mnist/, describe IDX; Krizhevsky,
https://www.cs.toronto.edu/~kriz/cifar.html, the "binary version" of CIFAR-10.
"""

import contextlib
import gzip
import io
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

CIFAR10_FILES = (*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin")

CIFAR10_LIMIT = 10_000 * (1 + 3 * 32 * 32)
"""Bytes of one of these files, as published."""
ARCHIVE_LIMIT = len(CIFAR10_FILES) * CIFAR10_LIMIT + 2**20
"""Bytes of the archive, unzipped: besides, it holds names of classes and a page of text."""
IDX_LIMIT = 16 + 60_000 * 28 * 28
"""Bytes of the largest of MNIST's files, unzipped."""

IDX_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class DataFileError(ValueError):
    """A data file is missing, truncated or not what its name says."""


class Split(NamedTuple):
    """Images with their labels: what `training.fit` takes.

    Attributes:
        images: float32, shape `(N, H, W, C)`.
        labels: int32, shape `(N,)`, from 0 to 9.
    """

    images: np.ndarray
    labels: np.ndarray


def read_idx(path: str | Path, limit: int = IDX_LIMIT) -> np.ndarray:
    """Read an array from a file in IDX format, gzipped or not.

    Args:
        path: The file.
        limit: Most bytes that it may hold, decompressed.

    Returns:
        The array, in the byte order of the machine.

    Raises:
        DataFileError: If the file is missing, no file, truncated, too long or not IDX.
    """
    data = read_bytes(Path(path), limit)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_DTYPES:
        raise DataFileError(f"{path} is not an IDX file: it begins with {data[:4].hex(' ')}")
    dtype, dimensions = np.dtype(IDX_DTYPES[data[2]]), data[3]
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise DataFileError(f"{path} is truncated: its header needs {start} bytes of {len(data)}")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, 4))
    # Python integers: a corrupt header may ask for more bytes than 64 bits can count.
    expected = start + dtype.itemsize * int(np.prod(np.array(shape, dtype=object), initial=1))
    if len(data) != expected:
        state = "truncated" if len(data) < expected else "too long"
        raise DataFileError(
            f"{path} is {state}: an array of shape {shape} makes {expected} bytes, "
            f"the file has {len(data)}"
        )
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def parse_cifar10(data: bytes, name: str) -> Split:
    """Read records of CIFAR-10's binary version: a label byte, then 3 x 32 x 32 bytes of colour.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.

    Returns:
        Images from 0 to 1 with the channels last, and labels.

    Raises:
        DataFileError: If the size is not a whole number of records, or a label is not 0 to 9.
    """
    record = 1 + 3 * 32 * 32
    if not data or len(data) % record:
        raise DataFileError(
            f"{name} is truncated or not CIFAR-10: {len(data)} bytes are not a whole number of "
            f"records of {record}"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    labels = records[:, 0].astype(np.int32)
    check_labels(labels, name)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(images.astype(np.float32) / 255, labels)


def read_cifar10_archive(archive: Path) -> dict[str, bytes]:
    """Read CIFAR-10's files out of its archive; nothing is unpacked to disk.

    The archive is read to its end, where gzip has the checksum of all that is before.
    """
    contents: dict[str, bytes] = {}
    with _opened(archive) as opened, gzip.open(opened) as unzipped:
        stream = _Limited(unzipped, ARCHIVE_LIMIT, archive)
        with tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                file = Path(member.name).name
                if file not in CIFAR10_FILES:
                    continue
                if not member.isreg() or member.size > CIFAR10_LIMIT or file in contents:
                    raise DataFileError(f"{archive} is not CIFAR-10: {file} is not one file of it")
                extracted = members.extractfile(member)
                contents[file] = extracted.read() if extracted is not None else b""
        while stream.read(1 << 20):
            pass
    for file in CIFAR10_FILES:
        if file not in contents:
            raise DataFileError(f"{archive} is not CIFAR-10: it has no {file}")
    return contents


def read_bytes(path: Path, limit: int) -> bytes:
    """Return a file's bytes, decompressed if its name says so.

    Args:
        path: The file.
        limit: Most bytes that there can be, decompressed.

    Raises:
        DataFileError: If there is no such file, or it is damaged, or has more bytes.
    """
    with _opened(path) as opened:
        if path.suffix == ".gz":
            with gzip.open(opened) as unzipped:
                data = unzipped.read(limit + 1)
        else:
            data = opened.read(limit + 1)
    if len(data) > limit:
        raise DataFileError(f"{path} has more than the {limit} bytes that its format can need")
    return data


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file; whatever keeps it from being read to its end is a DataFileError."""
    try:
        # A pipe or a device could be read for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataFileError(f"{path} is not a file")
        with path.open("rb") as opened:
            yield opened
    except FileNotFoundError:
        raise missing(path) from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataFileError(f"{path} is truncated or corrupt: {error}") from error
    except OSError as error:
        # A folder in its place, links in a circle, no permission.
        raise DataFileError(f"{path} cannot be read: {error.strerror or error}") from error


class _Limited(io.RawIOBase):
    """A stream that ends in an error where it has more bytes than it can need."""

    def __init__(self, stream: Any, limit: int, path: Path) -> None:
        self._stream, self._left, self._path = stream, limit, path

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise DataFileError(f"{self._path} has more bytes than its format can need")
        return data


def missing(path: Path) -> DataFileError:
    """Return the error for a file that is not there."""
    return DataFileError(f"{path} is not there; put it there or pass download=True")


def check_labels(labels: np.ndarray, name: str) -> None:
    """Raise DataFileError unless every label is one of ten classes."""
    wrong = labels[(labels < 0) | (labels > 9)]
    if wrong.size:
        raise DataFileError(f"{name} is corrupt: labels must be 0 to 9, got {wrong[0]}")
