"""`python -m experiments`, and `jaxopt-course` where the package is installed: see `lab.cli`."""

import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = (
    "h5netcdf",
    "jinja2",
    "matplotlib",
    "mlxtend",
    "plotly",
    "pooch",
    "rich",
    "scipy",
    "sklearn",
    "tyro",
    "xarray",
)
"""What the extra `experiments` installs, by the names to import."""


def main() -> int:
    """Run one command of the command line.

    Returns:
        The exit code.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        # Before anything runs: h5netcdf is needed only when hours of computing are to be written.
        print(f"{', '.join(missing)} not found; {_remedy()}", file=sys.stderr)
        return 3
    # One JAX device a core, so that a batch of runs uses all of them. JAX reads the variable when
    # it is first imported; `sched_getaffinity` counts the cores that this process may use.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    devices = os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores))
    if "jax" in sys.modules:  # The package that these experiments are installed in has imported it.
        sys.modules["jax"].config.update("jax_num_cpu_devices", int(devices))

    from .lab import cli

    return cli.main()


def _remedy() -> str:
    """Return how to install the extra: from the clone that this is, or from a package index."""
    clone = Path(__file__).parents[1]
    if (clone / "pyproject.toml").is_file():
        return f"the experiments need the extra: pip install -e '{clone}[experiments]'"
    return "the experiments need the extra: pip install 'jaxopt_course[experiments]'"


if __name__ == "__main__":
    sys.exit(main())
