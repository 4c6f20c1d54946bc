"""The options of each command: tyro makes parser and help of them, and the shell completes them."""

import dataclasses
import sys
import typing
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class Output:
    """Where results are."""

    out: Path = Path("results")
    """Folder of the results."""


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """What there is, and what was run already."""

    out: Path = Path("results")
    """Folder of the results."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print it as JSON, for programs."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How to run."""

    preset: str = "quick"
    """Config to start from: quick is the smallest, paper has the published size."""
    out: Path = Path("results")
    """Folder of the results."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Run again even if the result exists."""
    redraw: tyro.conf.FlagCreatePairsOff[bool] = False
    """Judge and draw the stored data anew."""
    distributed: tyro.conf.FlagCreatePairsOff[bool] = False
    """Divide the runs among all processes of jax.distributed, each started with this command."""


@dataclasses.dataclass(frozen=True)
class ShowOptions:
    """What to show."""

    preset: str = "quick"
    """Preset, or the name of the folder that a run with changed fields wrote."""
    out: Path = Path("results")
    """Folder of the results."""
    open: bool = dataclasses.field(default_factory=sys.stdout.isatty)
    """Open the figure in a viewer."""


COMMANDS = {"list": ListOptions, "run": RunOptions, "show": ShowOptions, "report": Output}
"""The commands that have options."""


def words(command: str) -> list[str]:
    """Return the options of a command as they are typed; none for one that has none.

    Example:
        >>> words("report")
        ['--out']
    """
    if command not in COMMANDS:
        return []
    hints = typing.get_type_hints(COMMANDS[command], include_extras=True)
    # A flag that is not marked can be said either way.
    return [
        word
        for name, hint in hints.items()
        for word in ((f"--{name}", f"--no-{name}") if hint is bool else (f"--{name}",))
    ]
