import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import jaxopt_course
from experiments.lab import cli, registry, runner, store, tables
from experiments.lab.claims import Claim
from jaxopt_course._engine._lock import locked

ROOT = Path(__file__).parents[3]


def module(name="toy"):
    return registry.find(name, "toys").load()


def test_a_run_leaves_config_data_claims_and_figures(command, out):
    assert command("run toy") == 0
    folder = out / "toy" / "quick"
    names = {"config.json", "results.nc", "claims.json", "figure.svg", "figure.png"}
    assert {path.name for path in folder.iterdir()} == names
    about = json.loads((folder / "config.json").read_text())
    assert about["config"] == {"size": 3, "expected": 3.0, "seed": 0}
    assert about["seeds"] == {"seed": 0}
    assert about["command"] == f"python -m toys run toy --out {out}"
    assert about["versions"]["jax"]
    assert about["devices"]


def test_a_second_run_shows_the_stored_result_unless_forced(command, capsys):
    command("run toy")
    assert command("run toy") == 0
    shown = capsys.readouterr().out
    assert "exists already" in shown
    assert "the sum is right" in shown
    assert "figure.png" in shown
    assert module().runs == 1
    command("run toy --force")
    assert module().runs == 2


def test_a_changed_field_gives_another_folder_and_a_preset_spelled_out_gives_its_own(command, out):
    command("run toy --size 4 --expected 6")
    command("run toy --size 5 --expected 10")
    names = {path.name for path in (out / "toy").iterdir()}
    assert "paper" in names
    assert len(names) == 2


def test_a_preset_whose_meaning_has_changed_is_run_again(command, out):
    command("run toy")
    path = out / "toy" / "quick" / "config.json"
    about = json.loads(path.read_text())
    about["config"]["size"] = 99
    path.write_text(json.dumps(about))
    command("run toy")
    assert module().runs == 2


def test_a_second_process_on_a_result_is_told_who_has_it(command, out, capsys):
    with locked(out / "toy" / ".quick.lock"):
        assert command("run toy") == 3
        said = capsys.readouterr().err
        assert "is in use by process" in said
        assert "Traceback" not in said
        assert command("run toy --expected 4") == 1  # another result is nobody's yet
        capsys.readouterr()
        assert command("run toy other") == 3
        assert "Traceback" not in capsys.readouterr().err
    assert module().runs == 1
    assert command("run toy") == 0
    assert sorted(path.name for path in (out / "other").iterdir()) == ["quick"]


def test_a_result_of_other_code_is_shown_and_said_to_be(command, capsys):
    command("run toy")
    assert "other code" not in capsys.readouterr().out
    command("run toy")
    assert "other code" not in capsys.readouterr().out
    source = Path(module().__file__)
    source.write_text(source.read_text() + "# another line\n")
    assert command("run toy") == 0
    assert "computed by other code" in capsys.readouterr().out
    assert module().runs == 1


def test_checkpoints_belong_to_the_code(command, out):
    def job():
        experiment = registry.find("toy", "toys")
        config = experiment.load().Config()
        return runner.Job("toy", experiment.load(), config, out / "toy" / "quick")

    before = job()._checkpoints
    assert job()._checkpoints == before
    source = Path(module().__file__)
    source.write_text(source.read_text() + "# another line\n")
    assert job()._checkpoints != before


def test_the_exit_code_tells_whether_claims_hold(command):
    assert command("run toy") == 0
    assert command("run toy --expected 4") == 1
    assert command("show toy") == 0


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("run toi", "did you mean 'toy'?"),
        ("run toy --preset quik", "did you mean 'quick'?"),
        ("run toy --sise 3", "--size"),
        ("run toy --size three", "--size"),
        ("run toy --size 0", "size must be positive"),
        ("run", "name an experiment"),
        ("rum toy", "did you mean 'run'?"),
        ("show toy", "python -m toys run toy"),
        ("show toy --preset papr", "papr"),
        ("show toi", "did you mean 'toy'?"),
        ("run ../toy", "unknown experiment"),
        ("run --force toy", "before the options"),
        ("run toy --force other", "other"),
        ("completion bash", "--out"),
    ],
)
def test_a_wrong_command_exits_2_and_names_what_is_wrong(command, capsys, out, line, named):
    assert command(line) == 2
    error = capsys.readouterr().err
    assert named in " ".join(error.split())
    assert "Traceback" not in error
    assert not out.exists()


