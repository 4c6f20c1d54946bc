"""A batch of trainings in a process of its own, for tests that kill it or start several.

    python spirals_batch.py FOLDER [--epochs N] [--processes N --process I --port P]

With `--processes` that many divide the runs, and each writes what it got to FOLDER/results-I.npz.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import training
from jaxopt_course._engine._arrays import flatten
from jaxopt_course.nn import MLP, BatchNorm
from tests import own_processes

MOMENTUM = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1, momentum=0.9)
RATES = (0.1, 1e38, 0.3, 0.03, 0.2)
"""The second diverges at once."""


def spirals(examples=96, seed=0):
    """Two classes that no line separates."""
    inputs = np.random.default_rng(seed).normal(size=(examples, 2)).astype(np.float32)
    return inputs, (inputs[:, 0] * inputs[:, 1] > 0).astype(np.int32)


def network(key):
    return MLP((2, 16, 2), normalization=BatchNorm, dropout_rate=0.1, rngs=nnx.Rngs(key))


def fit(epochs=5, **options):
    """Five runs, two of them at a time, with noise and statistics in their state."""
    return training.fit(
        network,
        MOMENTUM,
        spirals(),
        jax.random.split(jax.random.key(7), len(RATES)),
        hyperparams={"learning_rate": jnp.asarray(RATES)},
        evaluation={"test": spirals(30, seed=1)},
        epochs=epochs,
        batch_size=20,
        **{"lanes": 2} | options,
    )


def arrays(fitted):
    return flatten((fitted.runs, fitted.history))


def main():
    parser = own_processes.parser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--every", type=float, default=60.0)
    options = parser.parse_args()
    together = own_processes.join(options)
    fitted = fit(
        options.epochs,
        checkpoint=f"{options.folder}/checkpoint",
        checkpoint_every=options.every,
        callback=lambda epochs: print(epochs.epoch, flush=True),
    )
    if together:
        np.savez(f"{options.folder}/results-{options.process}.npz", **arrays(fitted))


if __name__ == "__main__":
    main()
