"""Write beside every notebook's script the .ipynb that Jupyter and Colab open, without outputs.

python notebooks/convert.py
"""

from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


def scripts() -> list[Path]:
    """Return the notebooks' scripts, in the order of the lecture."""
    return sorted(FOLDER.glob("[1-9]_*.py"))


def convert(script: Path) -> nbformat.NotebookNode:
    """Return the notebook of a script.

    Args:
        script: In jupytext's percent format.

    Returns:
        The notebook; the same script gives the same one, down to the cells' ids.
    """
    notebook = jupytext.read(script, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook


if __name__ == "__main__":
    for script in scripts():
        nbformat.write(convert(script), script.with_suffix(".ipynb"))
