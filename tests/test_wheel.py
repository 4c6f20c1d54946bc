"""The wheel as a user gets it: the library with the experiments in it, and a console command."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from experiments import __main__ as entry

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {"scikit-learn": "sklearn"}
COMMAND = "import sys; from jaxopt_course._command import main; sys.exit(main())"


def build(kind, folder):
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=[kind])
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with build("standard", tmp_path_factory.mktemp("dist")) as opened:
        yield opened


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder that the wheel is unpacked to, which is what installing it does."""
    folder = tmp_path_factory.mktemp("site-packages")
    wheel.extractall(folder)
    return folder


def run(installed, code, *words, cwd, **variables):
    """Run Python with the unpacked wheel in a folder."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(installed), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_carries_library_and_experiments_whole_and_nothing_else(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {
        prefix + path.relative_to(ROOT).as_posix()
        for prefix, room in (("", "jaxopt_course"), ("jaxopt_course/", "experiments"))
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected


def test_a_clone_that_is_installed_in_place_has_no_second_copy(tmp_path):
    with build("editable", tmp_path) as opened:
        modules = [name for name in opened.namelist() if name.endswith(".py")]
        assert modules == []
        (path,) = (name for name in opened.namelist() if name.endswith(".pth"))
        assert Path(opened.read(path).decode()).resolve() == ROOT


def test_the_command_runs_in_a_project_that_has_experiments_of_its_own(installed, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise RuntimeError('not ours')")
    line = "run quadratic_rates --condition-numbers 10 100 1000 --records 40"
    done = run(installed, COMMAND, *line.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "7 of 7 claims hold" in done.stdout
    listed = run(installed, COMMAND, "list", cwd=tmp_path)
    assert ": 7 of 7 hold" in " ".join(listed.stdout.split())
    assert run(installed, COMMAND, "report", cwd=tmp_path).returncode == 0
    page = tmp_path / "results" / "report" / "quadratic_rates.html"
    assert "jaxopt-course run quadratic_rates" in page.read_text()


def test_in_an_empty_folder_it_says_what_to_type(installed, tmp_path):
    done = run(installed, COMMAND, "show", "escape", cwd=tmp_path)
    assert done.returncode == 2
    assert "make it with: jaxopt-course run escape" in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["clone", "index"])
def test_a_missing_extra_is_told_with_what_installs_it(installed, tmp_path, kind):
    hide = "import sys; sys.modules['tyro'] = None; "
    place = ROOT if kind == "clone" else installed
    done = run(place, hide + COMMAND, "list", cwd=tmp_path)
    assert done.returncode == 3
    assert "tyro" in done.stderr
    remedy = {
        "clone": f"pip install -e '{ROOT}[experiments]'",
        "index": "pip install 'jaxopt_course[experiments]'",
    }
    assert remedy[kind] in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_the_command_looks_for_is_what_the_extra_installs():
    extra = {name.partition("[")[0] for name in PROJECT["optional-dependencies"]["experiments"]}
    assert {IMPORTED_AS.get(name, name) for name in extra} == set(entry.PACKAGES)
