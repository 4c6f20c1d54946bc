"""One static site from all stored results, which needs no network.

    index.html         every statement of the lecture with what was measured, and every experiment
    section-N.html     a section of the lecture: all claims, and why those that do not hold do not
    NAME.html          an experiment: figures, claims, config, versions, the command that repeats it
    NAME-RESULT-*.html pages that the experiment itself made of a result, as they are
    explorer.html      update rules on surfaces, computed in the page (`experiments.lab.explorer`)

Figures are SVG, so that they stay sharp when enlarged, and images, in which a browser runs nothing
and from which it fetches nothing. A result that cannot be shown is left out and told of. No link is
followed.
"""

import base64
import collections
import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import explorer, lecture, reasons, registry, store
from .claims import Claim

TEMPLATES = Path(__file__).with_name("templates")
NO_REASON = "not known: nobody has looked for the reason yet"


@dataclasses.dataclass(frozen=True)
class Shown:
    """One stored result, ready for a page.

    Attributes:
        name: Name of the result: a preset or a digest.
        claims: Its verdicts.
        about: What its `config.json` says.
        figure: Its figure, SVG as the address of an image.
        width: Width of the figure in pixels.
        label: What the figure is called.
        held: How many of the claims hold.
        devices: What it was computed on.
        pages: The experiment's own pages of it, by their names in the site.
    """

    name: str
    claims: list[Claim]
    about: dict[str, Any]
    figure: str
    width: float
    label: str
    held: int
    devices: str
    pages: dict[str, "Page"]


@dataclasses.dataclass(frozen=True)
class Page:
    """A page that the experiment made.

    Attributes:
        title: What its link is called.
        content: The page.
    """

    title: str
    content: bytes


@dataclasses.dataclass(frozen=True)
class Row:
    """A statement of the lecture with what was measured.

    Attributes:
        number: Its place among the statements.
        statement: The statement.
        linked: Whether its experiment exists, and so has a page.
        preset: Preset whose result is shown, empty without one.
        claims: The claims that measure the statement.
        note: Why there is no claim, if there is none, or of what there is none.
    """

    number: int
    statement: lecture.Statement
    linked: bool
    preset: str
    claims: list[Claim]
    note: str

    @property
    def held(self) -> int:
        """How many of the claims hold."""
        return sum(claim.holds is True for claim in self.claims)

    @property
    def shown(self) -> Claim:
        """The claim to show first: one that does not hold, or is not measured, if any."""
        order = {False: 0, None: 1, True: 2}
        return min(self.claims, key=lambda claim: order[claim.holds])

    def why(self, claim: Claim) -> str:
        """Why one of its claims does not hold, or that nobody has said."""
        return reasons.why(self.statement.experiment, claim) or NO_REASON

    @property
    def verdict(self) -> str:
        """The verdict on the statement."""
        if not self.claims:
            return "not run"
        return self.shown.verdict


def write(
    out: Path,
    package: str = registry.PACKAGE,
    statements: Sequence[lecture.Statement] = lecture.STATEMENTS,
) -> tuple[Path, list[store.UnreadableResultError]]:
    """Write the site into `out/report`, replacing the former one when it is complete.

    Args:
        out: Folder of the results.
        package: Package whose modules are the experiments.
        statements: Statements of the front page.

    Returns:
        Path of the front page, and why each result that is left out cannot be shown.

    Raises:
        FileNotFoundError: If nothing was run yet.
    """
    # The stored results that can be shown, and the others.
    experiments = registry.experiments(package)
    shown: dict[str, list[Shown]] = {}
    left_out: list[store.UnreadableResultError] = []
    for name, experiment in experiments.items():
        readable, refused = store.survey(out, name)
        left_out += refused.values()
        shown[name] = []
        for result in readable:
            try:
                shown[name].append(_shown(result, experiment))
            except store.UnreadableResultError as error:
                left_out.append(error)
    if not any(shown.values()):
        raise FileNotFoundError(
            f"no results in {out}; make some with: {registry.command(package)} run all --out {out}"
        )
    # The pages: the front page, the gallery, the explorer, one an experiment.
    rows = [_row(number, statement, shown) for number, statement in enumerate(statements)]
    templates = _templates()
    sections = _sections(rows)
    pages = {
        "index": templates.get_template("index.html").render(
            rows=rows,
            pages={section: name for name, (section, _) in sections.items()},
            counts=collections.Counter(row.verdict for row in rows),
            experiments=list(experiments.values()),
            shown=shown,
        ),
        "gallery": templates.get_template("gallery.html").render(
            experiments=list(experiments.values()),
            largest={name: _largest(results) for name, results in shown.items()},
        ),
        "explorer": templates.get_template("explorer.html").render(
            surfaces=explorer.data(),
            explorer_script=explorer.script(),
            explorer_style=_asset("explorer.css"),
        ),
    }
    for name, (section, of_section) in sections.items():
        largest = {row.statement.experiment: None for row in of_section}
        largest = {one: _largest(shown.get(one, [])) for one in largest}
        pages[name] = templates.get_template("section.html").render(
            section=section,
            rows=of_section,
            counts=collections.Counter(row.verdict for row in of_section),
            figures=[(one, result) for one, result in largest.items() if result],
        )
    for name, experiment in experiments.items():
        pages[name] = templates.get_template("experiment.html").render(
            experiment=experiment,
            results=shown[name],
            why=lambda claim, name=name: reasons.why(name, claim) or NO_REASON,
            command=f"{registry.command(package)} run {name} --out {out}",
        )
    # They take the place of the former ones all at once.
    folder = out / "report"
    with store.replacing(folder) as staging:
        for name, text in pages.items():
            store.write_file(staging / f"{name}.html", text)
        for result in itertools.chain.from_iterable(shown.values()):
            for name, page in result.pages.items():
                store.write_file(staging / name, page.content)
    return folder / "index.html", left_out


