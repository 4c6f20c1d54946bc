"""Whether a compiled program fits into memory, asked before it runs."""

from pathlib import Path

import jax


def needed_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Return what its compiler says a program needs: arguments, results and temporary arrays."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None  # Not every platform's compiler says.
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


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
