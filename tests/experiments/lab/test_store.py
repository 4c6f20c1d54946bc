import dataclasses

import numpy as np
import pytest
import xarray as xr

import experiments
from experiments.lab import registry, store


@dataclasses.dataclass(frozen=True)
class Config:
    name: str = "../../escape"
    shape: tuple[int, ...] = (1, 2)

    @classmethod
    def quick(cls):
        return cls()


def files_in(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_values_of_a_config_cannot_lead_outside_the_folder(tmp_path):
    inside = store.folder_of(tmp_path, "toy", Config(name="/etc/passwd", shape=()))
    assert inside.parent == tmp_path / "toy"
    assert inside.name.isalnum()
    assert store.folder_of(tmp_path, "toy", Config()) == tmp_path / "toy" / "quick"


def test_equal_configs_share_a_folder_and_different_ones_do_not(tmp_path):
    folders = {store.folder_of(tmp_path, "toy", Config(name=name)) for name in "aab"}
    assert len(folders) == 2


def test_a_folder_is_replaced_only_when_complete(tmp_path):
    target = tmp_path / "quick"
    with store.replacing(target) as staging:
        (staging / "a").write_text("first")
        assert not target.exists()
    assert files_in(target) == {"a": "first"}
    with pytest.raises(ZeroDivisionError), store.replacing(target) as staging:
        (staging / "a").write_text(str(1 / 0))
    assert files_in(target) == {"a": "first"}
    with store.replacing(target) as staging:
        (staging / "a").write_text("third")
    assert files_in(target) == {"a": "third"}
    assert [path.name for path in tmp_path.iterdir()] == ["quick"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    target = tmp_path / "quick"
    target.mkdir()
    for name in store.FILES[1:]:
        (target / name).write_text("[]")
    store.seal(target, {"format": store.FORMAT})
    target.rename(store._aside(target))
    assert store.read(target).folder == target
    assert target.is_dir()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    store.write_file(path, "old")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        store.write_file(path, "new")
    assert files_in(tmp_path) == {"a.json": "old"}


@pytest.mark.parametrize(
    ("content", "said"), [("{", "damaged"), ("{}", "damaged"), ('{"format": 99}', "layout 99")]
)
def test_a_foreign_or_damaged_folder_is_refused_with_a_reason(tmp_path, content, said):
    for name in store.FILES:
        (tmp_path / name).write_text(content)
    with pytest.raises(store.UnreadableResultError, match=said):
        store.read(tmp_path)


def test_an_incomplete_folder_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(store.UnreadableResultError, match=r"lacks results\.nc"):
        store.read(tmp_path)


def test_datasets_survive_the_file_unchanged(tmp_path):
    dataset = xr.Dataset(
        {
            "holds": ("run", np.array([True, False])),
            "value": (("run", "step"), np.array([[1.0, np.nan], [np.inf, -0.0]])),
        },
        coords={"run": ["a", "bb"], "step": [0, 10]},
        attrs={"rate": 0.1, "note": "text"},
    )
    path = tmp_path / "results.nc"
    store.write_file(path, store.encode(dataset))
    read = xr.load_dataset(path, engine="h5netcdf")
    xr.testing.assert_identical(read, dataset)
    assert read.holds.dtype == bool


def test_load_gives_the_dataset_of_a_stored_run(tmp_path, toys):
    from experiments.lab.cli import main

    main(["run", "toy", "--out", str(tmp_path / "r")], package=toys)
    result = store.results(tmp_path / "r", "toy")[0]
    assert result.dataset().x.shape == (3,)


def test_load_says_what_is_unknown_and_how_to_make_what_is_missing(tmp_path):
    with pytest.raises(registry.UnknownNameError, match="did you mean 'stationary_points'"):
        experiments.load("stationary_point", out=tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m experiments run stationary_points"):
        experiments.load("stationary_points", out=tmp_path)
