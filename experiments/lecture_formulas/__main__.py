"""`python -m experiments.lecture_formulas FILE` writes the documentation page."""

import sys
from pathlib import Path

from . import Config, run
from ._page import page

if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(run(Config.quick())), encoding="utf-8")
