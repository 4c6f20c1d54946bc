"""What `import jaxopt_course` costs, and that it works wherever the package lies."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError

from jaxopt_course import _version as version
from jaxopt_course._version import installed_version

HEAVY = ("orbax", "tensorstore", "matplotlib", "scipy", "xarray", "tensorboardX", "sklearn")


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
