"""Running a notebook's script in this process, as Jupyter would, and its solutions after it."""

import ast
import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import jax
import jupytext
import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {script.stem: script for script in sorted((ROOT / "notebooks").glob("[1-9]_*.py"))}
SOLUTION = re.compile(r"<details>.*?</details>", re.S)
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n\n^```text\n(.*?)^```)?$", re.M | re.S)


class Notebook:
    """A notebook's cells, and the namespace in which they run.

    Attributes:
        cells: As jupytext reads them.
        shown: What cells ended with, as Jupyter would show it.
        printed: What each solution printed, beside what the notebook says that it prints.
    """

    def __init__(self, script: Path):
        self.name = script.stem
        self.cells = jupytext.read(script, fmt="py:percent").cells
        self.namespace = {"__name__": "__main__"}
        self.shown = []
        self.printed = []

    def run(self) -> None:
        """Run cells from top to bottom, and each solution where it stands, on a copy of names."""
        for number, cell in enumerate(self.cells):
            where = f"{self.name}, cell {number}"
            if cell.cell_type == "code":
                self._execute(cell.source, where, self.namespace)
            for code, output in solutions(cell):
                stream = io.StringIO()
                with contextlib.redirect_stdout(stream):
                    self._execute(code, f"{where}, solution", dict(self.namespace))
                self.printed.append((where, stream.getvalue(), output))

    def _execute(self, source: str, where: str, namespace: dict) -> None:
        # What jupytext takes out of the script's comments is Jupyter's: fetching, in Colab only.
        lines = [line for line in source.splitlines() if not re.match(r"\s*[%!]", line)]
        body = ast.parse("\n".join(lines), where).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), where, "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), where, "eval"), namespace)
            self.shown.append(value)
            if isinstance(value, Figure):
                value.savefig(io.BytesIO(), format="png")


def solutions(cell) -> Iterator[tuple[str, str]]:
    """Yield the code of the solutions folded in a cell, each with the output it is said to have."""
    if cell.cell_type == "markdown":
        for folded in SOLUTION.findall(cell.source):
            yield from BLOCK.findall(folded)


@contextlib.contextmanager
def notebook_state():
    """Be a reader's machine: one device, no screen, any ranks; and undo what a notebook sets."""
    settings = "jax_enable_x64", "jax_numpy_rank_promotion"
    before = {name: getattr(jax.config, name) for name in settings}
    jax.config.update("jax_numpy_rank_promotion", "allow")
    # Runs that are divided among the tests' eight devices are compiled for each of them.
    one_device = mock.patch.object(jax, "devices", return_value=jax.devices()[:1])
    try:
        with mpl.rc_context(), one_device:
            plt.switch_backend("agg")
            yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        plt.close("all")


@pytest.fixture(scope="module", params=NOTEBOOKS)
def executed(request) -> Notebook:
    """Return a notebook that has run, solutions included."""
    notebook = Notebook(NOTEBOOKS[request.param])
    with notebook_state():
        notebook.run()
    return notebook


@pytest.fixture(scope="session")
def convert():
    """Return the module that makes the .ipynb files."""
    spec = importlib.util.spec_from_file_location("convert", ROOT / "notebooks" / "convert.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
