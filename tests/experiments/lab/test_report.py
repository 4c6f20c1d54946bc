import ast
import collections
import html.parser
import json
import re
from pathlib import Path

import pytest

from experiments.lab import lecture, reasons, registry, report, store

STATEMENTS = (
    lecture.Statement("Toys", "Sums are right.", "toy", ("the sum",)),
    lecture.Statement("Toys", "Other sums are, too.", "other"),
    lecture.Statement("Toys", "Products are.", "toy", ("the product",)),
    lecture.Statement("More", "Differences are.", "differences"),
)
VOID = {"meta", "link", "img", "input", "br", "path", "use", "rect", "line"}


class Page(html.parser.HTMLParser):
    """What the checks need to know of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags = []
        self.open = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        inside = [outer for outer, _ in self.open]
        self.tags.append((tag, attrs, inside))
        if tag not in VOID:
            self.open.append((tag, attrs))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), [outer for outer, _ in self.open]))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if not {"script", "style"} & {tag for tag, _ in self.open}:
            self.text += data

    def all(self, *names):
        return [(tag, attrs, inside) for tag, attrs, inside in self.tags if tag in names]

    def ids(self):
        return [attrs["id"] for _, attrs, _ in self.tags if "id" in attrs]


@pytest.fixture
def site(command, out):
    """The pages of a site of which `toy` was run twice and `other` not, by name."""
    command("run toy")
    command("run toy --expected 4")
    front, left_out = report.write(out, "toys", STATEMENTS)
    assert left_out == []
    return {path.stem: Page(path) for path in sorted(front.parent.glob("*.html"))}


def seal(folder):
    """Give a result that was changed by hand the checksums of its files."""
    about = json.loads((folder / "config.json").read_text())
    store.seal(folder, about)


def rewrite(folder, name, old, new):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    seal(folder)


def test_the_front_page_judges_every_statement(site):
    text = " ".join(site["index"].text.split())
    assert "4 statements: 1 hold, 0 do not hold, 3 not run" in text
    assert "Sums are right. toy (quick) the sum is right: 3.0 (expected 3.0) holds" in text
    assert "Other sums are, too. other not run" in text
    assert "no such claim: run it again" in text
    assert "no such experiment yet" in text


def test_the_largest_preset_decides_and_one_failed_claim_is_enough(command, out):
    command("run toy")
    command("run toy --preset paper")
    rewrite(out / "toy" / "paper", "claims.json", "true", "false")
    text = " ".join(Page(report.write(out, "toys", STATEMENTS)[0]).text.split())
    told = f"the sum is right: 10.0 (expected 10.0); {report.NO_REASON} does not hold"
    assert f"toy (paper) {told}" in text


def test_a_section_has_a_page_with_all_claims_and_why_one_does_not_hold(command, out, monkeypatch):
    command("run toy")
    rewrite(out / "toy" / "quick", "claims.json", "true", "false")
    for known in (False, True):
        if known:
            rows = (("no such", "-"), ("sum is", "measured: 1 was forgotten"))
            monkeypatch.setitem(reasons.REASONS, "toy", rows)
        folder = report.write(out, "toys", STATEMENTS)[0].parent
        told = "measured: 1 was forgotten" if known else report.NO_REASON
        for name in ("section-1", "index", "toy"):
            text = " ".join(Page(folder / f"{name}.html").text.split())
            assert f"does not hold: {told}" in text or f"(expected 3.0); {told}" in text, name
        page = Page(folder / "section-1.html")
        assert "3 statements: 0 hold, 1 do not hold, 2 not run" in " ".join(page.text.split())
        assert len(page.all("img")) == 1
    assert "Differences are." in Page(folder / "section-2.html").text


def test_what_a_preset_does_not_measure_is_told(command, out):
    command("run toy")
    both = lecture.Statement("Toys", "All are right.", "toy", ("the sum", "the * product"))
    front, _ = report.write(out, "toys", (both,))
    for page in (front, front.with_name("section-1.html")):
        text = " ".join(Page(page).text.split())
        assert "this preset has no claim of: the ... product" in text


def test_every_reason_is_of_a_claim_that_its_experiment_makes():
    known = registry.experiments()
    for experiment, rows in reasons.REASONS.items():
        constants = strings_of(known[experiment])
        for pattern, reason in rows:
            assert re.match("(measured|differs|not known): .*[.]$", reason), reason
            for piece in pattern.split("*"):
                assert any(piece in constant for constant in constants), (experiment, piece)


def test_every_experiment_has_a_page_with_what_repeats_it(site, out):
    assert set(site) == {"index", "gallery", "explorer", "section-1", "section-2", "toy", "other"}
    gallery = " ".join(site["gallery"].text.split())
    assert "1 of 1 claims hold (quick)" in gallery
    assert "not run here" in gallery
    page = site["toy"]
    pictures = [attrs for _, attrs, _ in page.all("img")]
    assert [attrs["src"].partition(",")[0] for attrs in pictures] == [
        "data:image/svg+xml;base64"
    ] * 2
    assert all(attrs["alt"].startswith("Figure of toy") for attrs in pictures)
    assert all(300 < float(attrs["width"]) < 2000 for attrs in pictures)
    assert f"python -m toys run toy --expected 4 --out {out}" in page.text
    assert f"python -m toys run other --out {out}" in site["other"].text
    for text in ("does not hold", "expected", "jaxopt_course", "jaxlib", "More about it."):
        assert text in page.text


def test_pages_that_an_experiment_made_are_part_of_the_site(command, out):
    command("run toy")
    (out / "toy" / "quick" / "surface.html").write_text("<h1>To turn around</h1>")
    seal(out / "toy" / "quick")
    folder = report.write(out, "toys", STATEMENTS)[0].parent
    links = [attrs["href"] for _, attrs, _ in Page(folder / "toy.html").all("a")]
    assert "toy-quick-surface.html" in links
    assert (folder / "toy-quick-surface.html").read_text() == "<h1>To turn around</h1>"


def test_every_link_leads_to_a_page_and_a_place_that_are_there(site):
    for page in site.values():
        for _, attrs, _ in page.all("a"):
            target, _, place = attrs["href"].partition("#")
            there = site[target.removesuffix(".html")] if target else page
            assert not place or place in there.ids()


def test_ids_are_unique_and_references_to_them_lead_somewhere(site):
    for name, page in site.items():
        ids = page.ids()
        assert not [id_ for id_, count in collections.Counter(ids).items() if count > 1], name
        for _, attrs, _ in page.tags:
            referred = [attrs.get("for"), attrs.get("form")]
            for attribute in ("aria-labelledby", "aria-describedby"):
                referred += attrs.get(attribute, "").split()
            referred += re.findall(r"url\(#(.*?)\)", " ".join(v or "" for v in attrs.values()))
            referred += [(attrs.get("xlink:href") or "#").removeprefix("#") or None]
            assert {id_ for id_ in referred if id_} <= set(ids), name


def test_pages_can_be_read_aloud_and_used_without_a_mouse(site):
    for page in site.values():
        assert page.all("html")[0][1]["lang"] == "en"
        assert any(attrs.get("name") == "viewport" for _, attrs, _ in page.all("meta"))
        assert len(page.all("h1")) == len(page.all("main")) == 1
        labels = {attrs.get("for") for _, attrs, _ in page.all("label")}
        for _, attrs, inside in page.all("input", "select"):
            # The rows of the rules get their names from the script.
            assert attrs.get("id") in labels or "template" in inside
        for _, attrs, _ in page.all("button"):
            assert attrs["type"] == "button"
        for _, attrs, _ in page.all("svg"):
            named = {"aria-label", "aria-labelledby", "aria-hidden"} & set(attrs)
            assert named, attrs
        for _, attrs, _ in page.all("th"):
            assert attrs["scope"]


def test_pages_need_no_network(site):
    for page in site.values():
        for tag, attrs, _ in page.tags:
            for attribute in ("src", "href", "action", "poster", "data"):
                address = attrs.get(attribute) or ""
                assert not re.match(r"(\w+:)?//", address), (tag, attrs)
        assert all("src" not in attrs for _, attrs, _ in page.all("script"))
    for path in report.TEMPLATES.iterdir():
        text = path.read_text()
        assert not re.search(r"fetch\(|XMLHttpRequest|@import|\bimport\(", text), path.name


def test_text_of_results_cannot_become_markup(command, out):
    command("run toy")
    rewrite(out / "toy" / "quick", "claims.json", "the sum", "the sum <script>alert(1)</script>")
    front, _ = report.write(out, "toys", STATEMENTS)
    for name in ("index", "toy"):
        assert "<script>alert" not in front.with_name(f"{name}.html").read_text()


def test_what_a_figure_or_a_folder_is_called_cannot_become_markup(command, out):
    command("run toy")
    folder = out / "toy" / "quick"
    figure = '<svg width="400pt"><script>alert(1)</script><image href="http://example.com/"/></svg>'
    (folder / "figure.svg").write_text(figure)
    seal(folder)
    folder.rename(folder.with_name('"><script>alert(2)</script>'.replace("/", "")))
    front, left_out = report.write(out, "toys", STATEMENTS)
    assert left_out == []
    for name in ("index", "toy"):
        page = front.with_name(f"{name}.html")
        assert "<script>alert" not in page.read_text()
        assert "http://example.com" not in page.read_text()
    assert len(Page(front.with_name("toy.html")).all("img")) == 1


def test_one_odd_result_is_left_out_and_told_of(command, out, capsys):
    """Whole and signed, but not what this version writes; a link; a page that is a link."""
    command("run toy")
    command("run toy --preset paper")
    command("run other")
    other = out / "other" / "quick"
    about = json.loads((other / "config.json").read_text())
    del about["devices"]
    store.seal(other, about)
    (out / "toy" / "linked").symlink_to(out / "toy" / "paper")
    secret = out / "secret.html"
    secret.write_text("not for the site")
    (out / "toy" / "quick" / "page.html").symlink_to(secret)
    seal(out / "toy" / "quick")
    capsys.readouterr()
    assert command("report") == 0
    said = capsys.readouterr().out
    assert said.count("left out") == 3
    for name in ("other/quick", "linked is a link", "page.html is a link"):
        assert name in said
    site = out / "report"
    assert "not for the site" not in "".join(path.read_text() for path in site.iterdir())
    assert len(Page(site / "toy.html").all("img")) == 1


def test_the_command_writes_the_site(command, out, capsys):
    command("run toy")
    assert command("report") == 0
    assert "index.html" in capsys.readouterr().out
    text = " ".join(Page(out / "report" / "index.html").text.split())
    assert f"{len(lecture.STATEMENTS)} statements: 0 hold" in text


def test_a_report_of_nothing_says_how_to_make_something(command, capsys):
    assert command("report") == 3
    assert "python -m toys run all" in capsys.readouterr().err


def strings_of(experiment):
    """The string constants in an experiment's file, or files."""
    path = Path(experiment.load().__file__)
    files = path.parent.glob("*.py") if path.name == "__init__.py" else [path]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def test_every_statement_names_claims_that_its_experiment_makes():
    known = registry.experiments()
    for statement in lecture.STATEMENTS:
        assert statement.experiment in known
        constants = strings_of(known[statement.experiment])
        # Where a name or a number is put in when the claim is made, the pattern has a star.
        for piece in {piece for pattern in statement.patterns for piece in pattern.split("*")}:
            assert any(piece in constant for constant in constants), (statement, piece)


def test_every_experiment_measures_a_statement_of_its_own_section():
    measured = {(statement.experiment, statement.section) for statement in lecture.STATEMENTS}
    for experiment in registry.experiments().values():
        assert (experiment.name, experiment.section) in measured
