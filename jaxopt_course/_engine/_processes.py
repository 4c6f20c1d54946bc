"""Processes that work together under `jax.distributed`."""

_WEEK = 7 * 24 * 3600 * 1000
"""In milliseconds: as long may one process wait for the slowest."""


def wait_for_all(name: str) -> None:
    """Wait until every process is here: collectives give up on one that is half a minute late."""
    from orbax.checkpoint import multihost  # It takes long to import, and is seldom needed.

    multihost.get_barrier_sync_fn()(key=name, timeout_ms=_WEEK)