def test_nothing_runs_when_one_of_several_commands_is_wrong(command):
    assert command("run toy nothing") == 2
    assert module().runs == 0


def test_interruption_exits_130_with_one_line_and_keeps_what_is_finished(command, capsys, out):
    command("run toy")
    capsys.readouterr()
    assert command("run toy --seed 130") == 130
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert [path.name for path in (out / "toy").iterdir()] == ["quick"]


def test_several_experiments_run_in_one_command_with_a_summary(command, capsys):
    assert command("run all") == 0
    shown = capsys.readouterr().out
    assert "summary" in shown
    assert shown.count("1 of 1 claims hold") == 4
    assert "1 of 2" in shown
    assert "2 of 2" in shown
    assert command("run other toy other --expected 7") == 1
    summary = capsys.readouterr().out.partition("summary")[2]
    assert "what does not hold" in summary
    assert summary.count("the sum is right") == 2


def test_one_broken_experiment_does_not_stop_the_others(command, capsys, out):
    module("other")
    source = Path(module().__file__)
    module().run.__globals__["run"] = lambda config: 1 / 0
    assert source.is_file()
    assert command("run toy other") == 3
    captured = capsys.readouterr()
    assert "ZeroDivisionError" in captured.err
    assert (out / "other" / "quick" / "results.nc").is_file()
    assert not (out / "toy" / "quick").exists()


def test_data_outlive_a_figure_that_cannot_be_drawn(command, out):
    module().broken_plot = True
    assert command("run toy") == 3
    assert not (out / "toy" / "quick").exists()
    module().broken_plot = False
    assert command("run toy") == 0
    assert module().runs == 1
    assert not (out / "toy" / ".quick.nc").exists()


def test_forcing_computes_anew_what_a_failed_drawing_left(command):
    module().broken_plot = True
    command("run toy")
    module().broken_plot = False
    command("run toy --force")
    assert module().runs == 2


def test_redraw_judges_and_draws_without_running(command, out):
    command("run toy")
    (out / "toy" / "quick" / "figure.png").write_bytes(b"old")
    before = (out / "toy" / "quick" / "config.json").read_text()
    assert command("run toy --redraw") == 0
    assert (out / "toy" / "quick" / "config.json").read_text() == before
    assert (out / "toy" / "quick" / "figure.png").stat().st_size > 1000
    assert module().runs == 1


def test_list_shows_what_the_files_say_and_what_was_run(command, capsys):
    command("run toy --expected 4")
    capsys.readouterr()
    assert command("list") == 0
    shown = " ".join(capsys.readouterr().out.split())
    texts = "toy", "other", "Toys", "A toy's sum", "quick: Three numbers.", ": 0 of 1 hold"
    for text in (*texts, "not run"):
        assert text in shown
    assert "helper" not in shown


