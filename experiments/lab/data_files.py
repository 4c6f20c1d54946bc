"""The binary formats in which MNIST and CIFAR-10 are published; what is broken is named.

LeCun, Cortes & Burges, http://yann.lecun.com/exdb/mnist/, describe IDX; Krizhevsky,
https://www.cs.toronto.edu/~kriz/cifar.html, the "binary version" of CIFAR-10.
"""

import gzip
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

CIFAR10_FILES = (*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin")

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


def read_idx(path: str | Path) -> np.ndarray:
    """Read an array from a file in IDX format, gzipped or not.

    Args:
        path: The file.

    Returns:
        The array, in the byte order of the machine.

    Raises:
        DataFileError: If the file is missing, truncated, too long or not IDX.
    """
    data = read_bytes(Path(path))
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
    """Read CIFAR-10's files out of its archive; nothing is unpacked to disk."""
    if not archive.exists():
        raise missing(archive)
    contents = {}
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                file = Path(member.name).name
                extracted = opened.extractfile(member) if file in CIFAR10_FILES else None
                if extracted is not None:
                    contents[file] = extracted.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataFileError(f"{archive} is truncated or corrupt: {error}") from error
    for file in CIFAR10_FILES:
        if file not in contents:
            raise DataFileError(f"{archive} is not CIFAR-10: it has no {file}")
    return contents


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, decompressed if its name says so."""
    if not path.exists():
        raise missing(path)
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{path} is truncated or corrupt: {error}") from error


def missing(path: Path) -> DataFileError:
    """Return the error for a file that is not there."""
    return DataFileError(f"{path} is not there; put it there or pass download=True")


def check_labels(labels: np.ndarray, name: str) -> None:
    """Raise DataFileError unless every label is one of ten classes."""
    wrong = labels[(labels < 0) | (labels > 9)]
    if wrong.size:
        raise DataFileError(f"{name} is corrupt: labels must be 0 to 9, got {wrong[0]}")
