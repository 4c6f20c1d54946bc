"""What doctests and tests share: the compiler's effort, no programs kept, versions written down."""

import datetime
import gc
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from jaxopt_course import problems, saddle

# Most of the tests' time is XLA compiling programs that run once, which takes half as long with
# less effort. `XLA_FLAGS= make test` compiles as users do, and so does `make nightly`.
_LESS_EFFORT = ("--xla_backend_optimization_level=1", "--xla_cpu_use_fusion_emitters=false")


# The table of versions that the documentation shows; `--write-versions` keeps it.
_VERSIONS = Path(__file__).parent / "docs" / "versions.md"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "chex", "numpy")


def pytest_addoption(parser):
    """Add the option that writes a row of `docs/versions.md`."""
    parser.addoption(
        "--write-versions", action="store_true", help="if all passes, write the versions down"
    )


def pytest_configure(config):
    """Let XLA compile with less effort, as far as the installed compiler knows how.

    Flags come and go with jaxlib, and an unknown one ends the process as soon as anything is
    computed. So each is tried in a process of its own, and the answer is kept in pytest's cache.
    Nothing has been computed yet at this point. xdist's workers find the flags in the environment
    that they inherit.
    """
    if "XLA_FLAGS" in os.environ:
        return
    cache, name = (
        getattr(config, "cache", None),
        "xla_flags/" + importlib.metadata.version("jaxlib"),
    )
    known = cache.get(name, {}) if cache else {}
    if set(known) != set(_LESS_EFFORT):
        processes = {flag: _start_compiler(flag) for flag in _LESS_EFFORT}
        known = {flag: process.wait() == 0 for flag, process in processes.items()}
        if cache:
            cache.set(name, known)
    os.environ["XLA_FLAGS"] = " ".join(flag for flag in _LESS_EFFORT if known[flag])


def _start_compiler(flag):
    """Start a process that fails if the installed XLA does not know the flag."""
    return subprocess.Popen(
        [sys.executable, "-c", "import jax; jax.devices('cpu')"],
        env=os.environ | {"XLA_FLAGS": flag},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def pytest_sessionfinish(session, exitstatus):
    """Write down which versions passed, if asked: one row for each Python, jax and part run."""
    config = session.config
    if hasattr(config, "workerinput") or not config.option.write_versions or exitstatus != 0:
        return
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    names = [path.split("::")[0].removeprefix(f"{config.rootpath}/") for path in config.args]
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    cells = (
        ".".join(platform.python_version_tuple()[:2]),
        *map(importlib.metadata.version, _PACKAGES),
        "all" if whole else " ".join(f"`{name}`" for name in names),
        str(len(reporter.stats.get("passed", ()))),
        datetime.date.today().isoformat(),
    )
    text = _VERSIONS.read_text(encoding="utf-8")
    head, rule, rest = text.partition("|---|")
    columns, *rows = (rule + rest).splitlines()
    written = [row.strip("| ").split(" | ") for row in rows if row]
    # A run of everything replaces what was written about parts.
    kept = [
        row
        for row in written
        if row[:2] != [cells[0], cells[1]] or (not whole and row[-3] != cells[-3])
    ]
    lines = ["| " + " | ".join(row) + " |" for row in [*kept, cells]]
    lines.sort(key=lambda line: [int(n) for n in line.split("|")[1].split(".")])
    _VERSIONS.write_text(head + "\n".join([columns, *lines]) + "\n", encoding="utf-8")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Unload what a file compiled.

    Every compiled program holds several memory maps, and Linux allows a process 65,530 of them:
    with the whole suite's programs kept, LLVM cannot map the next one and aborts the process.
    """
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(autouse=True)
def names_of_examples(doctest_namespace):
    """Give examples what every reader has; their own package's names are there already."""
    doctest_namespace.update(
        jax=jax, jnp=jnp, nnx=nnx, optax=optax, problems=problems, saddle=saddle
    )
