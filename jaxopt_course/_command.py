"""The console command `jaxopt-course`, which runs the experiments from any folder.

An installed package carries the experiments within itself, as `jaxopt_course.experiments`; in a
clone that is installed in place they lie beside it. Either way they have that name here, so that a
project's own package `experiments` is never met.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = f"{__package__}.experiments"


def main() -> int:
    """Run the command line of the experiments and return its exit code."""
    beside = Path(__file__).parents[1] / "experiments" / "__init__.py"
    if importlib.util.find_spec(NAME) is None and beside.is_file():
        _load_package(NAME, beside)
    return importlib.import_module(f"{NAME}.__main__").main()


def _load_package(name: str, init: Path) -> None:
    """Import the package whose `__init__.py` is given under a name that its place does not have."""
    spec = importlib.util.spec_from_file_location(
        name, init, submodule_search_locations=[str(init.parent)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {init}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