def test_list_of_a_name_says_everything_of_one_experiment(command, capsys):
    command("run toy")
    command("run toy --expected 4")
    capsys.readouterr()
    assert command("list toy") == 0
    shown = capsys.readouterr().out
    for text in (
        "toy (Toys)",
        "quick: Three numbers.",
        "holds: the sum is right",
        "DOES NOT HOLD: the sum is right",
        "computed in",
        "--size: How many numbers",
    ):
        assert text in shown
    assert "other" not in shown.split()
    assert command("list toy --json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["toy"]
    assert command("list tyo") == 2
    assert "did you mean 'toy'" in capsys.readouterr().err


def test_help_lists_the_fields_of_the_config(command, capsys):
    assert command("run toy --help") == 0
    shown = capsys.readouterr().out
    for text in ("--size INT", "How many numbers", "--force", "--preset"):
        assert text in shown


def test_no_command_prints_the_usage(capsys):
    assert cli.main([]) == 2
    assert cli.main(["--help"]) == 0
    assert "run NAME" in capsys.readouterr().out


def test_the_version_is_said(command, capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxopt_course {jaxopt_course.__version__}\n"


def test_the_list_is_json_for_programs(command, capsys):
    command("run toy --expected 4")
    command("run other")
    capsys.readouterr()
    assert command("list --json") == 0
    other, toy = json.loads(capsys.readouterr().out)
    assert (toy["name"], toy["section"]) == ("toy", "Toys")
    assert list(toy["sizes"]) == ["quick", "paper"]
    assert list(toy["stored"].values()) == ["0 of 1 claims hold"]
    assert other["stored"] == {"quick": "1 of 1 claims hold"}


def printed(result, width, *, terminal):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    tables.print_result(result, console)
    return file.getvalue().splitlines()


def test_claims_are_a_table_only_where_it_can_be_read(command, out):
    command("run toy")
    (result,) = store.results(out, "toy")
    assert "┃" in "".join(printed(result, 100, terminal=True))
    narrow = printed(result, 60, terminal=True)
    assert len(narrow) < 10
    assert max(map(len, narrow[:3])) <= 60
    piped = printed(result, 60, terminal=False)
    assert piped[0] == "holds: the sum is right (arithmetic)"
    assert not set("".join(narrow + piped)) & set("┃│─━")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("quadratic_rates --dimension 0", "dimension must be at least 2, got 0"),
        ("escape --runs -3", "runs must be at least 1, got -3"),
        ("momentum --starts 0", "starts must be at least 2, got 0"),
        ("newton --starts 0", "starts must be at least 1, got 0"),
        ("stationary_points --surfaces foo", "surfaces must be one of hyperbolic_saddle"),
        ("descent_lemma --margin nan", "margin must be finite, got nan"),
        ("random_labels --dataset imagenet", "dataset must be one of digits"),
    ],
)
def test_a_value_out_of_range_is_one_sentence_before_anything_runs(line, said, tmp_path, capsys):
    assert cli.main(["run", *line.split(), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_help_says_what_a_field_may_be(capsys):
    assert cli.main(["run", "momentum", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(at least 2; default: 2001)" in shown


def test_a_claim_that_was_not_measured_is_said_not_to_be(command, capsys):
    module().claims.__globals__["claims"] = lambda dataset: [
        Claim("the mean is right", "arithmetic", "1", "nan", holds=False)
    ]
    assert command("run toy") == 1
    shown = capsys.readouterr().out
    assert "not measured: the mean is right" in shown
    assert "0 of 1 claims hold, 1 not measured" in shown
    assert "does not hold" not in shown


def test_show_opens_the_figure(command, monkeypatch, out):
    opened = []
    monkeypatch.setattr(cli.webbrowser, "open", opened.append)
    command("run toy")
    command("show toy --no-open")
    assert opened == []
    command("show toy --open")
    assert opened == [(out / "toy" / "quick" / "figure.png").resolve().as_uri()]


def test_an_unwritable_place_is_said_before_anything_runs(command, capsys, out):
    out.write_text("a file where the folder should be")
    assert command("run toy") == 3
    assert "cannot read or write" in capsys.readouterr().err
    assert module().runs == 0
    assert out.read_text() == "a file where the folder should be"


def test_a_full_disk_is_said_and_keeps_the_former_result(command, capsys, out, monkeypatch):
    command("run toy")
    before = (out / "toy" / "quick" / "claims.json").read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.lab.store.write_file", full)
    assert command("run toy --force --expected 3") == 3
    assert "No space left" in capsys.readouterr().err
    assert (out / "toy" / "quick" / "claims.json").read_text() == before


def test_list_is_quick_because_it_does_not_import_jax():
    code = (
        "import sys; from experiments.lab.cli import main; main(['list']); "
        "sys.exit('jax' in sys.modules or 'matplotlib' in sys.modules or 'xarray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_real_command_line_runs_an_experiment_on_every_core(tmp_path):
    line = "run quadratic_rates --condition-numbers 10 100 1000 --records 40"
    words = [sys.executable, "-m", "experiments", *line.split(), "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "7 of 7 claims hold" in done.stdout
    (folder,) = (tmp_path / "quadratic_rates").iterdir()
    about = json.loads((folder / "config.json").read_text())
    assert len(about["devices"]) == len(os.sched_getaffinity(0))
    assert about["config"]["condition_numbers"] == [10.0, 100.0, 1000.0]


def test_an_interrupt_from_the_keyboard_ends_a_real_process(toys, tmp_path, out):
    """Ctrl-C in a subprocess: exit code 130 and no traceback."""
    source = (tmp_path / "toys" / "toy.py").read_text()
    slow = source.replace(
        "    runs += 1\n", "    print('ready', flush=True); import time; time.sleep(60)\n"
    )
    (tmp_path / "toys" / "toy.py").write_text(slow)
    # Where the tests run in the background, children would inherit that this signal is ignored.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from experiments.lab.cli import main; sys.exit(main(package='toys'))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "run", "toy", "--out", str(out)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            while "ready" not in process.stdout.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error
