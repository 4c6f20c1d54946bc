"""What a compiled program needs, asked before it runs: memory, and every core."""

from pathlib import Path
from typing import NamedTuple

import jax


class Needs(NamedTuple):
    """What a compiled program needs.

    Attributes:
        bytes: Of memory, for arguments, results and temporary arrays; None if it is not known.
        every_core: Whether it is to run on one CPU device only. LAPACK's batches are divided among
            the threads that all CPU devices of a process share, and each waits, in one of them, for
            its parts: with as many devices at work as there are threads, all wait for ever.
    """

    bytes: int | None
    every_core: bool


def needs_of(compiled: jax.stages.Compiled) -> Needs:
    """Return what its compiler says a program needs."""
    every_core = 'custom_call_target="lapack_' in (compiled.as_text() or "")  # On CPUs only.
    memory = compiled.memory_analysis()
    if memory is None:
        return Needs(None, every_core)  # Not every platform's compiler says.
    size = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )
    return Needs(size, every_core)


def check_that_it_fits(
    needed: int | None, lanes: int, device: jax.Device, free: float | None = None
) -> None:
    """Raise MemoryError if a program needs more memory than is free.

    All it needs is counted as growing with the lanes, so what is said to fit does fit.

    Args:
        needed: What it needs in bytes, None if that is not known.
        lanes: Over how many lanes it runs.
        device: Where.
        free: Free memory in bytes; by default asked of the device.

    Raises:
        MemoryError: With the number of lanes that would fit.
    """
    free = _free_bytes(device) if free is None else free
    if needed is None or free is None or needed <= free:
        return
    fitting = int(lanes * free / needed)
    cure = (
        f"lanes={2 ** (fitting.bit_length() - 1)} would fit"
        if fitting
        else "not even one lane would fit: record less, or evaluate the objective in batches"
    )
    raise MemoryError(
        f"lanes={lanes} need {needed / 2**30:.3g} GiB on {device}, of which {free / 2**30:.3g} GiB "
        f"are free; {cure}"
    )


def _free_bytes(device: jax.Device) -> float | None:
    """Return how much memory a device has left, None if it does not say."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return _free_host_bytes() if device.platform == "cpu" else None


def _free_host_bytes() -> float | None:
    """Return what Linux says is available; None elsewhere."""
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
