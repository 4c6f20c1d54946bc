"""Which experiments there are, read from the files without importing them.

A module of the package is an experiment if it defines a class `Config` at top level, and so is a
package within it whose `_config.py` does. Reading the syntax tree instead of importing keeps
`python -m experiments list` quick: an import would load JAX.
"""

import ast
import dataclasses
import difflib
import functools
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = __name__.removesuffix(".lab.registry")
"""Package of the experiments: the one that this module's package `lab` is in."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What an experiment's file says about itself.

    Attributes:
        name: Module name.
        claim: First line of the docstring.
        section: Section of the lecture that it belongs to.
        cost: What each preset costs.
        sizes: Each preset with what its docstring says of its size, in the order of the file.
        fields: Names of the fields of the config.
        last_result: What it gave when it was last looked at.
        description: The whole docstring.
        module_name: Name to import it by.
    """

    name: str
    claim: str
    section: str
    cost: str
    sizes: dict[str, str]
    fields: tuple[str, ...]
    last_result: str
    description: str
    module_name: str

    def load(self) -> ModuleType:
        """Import the module."""
        return importlib.import_module(self.module_name)


def command(package: str = PACKAGE) -> str:
    """Return what one types to run the command line of a package of experiments.

    Example:
        >>> command("experiments"), command("jaxopt_course.experiments")
        ('python -m experiments', 'jaxopt-course')
    """
    return "jaxopt-course" if package == "jaxopt_course.experiments" else f"python -m {package}"


class UnknownNameError(ValueError):
    """A name that does not exist, with the nearest that does."""

    def __init__(self, what: str, name: str, options: Iterable[str]) -> None:
        options = list(options)
        near = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {what} {name!r}{hint} (there is {', '.join(options)})")


def _docstring_field(docstring: str, field: str) -> str:
    """Return what follows `field:` in a docstring, up to the end of its paragraph or next field."""
    match = re.search(
        rf"^{field}:[ ]*(.*?)(?=\n[A-Z][a-z ]+:|\n\s*\n|\Z)", docstring, re.MULTILINE | re.DOTALL
    )
    return " ".join(match.group(1).split()) if match else ""


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _read(path: Path, package: str) -> Experiment | None:
    """Read what is in a package's folder: a module, or the folder of a package of several files."""
    if path.is_dir():
        if not (path / "_config.py").is_file():
            return None
        tree, config = _parse(path / "__init__.py"), _parse(path / "_config.py")
    else:
        tree = config = _parse(path)
    classes = {node.name: node for node in config.body if isinstance(node, ast.ClassDef)}
    if "Config" not in classes:
        return None
    members = classes["Config"].body
    docstring = ast.get_docstring(tree) or ""
    return Experiment(
        name=path.stem,
        claim=docstring.partition("\n")[0],
        section=_docstring_field(docstring, "Section"),
        cost=_docstring_field(docstring, "Cost"),
        sizes={
            node.name: (ast.get_docstring(node) or "").partition("\n")[0]
            for node in members
            if isinstance(node, ast.FunctionDef)
            and [ast.unparse(mark) for mark in node.decorator_list] == ["classmethod"]
            and not node.name.startswith("_")
        },
        fields=tuple(
            node.target.id
            for node in members
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ),
        last_result=_docstring_field(docstring, "Last result"),
        description=docstring,
        module_name=f"{package}.{path.stem}",
    )


@functools.cache
def experiments(package: str = PACKAGE) -> dict[str, Experiment]:
    """Return every experiment of a package by name, in alphabetical order.

    Example:
        >>> "stationary_points" in experiments()
        True
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError(f"package must be an importable package, got {package!r}")
    folder = Path(next(iter(spec.submodule_search_locations)))
    places = (path for path in folder.iterdir() if path.is_dir() or path.suffix == ".py")
    named = sorted(path for path in places if not path.name.startswith(("_", ".")))
    found = (_read(path, package) for path in named)
    return {experiment.name: experiment for experiment in found if experiment is not None}


def find(name: str, package: str = PACKAGE) -> Experiment:
    """Return one experiment by name.

    Raises:
        UnknownNameError: If there is none; the nearest name is suggested.
    """
    known = experiments(package)
    if name not in known:
        raise UnknownNameError("experiment", name, known)
    return known[name]


def presets(config_class: type) -> list[str]:
    """Return the names of the presets of a `Config`: its public classmethods, as written."""
    return [
        name
        for name, member in vars(config_class).items()
        if isinstance(member, classmethod) and not name.startswith("_")
    ]


def make_preset(config_class: type, name: str) -> Any:
    """Return a preset's config.

    Raises:
        UnknownNameError: If there is no such preset; the nearest name is suggested.
    """
    known = presets(config_class)
    if name not in known:
        raise UnknownNameError("preset", name, known)
    return getattr(config_class, name)()


def folder_name(config: Any, digest: str) -> str:
    """Return the preset that `config` equals, or `digest` if it equals none."""
    if not (dataclasses.is_dataclass(config) and not inspect.isclass(config)):
        raise TypeError(f"config must be a dataclass instance, got {config!r}")
    for name in presets(type(config)):
        if make_preset(type(config), name) == config:
            return name
    return digest
