"""What doctests and tests share: the compiler's effort, the order of imports, no programs kept."""

import gc
import os

# Most of the tests' time is XLA compiling programs that run once, which takes half as long with
# less effort (flags of the jaxlib in constraints.txt). `XLA_FLAGS= make test` compiles as users do,
# and so does `make nightly`. To be set before anything is compiled.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
)

import jax
import pytest

# Import the packages before pytest imports their files one by one, as it does for doctests.
# Importing `jaxopt_course/transforms/adam.py` first would end with the module as `transforms.adam`,
# where the package has put the function of that name; so with every file named after its export.
import jaxopt_course.nn
import jaxopt_course.problems
import jaxopt_course.saddle
import jaxopt_course.theory
import jaxopt_course.training
import jaxopt_course.transforms  # noqa: F401


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Unload what a file compiled.

    Every compiled program holds several memory maps, and Linux allows a process 65,530 of them:
    with the whole suite's programs kept, LLVM cannot map the next one and aborts the process.
    """
    yield
    jax.clear_caches()
    gc.collect()
