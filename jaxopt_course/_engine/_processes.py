"""Processes that work together under `jax.distributed`."""

_WEEK = 7 * 24 * 3600 * 1000
"""In milliseconds: as long may one process wait for the slowest."""


def wait_for_all(name: str) -> None:
    """Wait until every process is here; collectives give up on one half a minute late."""
    # Imported here: it takes long, and is seldom needed.
    from orbax.checkpoint import multihost

    multihost.get_barrier_sync_fn()(key=name, timeout_ms=_WEEK)
