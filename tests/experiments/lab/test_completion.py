import ast
import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from experiments.lab import cli, commands, completion

ROOT = Path(__file__).parents[3]
HELP = {"-h", "--help"}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", {"list", "run", "show", "report", "completion"}),
        ("r", {"run", "report"}),
        ("completion ", {"bash", "zsh"}),
        ("run ", {"toy", "other", "all"}),
        ("run toy ", {"other", "all"}),
        ("show t", {"toy"}),
        ("run toy --preset ", {"quick", "paper"}),
        ("run all --preset p", {"paper"}),
        ("run toy --s", {"--size", "--seed"}),
        ("show toy --s", set()),
        ("show toy --o", {"--out", "--open"}),
        ("list -", {"--out", "--json"}),
        ("run toy --d", {"--distributed"}),
        ("run toy --out ", set()),
        ("run toy --size ", set()),
    ],
)
def test_what_can_come_next_is_offered(toys, typed, expected):
    assert set(completion.words(typed.split(" "), toys)) == expected


def test_commands_and_options_that_are_offered_are_those_of_the_parser():
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        tyro.cli(commands.Command, args=["--tyro-print-completion", "bash"])
    (line,) = (x for x in shown.getvalue().splitlines() if x.startswith("COMPLETION_SPEC = "))
    known = ast.literal_eval(line.partition(" = ")[2])["subcommands"]
    assert set(commands.NAMES) == set(known)
    for name, command in known.items():
        flags = {flag for option in command["options"] for flag in option["flags"]}
        assert set(commands.options(name)) == {flag for flag in flags if "-" in flag} - HELP


def test_an_unknown_shell_is_named_with_the_nearest(toys, capsys):
    assert cli.main(["completion", "bsh"], package=toys) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash to try its completion")
def test_bash_completes_and_leaves_other_programs_alone(tmp_path):
    source = tmp_path / "completion"
    source.write_text(completion.script("bash"))
    ask = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _experiments; echo "${COMPREPLY[@]}"
    """

    def complete(*typed):
        done = subprocess.run(
            ["bash", "-c", ask, "bash", source, *typed],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    assert complete(sys.executable, "-m", "experiments", "run", "stat") == ["stationary_points"]
    assert complete(sys.executable, "-m", "pip", "ins") == []


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash to try its completion")
def test_bash_completes_the_console_command(tmp_path):
    command = tmp_path / "jaxopt-course"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command.chmod(0o755)
    source = tmp_path / "completion"
    source.write_text(completion.script("bash", "jaxopt_course.experiments"))
    ask = """
        source "$1"; complete -p jaxopt-course >/dev/null || exit 1
        COMP_WORDS=("$2" run ""); COMP_CWORD=2; _experiments; printf "[%s]" "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", ask, "bash", source, command], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[completion][words][run]"
