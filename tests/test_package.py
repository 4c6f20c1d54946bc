"""What `import jaxopt_course` costs and shows, and that it works wherever the package lies."""

import inspect
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from jaxopt_course import _version as version
from jaxopt_course._version import installed_version
from tests.packages import PACKAGES

HEAVY = ("orbax", "tensorstore", "matplotlib", "scipy", "xarray", "tensorboardX", "sklearn")

PUBLIC = [
    pytest.param(package, name, id=f"{room}.{name}")
    for room, package in PACKAGES.items()
    for name in package.__all__
    if (getattr(getattr(package, name), "__module__", "") or "").startswith("jaxopt_course.")
    if inspect.isroutine(getattr(package, name)) or inspect.isclass(getattr(package, name))
]


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_what_is_public_says_where_it_lives_and_a_function_shows_its_source(package, name):
    value = getattr(package, name)
    assert value.__module__ == package.__name__
    if inspect.isfunction(value):
        source = inspect.getsource(value).splitlines()
        assert any(line.startswith(f"def {name}(") for line in source)


def test_the_import_of_the_package_brings_nothing_heavy():
    """Beside jax, optax and flax, which bring what they bring."""
    code = f"""
import sys
import jax, optax
from flax import nnx
before = set(sys.modules)
import jaxopt_course
print([name for name in sorted(set(sys.modules) - before) if name.split(".")[0] in {HEAVY}])
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, JAX_PLATFORMS="cpu", PYTHONPATH=os.getcwd()),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "[]\n"


def test_the_version_is_known_without_an_installation(tmp_path, monkeypatch):
    installed = installed_version()

    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(version, "version", not_installed)
    assert installed_version() == installed
    monkeypatch.setattr(version, "__file__", str(tmp_path / "jaxopt_course" / "_version.py"))
    assert installed_version() == "0+unknown"
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "7"\n')
    assert installed_version() == "0+unknown"
