"""Pages made from what is elsewhere: the API reference, the map of the lecture, the notebooks."""

import ast
import enum
import importlib
import inspect
import re
from pathlib import Path

import _docstrings

from experiments.lab import lecture, registry, store

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PACKAGES = (
    "transforms",
    "problems",
    "saddle",
    "theory",
    "nn",
    "training",
    "observables",
    "landscape",
    "plot",
)
# What the names of topics do not say: how names and abbreviations are written.
SPELLINGS = {
    "adadelta": "AdaDelta",
    "adagrad": "AdaGrad",
    "adam": "Adam",
    "cubic newton": "cubic Newton",
    "neon2": "Neon2",
    "newton": "Newton",
    "rmsprop": "RMSProp",
    "saddle free": "saddle-free",
    "tensorboard": "TensorBoard",
}
# Each section of the lecture with the notebooks that teach it and the packages that compute it.
SECTIONS = {
    "Descent and rates": ("18", ("theory", "transforms", "problems", "observables")),
    "Momentum and second order": ("2", ("transforms", "theory")),
    "Adaptive methods": ("3", ("transforms",)),
    "Techniques of network training": ("45", ("nn", "training", "transforms")),
    "Landscape and saddles": ("67", ("saddle", "problems", "transforms", "landscape")),
}


def packages():
    """Return the public packages by name."""
    return {name: importlib.import_module(f"jaxopt_course.{name}") for name in PACKAGES}


def write_reference(folder: Path) -> None:
    """Write a page a package, with a line on each public name, and below it a page a topic."""
    for name, package in packages().items():
        pages = {f"{name}.rst": _overview(package)} | {
            f"{name}/{topic}.rst": _topic(package, topic, module, exports)
            for topic, (module, exports) in topics(package).items()
        }
        for path in (folder / name).glob("*.rst"):
            if f"{name}/{path.name}" not in pages:
                path.unlink()  # Of a topic that is no more.
        for path, lines in pages.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            _write(folder / path, lines)


def write_lecture_map(path: Path) -> None:
    """Write the page that leads from the lecture's sections to the experiments."""
    _write(path, _lecture_map())


def write_gallery(results: Path, folder: Path) -> None:
    """Write the page of every experiment's figure and verdict, from results where there are any."""
    figures = folder / "gallery"
    figures.mkdir(parents=True, exist_ok=True)
    _write(folder / "gallery.md", list(_gallery(results, figures)))


def _gallery(results, figures):
    yield from (
        "# Gallery",
        "",
        "Every experiment's figure with what became of its claims, from the results that this site",
        "was built beside (`make report`, then `make docs`); without, what was seen last.",
        "",
    )
    for name, experiment in registry.experiments().items():
        stored, _ = store.survey(results, name)
        yield from (f"## `{name}`", "", experiment.claim, "")
        if not stored:
            yield from (f"Last result: {experiment.last_result}", "")
            continue
        largest = store.largest({result.folder.name: result for result in stored}) or stored[0]
        claims = largest.claims()
        held = sum(claim.holds is True for claim in claims)
        yield from (f"**{held} of {len(claims)} claims hold** ({largest.folder.name}).", "")
        figure = figures / f"{name}.png"
        content = largest.read("figure.png")
        if not figure.exists() or figure.read_bytes() != content:
            figure.write_bytes(content)
        yield from (f"![Figure of {name}: {experiment.claim}](gallery/{figure.name})", "")


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
                yield table_row(statement.text, f"`{statement.experiment}`")
        yield from ("", "| Experiment | Claim | Last result |", "|---|---|---|")
        for experiment in experiments.values():
            if experiment.section == section:
                yield table_row(f"`{experiment.name}`", experiment.claim, experiment.last_result)
        yield ""


def table_row(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _overview(package):
    short = package.__name__.rpartition(".")[2]
    yield from (f"``{short}``", "=" * (len(short) + 4), "")
    yield from (f".. automodule:: {package.__name__}", "   :no-members:", "")
    for topic, (_, exports) in topics(package).items():
        yield from (f".. rubric:: :doc:`{_title(topic)} <{short}/{topic}>`", "")
        yield from (".. list-table::", "   :widths: 35 65", "   :width: 100%", "")
        for export in exports:
            yield f"   * - :py:obj:`{export} <{package.__name__}.{export}>`"
            yield f"     - {_first_sentence(getattr(package, export))}"
        yield ""
    yield from (".. toctree::", "   :hidden:", "")
    yield from (f"   {short}/{topic}" for topic in topics(package))


def _topic(package, topic, module, exports):
    title = _title(topic)
    yield from (title, "=" * len(title), "")
    yield from (f".. automodule:: {module}", "   :no-members:", "   :no-index:", "")
    yield from (f".. currentmodule:: {package.__name__}", "")
    for export in exports:
        value = getattr(package, export)
        kind = "autodata"
        if inspect.isclass(value):
            kind = "autoclass"
        elif callable(value):
            kind = "autofunction"
        yield f".. {kind}:: {export}"
        if kind == "autoclass":
            yield "   :members:"
        if inspect.isclass(value) and issubclass(value, enum.Enum):
            yield "   :undoc-members:"
        yield ""


def topics(package):
    """Return what is documented together by topic: the module that defines it, and its names.

    A topic is what one file defines, as the package's own imports say; topics with a function come
    first, as what a user looks for.
    """
    found = {}
    for node in ast.parse(inspect.getsource(package)).body:
        if isinstance(node, ast.ImportFrom):
            exports = [alias.name for alias in node.names if alias.name in package.__all__]
            if exports:
                _, _, topic = node.module.rpartition("._")
                found.setdefault(topic, (node.module, []))[1].extend(exports)
    ordered = {
        topic: (module, _in_order(package, names)) for topic, (module, names) in found.items()
    }
    return dict(sorted(ordered.items(), key=lambda item: _only_classes(package, item[1][1])))


def _only_classes(package, names):
    return all(inspect.isclass(getattr(package, name)) for name in names)


def _in_order(package, names):
    """Return functions first, then the classes of their results."""
    return sorted(names, key=lambda name: (inspect.isclass(getattr(package, name)), name.lower()))


def _title(topic):
    words = topic.replace("_", " ")
    for word, written in SPELLINGS.items():
        words = re.sub(rf"\b{word}\b", written, words)
    return words[0].upper() + words[1:]


def _first_sentence(value):
    text = inspect.getdoc(value) or ""
    lines = _docstrings.inline(text.split("\n\n")[0].split("\n"))
    return " ".join(line.strip() for line in lines)
