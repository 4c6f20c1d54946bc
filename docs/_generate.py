"""Pages made from what is elsewhere: the API reference, the map of the lecture, the notebooks."""

import ast
import importlib
import inspect
from pathlib import Path

from experiments import lecture, registry

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PACKAGES = ("transforms", "problems", "saddle", "theory", "nn", "training")
# Each section of the lecture with the notebooks that teach it and the packages that compute it.
SECTIONS = {
    "Descent and rates": ("1", ("theory", "transforms", "problems")),
    "Momentum and second order": ("2", ("transforms", "theory")),
    "Adaptive methods": ("3", ("transforms",)),
    "Techniques of network training": ("45", ("nn", "training", "transforms")),
    "Landscape and saddles": ("67", ("saddle", "problems", "transforms")),
}


def packages():
    """Return the public packages by name."""
    return {name: importlib.import_module(f"jaxopt_course.{name}") for name in PACKAGES}


def write_reference(folder: Path) -> None:
    """Write `folder/<package>.rst`: every public name, grouped by the file that defines it."""
    folder.mkdir(exist_ok=True)
    for name, package in packages().items():
        _write(folder / f"{name}.rst", _page(package))


def write_lecture_map(path: Path) -> None:
    """Write the page that leads from the lecture's sections to the experiments."""
    _write(path, _lecture_map())


def write_notebooks(source: Path, folder: Path) -> None:
    """Copy the notebooks, without outputs as they are, and the page about them."""
    folder.mkdir(exist_ok=True)
    for path in source.glob("[1-9]_*.ipynb"):
        _write(folder / path.name, path.read_text(encoding="utf-8").splitlines())
    readme = (source / "README.md").read_text(encoding="utf-8")
    _write(folder / "index.md", readme.splitlines())


def _write(path, lines):
    text = "\n".join(lines)
    # Sphinx reads again what is newer than the last build: an unchanged page stays as it is.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _lecture_map():
    yield from (
        "# Lecture map",
        "",
        "Each experiment holds a statement of the lecture, or of the paper behind it, against a",
        "measurement. `python -m experiments run NAME` repeats one; `report` makes a site of all,",
        "with what was measured beside each statement.",
        "",
    )
    experiments = registry.experiments()
    for section, (notebooks, names) in SECTIONS.items():
        learn = ", ".join(
            f"[](../notebooks/{path.name})"
            for path in sorted(NOTEBOOKS.glob("*.ipynb"))
            if path.name[0] in notebooks
        )
        compute = ", ".join(f"[{name}]({name}.rst)" for name in names)
        yield from (f"## {section}", "", f"Learn it: {learn}. Compute it: {compute}.", "")
        yield from ("| The lecture states | Experiment |", "|---|---|")
        for statement in lecture.STATEMENTS:
            if statement.section == section:
                yield _table_row(statement.text, f"`{statement.experiment}`")
        yield from ("", "| Experiment | Claim | Last result |", "|---|---|---|")
        for experiment in experiments.values():
            if experiment.section == section:
                yield _table_row(f"`{experiment.name}`", experiment.claim, experiment.last_result)
        yield ""


def _table_row(*cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _page(package):
    short = package.__name__.rpartition(".")[2]
    yield from (f"``{short}``", "=" * (len(short) + 4), "")
    yield from (f".. automodule:: {package.__name__}", "")
    files, defined = {}, _defining_files(package)
    for export in package.__all__:
        files.setdefault(defined[export], []).append((export, getattr(package, export)))
    for file, exports in files.items():
        title = file.removeprefix(package.__name__ + ".").replace(".", " / ").replace("_", " ")
        yield from (title.strip().capitalize(), "-" * len(title), "")
        if file != package.__name__:
            yield from (f".. automodule:: {file}", "   :no-index:", "")
        yield from (f".. currentmodule:: {package.__name__}", "")
        for export, value in exports:
            kind = "autodata"
            if inspect.isclass(value):
                kind = "autoclass"
            elif callable(value):
                kind = "autofunction"
            yield f".. {kind}:: {export}"
            if kind == "autoclass":
                yield "   :members:"
            yield ""


def _defining_files(package):
    """Return the module that defines each export, as the package's own imports say."""
    tree = ast.parse(inspect.getsource(package))
    return {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
