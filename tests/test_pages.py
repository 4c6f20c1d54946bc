"""What the README and the documentation show is what their code does."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from experiments.lab import registry
from experiments.lab.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/guides/*.md")),
]
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}
EXAMPLES = {
    f"{page}-{number}": example
    for page, text in PAGES.items()
    for number, example in enumerate(
        re.findall(r"^```python\n(.*?)^```\n\n^```text\n(.*?)^```$", text, re.M | re.S)
    )
}
COMMANDS = sorted(
    {
        command.strip()
        for text in PAGES.values()
        for command in re.findall(r"^python -m experiments ([^#\n]*)", text, re.M)
    }
)
NUMBER = r"\d+(?:\.\d+)?"


def test_every_python_block_is_followed_by_its_output():
    assert len(EXAMPLES) == sum(text.count("```python") for text in PAGES.values()) > 0


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_prints_what_it_says(example, tmp_path, monkeypatch):
    code, output = EXAMPLES[example]
    monkeypatch.chdir(tmp_path)  # where pictures go
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, example, "exec"), {"__name__": "__main__"})
    assert re.split(NUMBER, printed.getvalue()) == re.split(NUMBER, output)
    # Last bits, and with them counts of steps, are the compiler's and the processor's.
    expected = [float(number) for number in re.findall(NUMBER, output)]
    assert [float(number) for number in re.findall(NUMBER, printed.getvalue())] == pytest.approx(
        expected, rel=0.1, abs=0.01
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists(command, capsys):
    name, *rest = shlex.split(command)
    if name == "run":
        # The long way is the test of each experiment; here, that the options are known.
        experiment, options = registry.find(rest[0]), rest[1:]
        if "--preset" in options:
            preset = options[options.index("--preset") + 1]
            assert preset in registry.presets(experiment.load().Config)
    else:
        assert main([name, "--help"]) == 0, capsys.readouterr()


def test_files_that_the_readme_links_to_exist():
    # Sphinx checks the links of the other pages.
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
