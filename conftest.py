"""What doctests and tests share: the compiler's effort, no programs kept."""

import gc
import os

# Most of the tests' time is XLA compiling programs that run once, which takes half as long with
# less effort (flags of the jaxlib in constraints.txt). `XLA_FLAGS= make test` compiles as users do,
# and so does `make nightly`. To be set before anything is compiled.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
)

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx


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
    """Give examples what every reader has: those of classes run in the package's namespace."""
    doctest_namespace.update(jax=jax, jnp=jnp, nnx=nnx, optax=optax)
