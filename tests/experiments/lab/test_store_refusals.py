"""What the store refuses: damage, other versions, pickles, and names that lead elsewhere."""

import ast
import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import experiments
from experiments.lab import registry, store

ROOT = Path(__file__).parents[3]


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def damaged(folder, name, text):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "[1]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", '{"format": 99}'),
        ("claims.json", '[{"statement": "of another version"}]'),
        ("claims.json", '{"a": 1}'),
        ("claims.json", "[1]"),
        ("claims.json", ""),
    ],
)
def test_what_cannot_be_read_is_named_by_every_command_and_run_anew(
    command, capsys, out, name, text
):
    command("run toy")
    command("run other")
    folder = out / "toy" / "quick"
    damaged(folder, name, text)
    capsys.readouterr()
    assert command("show toy") == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "--force" in said
    assert str(folder) in said
    assert command("list") == 0
    assert "unreadable" in capsys.readouterr().out
    assert command("report") == 0
    assert "left out" in capsys.readouterr().out
    with pytest.raises(store.UnreadableResultError, match="--force"):
        store.read(folder)
    assert command("run toy") == 0
    assert command("show toy") == 0


def test_load_names_what_it_refuses(command, out, monkeypatch):
    command("run toy")
    damaged(out / "toy" / "quick", "config.json", "{}")
    monkeypatch.setattr("experiments.lab.registry.find", lambda name: None)
    with pytest.raises(store.UnreadableResultError, match="damaged"):
        experiments.load("toy", out=out)


def test_data_cut_short_anywhere_are_refused_with_the_name_of_the_file(command, out):
    command("run toy")
    (result,) = store.results(out, "toy")
    whole = result.data.read_bytes()
    for length in [0, 1, 7, 8, *range(50, len(whole) - 1, len(whole) // 40), len(whole) - 1]:
        result.data.write_bytes(whole[:length])
        with pytest.raises(store.UnreadableResultError, match=r"results\.nc is damaged"):
            result.dataset()
    result.data.write_bytes(whole)
    assert result.dataset().x.shape == (3,)


def test_no_flip_of_a_bit_passes_for_the_result(command, out):
    """Files are held against their checksums, config.json against its own."""
    command("run toy")
    folder = out / "toy" / "quick"
    whole = content(folder)
    random = np.random.default_rng(0)
    for name in sorted(whole):
        for _ in range(20):
            flipped = bytearray(whole[name])
            flipped[random.integers(len(flipped))] ^= 1 << random.integers(8)
            damaged(folder, name, bytes(flipped))
            with pytest.raises(store.UnreadableResultError, match=r"damaged|layout"):
                store.read(folder)
        damaged(folder, name, whole[name])
    assert store.read(folder).dataset().x.shape == (3,)


@pytest.mark.parametrize("kept", [b"", b"\x89HDF\r\n\x1a\n cut short", b"{}"])
def test_damaged_data_of_a_failed_drawing_are_computed_anew(command, out, toys, kept):
    (out / "toy").mkdir(parents=True)
    (out / "toy" / ".quick.nc").write_bytes(kept)
    assert command("run toy") == 0
    assert not (out / "toy" / ".quick.nc").exists()


def test_data_outlive_a_failure_at_the_very_last_file(command, out, monkeypatch):
    real = store.write_file

    def full_at_the_end(path, content):
        if path.name == "config.json":
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(store, "write_file", full_at_the_end)
    assert command("run toy") == 3
    monkeypatch.setattr(store, "write_file", real)
    assert command("run toy") == 0
    assert registry.find("toy", "toys").load().runs == 1


def test_what_failed_is_said_even_where_the_data_cannot_be_kept(command, capsys, monkeypatch):
    registry.find("toy", "toys").load().broken_plot = True

    def full(path, content):
        if path.name == ".quick.nc":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_file", full)
    assert command("run toy") == 3
    said = capsys.readouterr().err
    assert "no ink" in said
    assert "could not be kept" in said


@pytest.mark.parametrize("name", ["../page.html", "/etc/page.html", "a/b.html", "results.nc", ""])
def test_pages_cannot_leave_the_folder(command, out, capsys, name):
    module = registry.find("toy", "toys").load()
    module.pages = lambda dataset: {name: "text"}
    assert command("run toy") == 3
    assert "pages must have bare names" in capsys.readouterr().err
    assert not (out / "toy" / "quick").exists()
    assert not (out / "toy" / "page.html").exists()


def test_no_value_of_a_config_reaches_a_path(tmp_path, toys):
    """Names that lead up, root, null bytes and very long ones all give a digest."""
    module = registry.find("toy", "toys").load()
    for value in ["../up", "/root", "nul\0", "x" * 5000, "a/b\\c", ".former", "CON", "\u202e"]:
        folder = store.folder_of(tmp_path, "toy", module.Config(seed=value))
        assert re.fullmatch(r"[0-9a-f]{12}", folder.name), folder
        assert folder.parent == tmp_path / "toy"


PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "_pickle"}


def unpicklers(source):
    """Yield the lines that could unpickle, by NumPy (where not forbidden) or torch too."""
    nodes = list(ast.walk(ast.parse(source)))
    forbidden = {
        node.func
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("np.load", "numpy.load")
        and any(ast.unparse(word) == "allow_pickle=False" for word in node.keywords)
    }
    for node in nodes:
        names = set()
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.keyword) and "pickle" in (node.arg or ""):
            names = set() if ast.unparse(node) == "allow_pickle=False" else PICKLES
        elif isinstance(node, ast.Attribute) and node not in forbidden:
            loading = {"np.load", "numpy.load", "torch.load", "pd.read_pickle"}
            names = PICKLES if ast.unparse(node) in loading else set()
        if names & PICKLES:
            yield node.lineno


def test_no_module_unpickles():
    files = [
        path for room in ("jaxopt_course", "experiments") for path in (ROOT / room).rglob("*.py")
    ]
    assert len(files) > 100
    for path in files:
        assert not list(unpicklers(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("np.load(path)", True),
        ("np.load(path, allow_pickle=True)", True),
        ("np.load(path, allow_pickle=allowed)", True),
        ("read = np.load", True),
        ("torch.load(path)", True),
        ("np.load(path, allow_pickle=False)", False),
        ("json.load(file)", False),
    ],
)
def test_what_could_unpickle_is_found(source, found):
    assert bool(list(unpicklers(source))) == found


def test_nothing_is_unpickled_while_results_are_read(command, out, monkeypatch):
    command("run toy")

    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    (result,) = store.results(out, "toy")
    assert result.dataset().x.shape == (3,)
    assert command("show toy") == 0
    with pytest.raises(AssertionError):
        pickle.loads(pickle.dumps(1))


def test_a_pickle_in_the_place_of_data_is_refused(command, out):
    """A pickle that would run a command on loading, in each file that is read."""

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(out / "exploded"),)

    bomb = pickle.dumps(Bomb())
    array = io.BytesIO()
    np.save(array, np.array([Bomb()], dtype=object), allow_pickle=True)
    command("run toy")
    folder = out / "toy" / "quick"
    whole = content(folder)
    for name in ("config.json", "claims.json", "results.nc"):
        for attack in (bomb, array.getvalue()):
            damaged(folder, name, attack)
            with pytest.raises(store.UnreadableResultError, match="damaged"):
                store.read(folder).dataset()
            damaged(folder, name, whole[name])
    assert not (out / "exploded").exists()
