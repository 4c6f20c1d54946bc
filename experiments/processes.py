"""Several processes that run one experiment together, by `jax.distributed`.

Every process computes the same thing, except that `saddle.escape` gives each its share of the runs;
the first alone reads and writes results. Whether there is anything to compute at all is for the
first to say.
"""

import os
import sys


def start() -> None:
    """Connect to the other processes.

    Under SLURM, Open MPI, Kubernetes and on TPU pods JAX finds them by itself; elsewhere every
    process is told by JAX_COORDINATOR_ADDRESS (host:port of the first, which only JAX reads),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
        ValueError: If neither says who the others are.
    """
    import jax

    count, number = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
        num_processes=None if count is None else int(count),
        process_id=None if number is None else int(number),
    )


def is_first() -> bool:
    """Return whether this process reads and writes results; it does if it is alone."""
    return _count() == 1 or sys.modules["jax"].process_index() == 0


def agree(decision: bool) -> bool:
    """Return the decision of the first process in all of them."""
    if _count() == 1:
        return decision
    from jax.experimental import multihost_utils

    from jaxopt_course._processes import wait_for_all

    wait_for_all("experiments.agree")
    return bool(multihost_utils.broadcast_one_to_all(decision))


def _count() -> int:
    """Return how many processes there are: one, if none has been `start`ed."""
    jax = sys.modules.get("jax")  # To import it takes a second, and `run` may only show a result.
    return jax.process_count() if jax is not None and jax.distributed.is_initialized() else 1
