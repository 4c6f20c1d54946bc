"""The commands: one dataclass each, of which tyro makes the parser and the help.

A class's name is the command, its docstring the help, its fields are the options, which the shell
completes as well. What a command does is in `cli`.
"""

import dataclasses
import sys
import typing
from pathlib import Path
from typing import Annotated

import tyro

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME...")]
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclasses.dataclass(frozen=True)
class Output:
    """Where results are."""

    out: Path = Path("results")
    """Folder of the results."""


@dataclasses.dataclass(frozen=True)
class HowToRun(Output):
    """How to run."""

    preset: str = "quick"
    """Config to start from: quick is the smallest, paper has the published size."""
    force: Flag = False
    """Run again even if the result exists."""
    redraw: Flag = False
    """Judge and draw the stored data anew."""
    distributed: Flag = False
    """Divide the runs among all processes of jax.distributed, each started with this command."""


@dataclasses.dataclass(frozen=True)
class List(Output):
    """What there is, and what was run already; list NAME: claims, presets and fields of one."""

    names: Names = ()
    """Experiments of which to say everything; without any, all in brief."""
    json: Flag = False
    """Print it as JSON, for programs."""


@dataclasses.dataclass(frozen=True)
class Run(HowToRun):
    """Run experiments: run NAME... [options]; run NAME --help has the options of one of them."""

    names: Names = ()
    """Experiments, before all options; or all."""


@dataclasses.dataclass(frozen=True)
class Show(Output):
    """Show the claims and the figure of stored results: show NAME... [options]."""

    names: Names = ()
    """Experiments, or all."""
    preset: str = "quick"
    """Preset, or the name of the folder that a run with changed fields wrote."""
    open: bool = dataclasses.field(default_factory=sys.stdout.isatty)
    """Open the figure in a viewer."""


@dataclasses.dataclass(frozen=True)
class Report(Output):
    """Write one static site from all stored results."""


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print what a shell must read to complete all this: completion bash, or zsh."""

    shell: tyro.conf.Positional[str]
    """Either bash or zsh."""


Command = List | Run | Show | Report | Completion
_CLASSES = {command.__name__.lower(): command for command in typing.get_args(Command)}
NAMES = tuple(_CLASSES)


def options(command: str) -> list[str]:
    """Return the options of a command as they are typed; none of what is no command.

    Example:
        >>> options("report")
        ['--out']
    """
    hints = typing.get_type_hints(_CLASSES.get(command), include_extras=True)
    return [
        word
        for name, hint in hints.items()
        if tyro.conf.Positional not in typing.get_args(hint)
        # A flag that is not marked can be said either way.
        for word in ((f"--{name}", f"--no-{name}") if hint is bool else (f"--{name}",))
    ]
