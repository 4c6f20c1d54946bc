"""How much of this package a reader must follow: files and functions entered by the smallest calls.

    python benchmarks/entered.py            the table
    python benchmarks/entered.py escape     and which functions they are, of one of them

Counted are the functions with a name (neither lambdas nor comprehensions) whose frames are entered,
in whatever thread, by the first such call of a process: tracing and compiling among them. Each call
is counted in a process of its own.
"""

import collections
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import jaxopt_course
from jaxopt_course import saddle, training

ROOT = os.path.dirname(jaxopt_course.__file__) + os.sep


def fun(x):
    return jnp.sum(x**4 / 4 - x**2 / 2)


def build(key):
    return nnx.Linear(2, 2, rngs=nnx.Rngs(key))


def two_keys():
    return jax.random.split(jax.random.key(0), 2)


def examples():
    return np.ones((8, 2), np.float32), np.arange(8) % 2


CALLS: dict[str, Callable[[], object]] = {
    "escape": lambda: saddle.escape(fun, optax.sgd(0.1), jnp.ones((2, 3)), max_steps=3),
    "find": lambda: saddle.find(fun, jnp.ones((2, 3)), max_steps=3),
    "fit": lambda: training.fit(
        build, optax.sgd(0.1), examples(), two_keys(), epochs=1, batch_size=4
    ),
    "classify": lambda: saddle.classify(fun, jnp.ones(3)),
}


def entered(call: Callable[[], object]) -> dict[str, list[str]]:
    """The functions of the package that a call enters, by their file."""
    found: set[tuple[str, int, str]] = set()

    def look(frame, event, _):
        code = frame.f_code
        # A name in brackets is Python's own, as that of a lambda.
        if event == "call" and code.co_filename.startswith(ROOT) and "<" not in code.co_name:
            file = code.co_filename.removeprefix(ROOT)
            found.add((file, code.co_firstlineno, code.co_qualname))

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        jax.block_until_ready(call())
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    files = collections.defaultdict(list)
    for file, _, name in sorted(found):
        files[file].append(name)
    return files


def main(names: list[str]) -> None:
    """Print one row a call; of a single one also the functions."""
    if len(names) == 1:
        files = entered(CALLS[names[0]])
        functions = sum(map(len, files.values()))
        print(f"{names[0]:10}{len(files):7}{functions:11}")
        for file, functions in files.items():
            print(f"  {file}", *functions, sep="\n      ")
        return
    print(f"{'call':10}{'files':>7}{'functions':>11}", flush=True)
    for name in CALLS:
        words = [sys.executable, __file__, name]
        shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        print(shown.partition("\n")[0], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
