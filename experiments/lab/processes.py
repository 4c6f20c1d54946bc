"""Several processes that run one experiment together, by `jax.distributed`.

Every process computes the same thing, except that `saddle.escape`, `saddle.find` and `training.fit`
give each its share of the runs; the first alone reads and writes results. Whether there is anything
to compute at all is for the first to say.
"""

import importlib.util
import os
import sys


def start() -> None:
    """Connect to the other processes.

    Under SLURM, Kubernetes, Open MPI 4 and on TPU pods JAX finds them by itself. Elsewhere every
    process is told by JAX_COORDINATOR_ADDRESS (host:port of the first, which only JAX reads),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID. Open MPI 5 tells them apart, but not where the first is:
    that says JAX_COORDINATOR_ADDRESS, or mpi4py if it is installed.

    Raises:
        ValueError: If nothing says who the others are.
    """
    import jax

    count, number = os.environ.get("JAX_NUM_PROCESSES"), os.environ.get("JAX_PROCESS_ID")
    method = None
    if "OMPI_COMM_WORLD_SIZE" in os.environ and "OMPI_MCA_orte_hnp_uri" not in os.environ:
        if "JAX_COORDINATOR_ADDRESS" not in os.environ:
            method = "mpi4py"
            if importlib.util.find_spec(method) is None:
                raise ValueError(
                    "--distributed under Open MPI 5 needs to know where the first process is: "
                    "pip install mpi4py, or mpirun -x JAX_COORDINATOR_ADDRESS=HOST:PORT"
                )
        count = count or os.environ["OMPI_COMM_WORLD_SIZE"]
        number = number or os.environ["OMPI_COMM_WORLD_RANK"]
    jax.distributed.initialize(
        num_processes=None if count is None else int(count),
        process_id=None if number is None else int(number),
        cluster_detection_method=method,
    )


def is_first() -> bool:
    """Return whether this process reads and writes results; it does if it is alone."""
    return _count() == 1 or sys.modules["jax"].process_index() == 0


def agree(decision: bool) -> bool:
    """Return the decision of the first process in all of them."""
    if _count() == 1:
        return decision
    from jax.experimental import multihost_utils

    from jaxopt_course._engine._processes import wait_for_all

    wait_for_all("experiments.agree")
    return bool(multihost_utils.broadcast_one_to_all(decision))


def _count() -> int:
    """Return how many processes there are: one, if none has been `start`ed."""
    jax = sys.modules.get("jax")  # To import it takes a second, and `run` may only show a result.
    return jax.process_count() if jax is not None and jax.distributed.is_initialized() else 1
