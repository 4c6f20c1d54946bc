"""What a release and a visitor rely on: one version everywhere, forms that can be filled in."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import jaxopt_course

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FIELDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_citations_name_the_version_of_the_package():
    assert yaml.safe_load(read("CITATION.cff"))["version"] == VERSION
    assert re.search(r"version\s*= {(.*)}", read("README.md")).group(1) == VERSION


def test_the_changelog_lists_versions_from_the_newest_and_none_that_is_ahead():
    headings = re.findall(r"^## \[(.*?)\](?: - (\d{4}-\d\d-\d\d))?$", read("CHANGELOG.md"), re.M)
    assert headings[0] == ("Unreleased", "")
    released = [tuple(map(int, version.split("."))) for version, _ in headings[1:]]
    assert all(date for _, date in headings[1:])
    assert released == sorted(released, reverse=True)
    assert all(version <= tuple(map(int, VERSION.split("."))) for version in released)


def test_the_table_of_versions_has_those_that_are_installed_by_default():
    constraints = dict(line.split("==") for line in read("constraints.txt").split())
    head, _, *rows = re.findall(r"^\| (.*) \|$|^\|---", read("docs/versions.md"), re.M)
    names = head.split(" | ")
    packages = [name for name in names if name in constraints]
    tested = [dict(zip(names, row.split(" | "), strict=True)) for row in rows]
    assert "jax" in packages
    wanted = [constraints[name] for name in packages]
    assert wanted in [[row[name] for name in packages] for row in tested], "run `make versions`"


def test_the_files_that_run_on_the_newest_versions_exist():
    listed = re.search(r"^NEWEST := (.*?[^\\])$", read("Makefile"), re.M | re.S).group(1)
    files = listed.replace("\\", " ").split()
    assert len(files) > 5
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_types_are_shipped():
    assert (Path(jaxopt_course.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_an_issue_form_has_what_github_asks_of_it(form):
    content = yaml.safe_load(form.read_text())
    if form.stem == "config":
        assert isinstance(content["blank_issues_enabled"], bool)
        return
    assert {"name", "description", "body"} <= set(content)
    inputs = [field for field in content["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in content["body"]} <= FIELDS
    assert len({field["id"] for field in inputs}) == len(inputs) > 0
    assert all(field["attributes"]["label"] for field in inputs)


def test_there_are_forms():
    assert {form.stem for form in FORMS} == {"bug", "claim", "config", "proposal"}
