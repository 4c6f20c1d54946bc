"""The version: of what is installed, or of the source tree that is used without being installed."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_NAME = "jaxopt_course"


def installed_version() -> str:
    """The version as packaging has it, else as the source tree says, else "0+unknown"."""
    try:
        return version(_NAME)
    except PackageNotFoundError:
        pass
    try:
        project = tomllib.loads(
            Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
        )["project"]
    except (OSError, ValueError, KeyError):  # Copied into some other place.
        return "0+unknown"
    return project["version"] if project["name"] == _NAME else "0+unknown"