def _sections(rows: Sequence[Row]) -> dict[str, tuple[str, list[Row]]]:
    """Return the sections with their rows, in the order of the lecture, by the name of the page."""
    names = list(dict.fromkeys(row.statement.section for row in rows))
    return {
        f"section-{number}": (name, [row for row in rows if row.statement.section == name])
        for number, name in enumerate(names, start=1)
    }


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _templates() -> Any:
    """The templates of the pages, with style and scripts."""
    import jinja2

    environment: Any = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals.update(style=_asset("style.css"), zoom=_asset("zoom.js"))
    return environment


def _shown(result: store.Result, experiment: registry.Experiment) -> Shown:
    """Return what the pages show of a result.

    Raises:
        UnreadableResultError: If it is whole, and yet not what this version writes.
    """
    with store.refusing(result.folder):
        name = result.folder.name
        claims = result.claims()
        svg = result.read("figure.svg")
        width = re.search(rb"<svg[^>]*?\swidth=\"([\d.]+)pt\"", svg)
        about = result.about
        return Shown(
            name=name,
            claims=claims,
            about={
                "command": str(about["command"]),
                "finished": str(about["finished"]),
                "seconds": float(about["seconds"]),
                "machine": str(about["machine"]),
                "commit": about.get("commit"),
                "config": dict(about["config"]),
                "versions": dict(about["versions"]),
            },
            figure="data:image/svg+xml;base64," + base64.b64encode(svg).decode(),
            width=float(width.group(1)) * 4 / 3 if width else 600,
            label=f"Figure of {experiment.name} ({name}): {experiment.claim}",
            held=sum(claim.holds is True for claim in claims),
            devices=", ".join(
                f"{count} x {device}"
                for device, count in collections.Counter(map(str, about["devices"])).items()
            ),
            pages={
                f"{experiment.name}-{name}-{page}": Page(Path(page).stem, result.read(page))
                for page in result.pages
            },
        )


def _largest(results: list[Shown], *, presets_only: bool = False) -> Shown | None:
    """Return the largest preset that was run, or else any result; None without."""
    preset = store.largest({result.name: result for result in results})
    return preset or (None if presets_only else next(iter(results), None))


def _row(number: int, statement: lecture.Statement, shown: dict[str, list[Shown]]) -> Row:
    """Judge a statement by the largest preset that was run."""
    result = _largest(shown.get(statement.experiment, []), presets_only=True)
    claims = statement.claims(result.claims) if result else []
    note = ""
    if statement.experiment not in shown:
        note = "there is no such experiment yet"
    elif result and not claims:
        note = "the stored result has no such claim: run it again with --force"
    elif result and (missing := statement.unmeasured(result.claims)):
        words = ", ".join(pattern.replace("*", " ... ") for pattern in missing)
        note = f"this preset has no claim of: {words}"
    return Row(
        number=number,
        statement=statement,
        linked=statement.experiment in shown,
        preset=result.name if result else "",
        claims=claims,
        note=note,
    )
