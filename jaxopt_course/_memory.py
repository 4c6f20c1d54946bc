"""How much memory there is, asked before a computation that needs much of it begins."""

from pathlib import Path

import jax

from jaxopt_course._checks import is_traced, is_tracing

_TIMES = 3
"""Memory that is needed at most, over that of a basis: itself, the next one, and a product."""
_NEGLIGIBLE = 2**28
"""Bytes that are taken to be free: what needs no more is not checked."""


def check_rows(rows: int, vector: jax.Array, cure: str) -> None:
    """Raise MemoryError if vectors that are to be kept will not fit, before the first is computed.

    Within a traced function nothing is checked: the compiled program says what it needs.

    Args:
        rows: How many there will be.
        vector: One like them.
        cure: What needs less.

    Raises:
        MemoryError: With the bytes that are needed and those that are free.
    """
    needed = _TIMES * rows * vector.size * vector.dtype.itemsize
    if needed <= _NEGLIGIBLE or is_traced(vector) or is_tracing():
        return
    device = min(vector.devices(), key=lambda device: device.id)
    free = free_bytes(device)
    if free is None or needed <= free:
        return
    raise MemoryError(
        f"{rows} vectors of {vector.size:,} numbers ({vector.dtype}) and what is computed of them "
        f"need {needed:,} bytes ({needed / 2**30:.3g} GiB) on {device}, of which "
        f"{free / 2**30:.3g} GiB are free; {cure}"
    )


def free_bytes(device: jax.Device) -> float | None:
    """Return how much memory a device has left, None if it does not say.

    A CPU has what Linux says is available, within what the control group of this process allows.
    """
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    if device.platform != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    (available,) = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return min(1024 * available, _group_bytes())


def _group_bytes() -> float:
    """Return what the control group of this process, a container say, still allows."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        return max(int(limit) - int(used), 0)
    except (OSError, ValueError):  # There is none, or its limit is "max".
        return float("inf")
