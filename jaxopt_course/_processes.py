"""Processes that work together under `jax.distributed`."""

from orbax.checkpoint import multihost

_WEEK = 7 * 24 * 3600 * 1000
"""In milliseconds: as long may one process wait for the slowest."""


def wait_for_all(name: str) -> None:
    """Wait until every process is here: collectives give up on one that is half a minute late."""
    multihost.get_barrier_sync_fn()(key=name, timeout_ms=_WEEK)
