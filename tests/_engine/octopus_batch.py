"""A batch of runs in a process of its own, for tests that kill it or start several.

    python octopus_batch.py FOLDER [--runs N] [--every SECONDS] [--processes N --process I --port P]

The runs go to disk by `saddle.escape_to_disk`. With `--processes` that many divide them, in
FOLDER/disk, and those of `saddle.escape`, of which each writes what it got to FOLDER/results-I.npz.
"""

from functools import partial

import jax
import numpy as np

from jaxopt_course import problems, saddle, transforms
from tests import own_processes

OCTOPUS = problems.octopus(dimension=3)
RADIUS = np.e / 100


def rule(key):
    return transforms.perturbed_gradient_descent(1 / 6, RADIUS, RADIUS, 1, key=key)


TO_THE_MINIMUM = {"max_steps": 400, "target_value": 0.99 * OCTOPUS.minimum_value, "lanes": 16}


def arguments(options):
    # Two devices, unless a test says otherwise: for each of them the program is compiled.
    return TO_THE_MINIMUM | {"devices": jax.local_devices()[:2]} | options


def to_disk(folder, runs, every, key=None, **options):
    return saddle.escape_to_disk(
        OCTOPUS.fun,
        rule,
        OCTOPUS.init,
        jax.random.key(0) if key is None else key,
        runs=runs,
        folder=folder,
        checkpoint_every=every,
        **arguments(options),
    )


def starts(runs):
    keys = jax.random.split(jax.random.key(0), runs)
    return jax.vmap(OCTOPUS.init)(keys), keys


def in_memory(starts, keys, **options):
    return saddle.escape(OCTOPUS.fun, rule, starts, keys, **arguments(options))


def arrays(runs):
    return {
        "params": runs.params,
        "value": runs.value,
        "gradient_norm": runs.gradient_norm,
        "steps": runs.steps,
        "reason": runs.reason,
    }


def main():
    parser = own_processes.parser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--every", type=float, default=0.05)
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 2)
    announce = partial(print, flush=True)
    if not own_processes.join(options):
        to_disk(options.folder, options.runs, options.every, callback=announce)
        return
    to_disk(f"{options.folder}/disk", options.runs, options.every)
    found = in_memory(*starts(options.runs), checkpoint=f"{options.folder}/checkpoint")
    np.savez(f"{options.folder}/results-{options.process}.npz", **arrays(found))


if __name__ == "__main__":
    main()
