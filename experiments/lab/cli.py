"""The command line: list, run, show, report and completion.

The commands are those of `commands`, whose parser and help are tyro's. `run NAME...` takes, beside
its own options, those of the named experiments, which tyro makes from their `Config`: every field
is an option with its type and its docstring as help.
"""

import dataclasses
import importlib.metadata
import json
import os
import shlex
import sys
import traceback
import typing
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import (
    commands,
    completion,
    details,
    fields,
    processes,
    registry,
    report,
    runner,
    store,
    tables,
)

ABOUT = """\
Experiments: each a statement held against measurement.

Each command takes --help; --version says which version this is.

Results are in ./results unless --out says otherwise.

A result that is there is shown, not computed again, unless --force says so.

Exit codes:
  0  all claims hold
  1  some do not or were not measured
  2  the command was wrong
  3  an experiment could not be run or its result not be written
 75  stopped by SIGTERM: the same command goes on
130  interrupted
"""

LISTED = ("name", "claim", "section", "cost", "sizes", "fields", "last_result")
"""What `list --json` says of an experiment, beside what is stored of it."""
Option = tyro.conf.OmitArgPrefixes


class UsageError(Exception):
    """A command that cannot be meant as it was given."""


def main(argv: Sequence[str] | None = None, package: str = registry.PACKAGE) -> int:
    """Run one command.

    Args:
        argv: Arguments after `python -m experiments`; those of the process by default.
        package: Package whose modules are the experiments.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    console = Console()  # of the width that the terminal has, or COLUMNS says
    errors = Console(stderr=True)
    if not arguments:
        main(["--help"], package)
        return 2
    if arguments[0] == "--version":
        print(f"jaxopt_course {importlib.metadata.version('jaxopt_course')}")
        return 0
    try:
        return _execute(arguments, console, package)
    except (UsageError, registry.UnknownNameError) as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 2
    except store.UnreadableResultError as error:
        errors.print(
            f"[bold red]cannot read:[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
        return 3
    except OSError as error:
        errors.print(
            f"[bold red]cannot read or write:[/] {escape(str(error))}; "
            "what was stored before is unchanged",
            *map(escape, getattr(error, "__notes__", [])),
            sep="\n",
            highlight=False,
            soft_wrap=True,
        )
        return 3
    except SystemExit as exit_:
        if exit_.code == os.EX_TEMPFAIL:
            errors.print(
                "stopped by SIGTERM, with a checkpoint: the same command goes on from there"
            )
        # Otherwise tyro has printed what is wrong, or the help.
        return exit_.code if isinstance(exit_.code, int) else 2
    except KeyboardInterrupt:
        errors.print("interrupted; what had finished is stored, and the same command goes on")
        return 130


def _execute(arguments: list[str], console: Console, package: str) -> int:
    """Run one command; errors are for `main`."""
    if arguments[:2] == ["completion", "words"]:  # asked by the shell at every tab
        print("\n".join(completion.words(arguments[2:], package)))
        return 0
    command, rest = _parse(arguments, package)
    match command:
        case commands.List():
            return _list(command, console, package)
        case commands.Run():
            return _run(command, rest, arguments[1:], console, package)
        case commands.Show():
            return _show(command, console, package)
        case commands.Report():
            return _report(command, console, package)
        case commands.Completion():
            print(completion.script(command.shell, package), end="")
            return 0


def _parse(arguments: list[str], package: str) -> tuple[commands.Command, list[str]]:
    """Read the command, and keep the options that only the experiments of `run NAME...` know."""
    word, *rest = arguments
    if word not in commands.NAMES and not word.startswith("-"):
        raise registry.UnknownNameError("command", word, commands.NAMES)
    program = registry.command(package)
    if word == "run" and rest and not rest[0].startswith("-"):
        # The help is of the experiment, too, and is left for it with the other unknown options.
        return tyro.cli(
            commands.Command, args=arguments, prog=program, add_help=False, return_unknown_args=True
        )
    return tyro.cli(commands.Command, args=arguments, prog=program, description=ABOUT), []


def _find(names: Sequence[str], package: str) -> list[registry.Experiment]:
    """Look the names of experiments up."""
    known = registry.experiments(package)
    if not names:
        raise UsageError(
            f"name an experiment before the options: one of {', '.join(known)}, or all"
        )
    if list(names) == ["all"]:
        names = list(known)
    return [registry.find(name, package) for name in dict.fromkeys(names)]


def _configure(
    experiment: registry.Experiment, how: commands.HowToRun, arguments: list[str]
) -> Any:
    """Read the fields of the experiment's config, beginning with the preset's."""
    config_class = experiment.load().Config
    preset = registry.make_preset(config_class, how.preset)
    names = [field.name for field in dataclasses.fields(config_class)]
    unchecked = _with_ranges(config_class)
    # How to run was read before; it is here for the help.
    both = dataclasses.make_dataclass(
        "Arguments", [("run", Option[commands.HowToRun]), ("config", Option[unchecked])]
    )
    parsed = tyro.cli(
        both,
        args=arguments,
        default=both(
            commands.HowToRun(), unchecked(**{name: getattr(preset, name) for name in names})
        ),
        prog=f"{registry.command()} run {experiment.name}",
        description=f"{experiment.claim}\n\nCost: {experiment.cost}",
    )
    try:
        return config_class(**{name: getattr(parsed.config, name) for name in names})
    except (ValueError, TypeError) as error:
        raise UsageError(f"{experiment.name}: {error}") from error


def _with_ranges(config_class: type) -> type:
    """Return a config that takes any values, and whose help says what each field may be.

    What is out of range is for the config itself to say, in one sentence.
    """
    hints = typing.get_type_hints(config_class, include_extras=True)

    def described(field: dataclasses.Field) -> Any:
        rules = "; ".join(rule.text for rule in fields.ranges(hints[field.name]))
        if not rules:
            return hints[field.name]
        # Braces are for tyro's own use, and none of these texts has any.
        hint = tyro.conf.arg(help_behavior_hint=lambda default: f"({rules}; default: {default})")
        return Annotated[hints[field.name], hint]

    return dataclasses.make_dataclass(
        config_class.__name__,
        [
            (field.name, described(field), dataclasses.field(default=field.default))
            for field in dataclasses.fields(config_class)
        ],
        bases=(config_class,),
        namespace={"__post_init__": lambda _: None, "__doc__": config_class.__doc__},
        frozen=True,
    )


def _run(
    how: commands.Run, rest: list[str], typed: list[str], console: Console, package: str
) -> int:
    """Run experiments, or show the results that they have already."""
    chosen = _find(how.names, package)
    options = typed[len(how.names) :]
    if (*how.names, *options) != tuple(typed):
        raise UsageError(f"name all experiments before the options, got {shlex.join(typed)}")
    jobs = []
    for experiment in chosen:
        # Everything is parsed before anything runs: a typo must not cost an hour.
        config = _configure(experiment, how, rest)
        folder = store.folder_of(how.out, experiment.name, config)
        jobs.append(runner.Job(experiment.name, experiment.load(), config, folder))

    if how.distributed:
        processes.start()
    if not processes.is_first():
        for job in jobs:
            job.assist(Console(quiet=True))
        return 0
    return _run_all(jobs, how, options, console, package)


def _run_all(
    jobs: list[runner.Job],
    how: commands.HowToRun,
    options: list[str],
    console: Console,
    package: str,
) -> int:
    """Run jobs one after the other; one that fails does not stop the others."""
    finished: list[store.Result] = []
    failed: list[str] = []
    for number, job in enumerate(jobs, 1):
        command = f"{registry.command(package)} run {shlex.join([job.name, *options])}"
        place = f" [dim]{number} of {len(jobs)}[/]" if len(jobs) > 1 else ""
        title = f"[bold]{job.name}[/] ({job.folder.name}){place}"
        try:
            finished.append(_run_one(job, how, command, title, console))
        except Exception as error:
            if len(jobs) == 1 and isinstance(error, OSError):
                raise
            # One broken experiment must not cost the others of a long list.
            if isinstance(error, OSError):
                print(f"{job.name}: {error}", file=sys.stderr)
            else:
                traceback.print_exc()
            failed.append(job.name)
    if len(jobs) > 1:
        tables.print_summary(finished, failed, console)
    if failed:
        return 3
    return 0 if all(claim.holds for result in finished for claim in result.claims()) else 1


def _run_one(
    job: runner.Job, how: commands.HowToRun, command: str, title: str, console: Console
) -> store.Result:
    """The result of one job, computed if need be, and shown."""
    stored = job.stored()
    if stored and not (how.force or how.redraw):
        console.print(f"{title}: the result exists already; --force repeats the run")
        result = stored
        processes.agree(False)
    else:
        console.print(f"{title}: running")
        result = job.execute(command=command, console=console, force=how.force, redraw=how.redraw)
    if result.about.get("code") != job.code:
        commit = result.about.get("commit") or "unknown"
        console.print(
            f"[yellow]computed by other code[/] than this is (commit {escape(str(commit))}); "
            "--force repeats the run",
            highlight=False,
        )
    tables.print_result(result, console)
    return result


def _show(how: commands.Show, console: Console, package: str) -> int:
    """Show stored results."""
    held = True
    for experiment in _find(how.names, package):
        readable, refused = store.survey(how.out, experiment.name)
        stored = {result.folder.name: result for result in readable}
        if how.preset in refused:
            raise refused[how.preset]
        if how.preset not in stored:
            names = ", ".join(stored)
            there = f"stored, for --preset: {names}" if stored else "nothing is stored"
            raise UsageError(
                f"{experiment.name} has no result {how.preset!r} in {how.out} ({there}); make it "
                f"with: {registry.command(package)} run {experiment.name} --preset {how.preset}"
            )
        result = stored[how.preset]
        console.print(f"[bold]{experiment.name}[/] ({how.preset})\n{escape(experiment.claim)}")
        tables.print_result(result, console)
        held = held and all(claim.holds for claim in result.claims())
        if how.open:
            webbrowser.open(result.figure.resolve().as_uri())
    return 0 if held else 1


def _list(how: commands.List, console: Console, package: str) -> int:
    """List the experiments, as a table, as lines where nobody looks at a terminal, or as JSON."""
    known = [*registry.experiments(package).values()]
    if how.names:
        known = _find(how.names, package)
    stored = {experiment.name: _stored(how.out, experiment.name) for experiment in known}
    if how.json:
        rows = [
            {name: getattr(experiment, name) for name in LISTED}
            | {"stored": stored[experiment.name]}
            for experiment in known
        ]
        print(json.dumps(rows, indent=1))
        return 0
    if how.names:
        for number, experiment in enumerate(known):
            if number:
                console.print()
            details.print_details(experiment, how.out, console, package)
        return 0
    _print_all(known, stored, how.out, console)
    return 0


def _print_all(
    known: list[registry.Experiment],
    stored: dict[str, dict[str, str | None]],
    out: Path,
    console: Console,
) -> None:
    """Print experiments in brief: a row, or a few lines, each."""
    table = Table(show_lines=True, expand=True)
    for heading, share in (("experiment", 3), ("claim", 3), ("presets", 5), (f"in {out}", 4)):
        table.add_column(heading, overflow="fold", ratio=share)
    for experiment in known:
        results = [
            f"{name}: [bold red]unreadable[/] (show says why)"
            if verdict is None
            else f"{name}: {verdict.replace(' claims', '')}"
            for name, verdict in stored[experiment.name].items()
        ] or ["not run"]
        sizes = [f"[bold]{name}[/]: {escape(size)}" for name, size in experiment.sizes.items()]
        sizes.append(f"[dim]time: {escape(experiment.cost)}[/]")
        head = f"[bold]{experiment.name}[/]", escape(experiment.section)
        if tables.is_plain(console):
            tables.say(console, f"{head[0]} ({head[1]}): {escape(experiment.claim)}")
            for line in (*sizes, *(f"in {escape(str(out))}: {line}" for line in results)):
                tables.say(console, f"  {line}")
        else:
            cells = "\n".join(head), escape(experiment.claim), "\n".join(sizes)
            table.add_row(*cells, "\n".join(results))
    if not tables.is_plain(console):
        console.print(table)


def _stored(out: Path, name: str) -> dict[str, str | None]:
    """Return the verdict on each stored result of an experiment, None where it cannot be read."""
    readable, refused = store.survey(out, name)
    verdicts = {result.folder.name: tables.verdict(result.claims()) for result in readable}
    return verdicts | dict.fromkeys(refused)


def _report(how: commands.Report, console: Console, package: str) -> int:
    front, left_out = report.write(how.out, package)
    for error in left_out:
        console.print(
            f"[bold red]left out:[/] {escape(str(error))}", highlight=False, soft_wrap=True
        )
    console.print(f"report  {front}", highlight=False, soft_wrap=True)
    return 0
