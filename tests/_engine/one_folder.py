"""A call with a folder, in a process of its own, for tests of folders and processes.

    python one_folder.py KIND FOLDER [--every SECONDS] [--results FILE] [--go FILE]

KIND is one of `CALLS`. It prints "begun" once the call listens to SIGTERM, and "ended" after it;
with FILE it prints "begun" before the call, which it makes when FILE is there.
"""

import argparse
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import saddle, training
from jaxopt_course._engine._arrays import flatten
from jaxopt_course.nn import MLP
from tests._engine import octopus_batch

SGD, ADAM = optax.sgd(1e-3), optax.adam(0.03)


def wells(x):
    return jnp.sum((x**2 - 1) ** 2)


def network(key):
    return MLP((2, 4, 2), rngs=nnx.Rngs(key))


def escape(checkpoint, **options):
    starts = jnp.linspace(-2, 2, 3000).reshape(1500, 2)
    return saddle.escape(
        wells, SGD, starts, max_steps=3000, lanes=16, checkpoint=checkpoint, **options
    )


def escape_to_disk(checkpoint, checkpoint_every=60.0, **options):
    stored = octopus_batch.to_disk(checkpoint, 1500, checkpoint_every, **options)
    return stored.load()


def find(checkpoint, **options):
    starts = jnp.linspace(-2, 2, 3000).reshape(1500, 2)
    return saddle.find(wells, starts, lanes=16, checkpoint=checkpoint, **options)


def fit(checkpoint, **options):
    inputs = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    fitted = training.fit(
        network,
        ADAM,
        (inputs, (inputs[:, 0] > 0).astype(np.int32)),
        jax.random.split(jax.random.key(0), 20),
        epochs=10,
        batch_size=20,
        lanes=5,
        checkpoint=checkpoint,
        **options,
    )
    return fitted.runs, fitted.history


CALLS = {"escape": escape, "escape_to_disk": escape_to_disk, "find": find, "fit": fit}


def announce():
    while signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        pass
    print("begun", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=CALLS)
    parser.add_argument("folder")
    parser.add_argument("--every", type=float, default=60.0)
    parser.add_argument("--results")
    parser.add_argument("--go")
    options = parser.parse_args()
    if options.go is None:
        threading.Thread(target=announce, daemon=True).start()
    else:
        print("begun", flush=True)
        while not os.path.exists(options.go):
            pass
    found = CALLS[options.kind](options.folder, checkpoint_every=options.every)
    print("ended", flush=True)
    if options.results is not None:
        np.savez(options.results, **flatten(found))


if __name__ == "__main__":
    main()
