"""Every notebook runs from top to bottom, shows what it says, and is the same in both formats."""

import re
from pathlib import Path

import nbformat
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient

from experiments.lab.notebook import Table

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("[1-9]_*.py"))
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"


def test_there_is_a_notebook_for_each_section():
    assert [name[0] for name in NAMES] == list("12345678")


def test_a_notebook_runs_and_shows_figures_and_claims(executed):
    assert any(isinstance(shown, Figure) for shown in executed.shown)
    tables = [shown for shown in executed.shown if isinstance(shown, Table)]
    fails = [claim for table in tables for claim in table.claims if not claim.holds]
    assert fails == []


def test_solutions_print_what_the_notebook_says(executed):
    assert len(executed.printed) >= 3
    for where, printed, said in executed.printed:
        assert re.split(NUMBER, printed) == re.split(NUMBER, said), where
        # Last bits, and with them counts of steps, are the compiler's and the processor's.
        measured, expected = (list(map(float, re.findall(NUMBER, t))) for t in (printed, said))
        assert measured == pytest.approx(expected, rel=0.1, abs=0.01), where


@pytest.mark.parametrize("name", NAMES)
def test_the_two_formats_agree_and_hold_no_output(name, convert):
    stored = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(stored)
    made = convert.convert(FOLDER / f"{name}.py")
    assert [(cell.id, cell.cell_type, cell.source) for cell in stored.cells] == [
        (cell.id, cell.cell_type, cell.source) for cell in made.cells
    ], "run: make notebooks"
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


@pytest.mark.parametrize("name", NAMES)
def test_every_exercise_has_a_solution_that_runs(name, convert):
    text = "\n".join(cell.source for cell in convert.convert(FOLDER / f"{name}.py").cells)
    exercises = re.findall(r"^### Exercise \d.*?(?=^##|\Z)", text, re.M | re.S)
    assert len(exercises) >= 3
    for exercise in exercises:
        assert exercise.count("<details>") == exercise.count("</details>") == 1
        assert "```python" in exercise


@pytest.mark.nightly
@pytest.mark.parametrize("name", NAMES)
def test_jupyter_executes_a_notebook(name, tmp_path):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in shown)
