"""One static site from all stored results, which needs no network.

    index.html         every statement of the lecture with what was measured, and every experiment
    NAME.html          an experiment: figures, claims, config, versions, the command that repeats it
    NAME-RESULT-*.html pages that the experiment itself made of a result, as they are
    explorer.html      update rules on surfaces, computed in the page (`experiments.lab.explorer`)

Figures are inline SVG, so that they can be zoomed.
"""

import collections
import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import explorer, lecture, registry, store
from .claims import Claim

TEMPLATES = Path(__file__).with_name("templates")


@dataclasses.dataclass(frozen=True)
class Shown:
    """One stored result, ready for a page.

    Attributes:
        name: Name of the result: a preset or a digest.
        claims: Its verdicts.
        about: What its `config.json` says.
        figure: Its figure as SVG, to be put into the page as it is.
        held: How many of the claims hold.
        devices: What it was computed on.
        pages: The experiment's own pages of it, by their names in the site.
    """

    name: str
    claims: list[Claim]
    about: dict[str, Any]
    figure: str
    held: int
    devices: str
    pages: dict[str, Path]


@dataclasses.dataclass(frozen=True)
class Row:
    """A statement of the lecture with what was measured.

    Attributes:
        number: Its place among the statements.
        statement: The statement.
        linked: Whether its experiment exists, and so has a page.
        preset: Preset whose result is shown, empty without one.
        claims: The claims that measure the statement.
        note: Why there is no claim, if there is none.
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
        return sum(claim.holds for claim in self.claims)

    @property
    def shown(self) -> Claim:
        """The claim to show first: one that does not hold, where there is one."""
        return next((claim for claim in self.claims if not claim.holds), self.claims[0])

    @property
    def verdict(self) -> str:
        """The verdict on the statement."""
        if not self.claims:
            return "not run"
        return "holds" if self.held == len(self.claims) else "does not hold"


def write(
    out: Path,
    package: str = registry.PACKAGE,
    statements: Sequence[lecture.Statement] = lecture.STATEMENTS,
) -> Path:
    """Write the site into `out/report`, replacing the former one when it is complete.

    Args:
        out: Folder of the results.
        package: Package whose modules are the experiments.
        statements: Statements of the front page.

    Returns:
        Path of the front page.

    Raises:
        FileNotFoundError: If nothing was run yet.
    """
    experiments = registry.experiments(package)
    shown = {
        experiment.name: [_shown(result, experiment) for result in store.results(out, name)]
        for name, experiment in experiments.items()
    }
    if not any(shown.values()):
        raise FileNotFoundError(
            f"no results in {out}; make some with: {registry.command(package)} run all --out {out}"
        )
    rows = [_row(number, statement, shown) for number, statement in enumerate(statements)]
    templates = _templates()
    pages = {
        "index": templates.get_template("index.html").render(
            rows=rows,
            counts=collections.Counter(row.verdict for row in rows),
            experiments=list(experiments.values()),
            shown=shown,
        ),
        "explorer": templates.get_template("explorer.html").render(
            surfaces=explorer.data(),
            explorer_script=explorer.script(),
            explorer_style=_asset("explorer.css"),
        ),
    }
    for name, experiment in experiments.items():
        pages[name] = templates.get_template("experiment.html").render(
            experiment=experiment,
            results=shown[name],
            command=f"{registry.command(package)} run {name} --out {out}",
        )
    folder = out / "report"
    with store.replacing(folder) as staging:
        for name, text in pages.items():
            store.write_file(staging / f"{name}.html", text)
        for result in itertools.chain.from_iterable(shown.values()):
            for name, path in result.pages.items():
                store.write_file(staging / name, path.read_bytes())
    return folder / "index.html"


def _asset(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _templates() -> Any:
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
    claims = result.claims()
    name = result.folder.name
    svg = (result.folder / "figure.svg").read_text(encoding="utf-8")
    return Shown(
        name=name,
        claims=claims,
        about=result.about,
        figure=_inline(svg, name, f"Figure of {experiment.name} ({name}): {experiment.claim}"),
        held=sum(claim.holds for claim in claims),
        devices=", ".join(
            f"{count} x {device}"
            for device, count in collections.Counter(result.about["devices"]).items()
        ),
        pages={
            f"{experiment.name}-{name}-{path.name}": path
            for path in sorted(result.folder.glob("*.html"))
        },
    )


def _inline(svg: str, name: str, label: str) -> str:
    """Return an SVG file's picture as an element that may stand in a page beside others."""
    import markupsafe

    # Within a page the XML declaration and document type that precede <svg> are not allowed.
    svg = svg[svg.index("<svg") :]
    # Two figures of one page must not share ids: matplotlib names what is drawn by its content.
    svg = re.sub(r'\b(id="|xlink:href="#|href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{markupsafe.escape(label)}"', 1)


def _row(number: int, statement: lecture.Statement, shown: dict[str, list[Shown]]) -> Row:
    """Judge a statement by the largest preset that was run."""
    stored = {result.name: result for result in shown.get(statement.experiment, [])}
    result = stored.get("paper") or stored.get("quick")
    claims = statement.claims(result.claims) if result else []
    note = ""
    if statement.experiment not in shown:
        note = "there is no such experiment yet"
    elif result and not claims:
        note = "the stored result has no such claim: run it again with --force"
    return Row(
        number=number,
        statement=statement,
        linked=statement.experiment in shown,
        preset=result.name if result else "",
        claims=claims,
        note=note,
    )
