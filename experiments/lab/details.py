"""One experiment in full: what `list NAME` prints."""

import ast
import inspect
import itertools
import re
import textwrap
import typing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from . import fields, registry, store, tables


def print_details(
    experiment: registry.Experiment, out: Path, console: Console, package: str
) -> None:
    """Print an experiment's claims, presets, times and fields.

    Args:
        experiment: Which.
        out: Folder of the results, whose claims are printed with their verdicts.
        console: Where to print.
        package: The package of the experiments.
    """
    config_class = experiment.load().Config

    def say(text: str, indent: int = 0) -> None:
        # What nobody looks at stays on its line, for programs that search it.
        width = None if tables.is_plain(console) else max(console.width - indent, 30)
        lines = [text] if width is None else textwrap.wrap(text, width)
        for line in lines:
            console.print(
                " " * indent + escape(line), highlight=False, soft_wrap=True, no_wrap=width is None
            )

    console.print(f"[bold]{experiment.name}[/] ({escape(experiment.section)})", highlight=False)
    for paragraph in _prose(experiment.description):
        say(paragraph)
        say("")
    say(f"Time: {experiment.cost}")
    say(f"Last result: {experiment.last_result}")

    console.print("\n[bold]Presets[/]")
    for name, size in experiment.sizes.items():
        say(f"{name}: {size}", 2)

    console.print(f"\n[bold]Claims[/], by what is stored in {escape(str(out))}", highlight=False)
    readable, refused = store.survey(out, experiment.name)
    for result in readable:
        seconds = result.about.get("seconds")
        took = f", computed in {seconds:.1f} s" if seconds is not None else ""
        say(f"{result.folder.name}: {tables.verdict(result.claims())}{took}", 2)
        for claim in result.claims():
            say(f"{'holds' if claim.holds else 'DOES NOT HOLD'}: {claim.statement}", 4)
    for name in refused:
        say(f"{name}: unreadable ({registry.command(package)} show says why)", 2)
    if not readable and not refused:
        say(f"nothing yet: {registry.command(package)} run {experiment.name} measures them", 2)

    console.print("\n[bold]Fields[/], each an option of run")
    hints = typing.get_type_hints(config_class, include_extras=True)
    said = _field_docstrings(config_class)
    presets = {
        name: registry.make_preset(config_class, name) for name in registry.presets(config_class)
    }
    for name in experiment.fields:
        rules = "; ".join(rule.text for rule in fields.ranges(hints[name]))
        words = " ".join(filter(None, (said.get(name, ""), f"({rules})" if rules else "")))
        say(f"--{name.replace('_', '-')}: {words}".rstrip(": "), 2)
        say(_values({preset: getattr(config, name) for preset, config in presets.items()}), 6)


def _prose(description: str) -> list[str]:
    """Return the paragraphs of a docstring, but for its fields."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", description)]
    return [part for part in paragraphs if not re.match(r"(Section|Command|Cost):", part)]


def _values(by_preset: dict[str, Any]) -> str:
    """Return a field's values, once where all presets have the same."""
    shown = {
        name: " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        for name, value in by_preset.items()
    }
    if len(set(shown.values())) == 1:
        return next(iter(shown.values()))
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _field_docstrings(config_class: type) -> dict[str, str]:
    """Return what stands below each field of a class, by the field's name."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body
    body = getattr(tree, "body", [])
    found = {}
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = getattr(getattr(below, "value", None), "value", None)
            if isinstance(text, str):
                found[field.target.id] = " ".join(text.split())
    return found
