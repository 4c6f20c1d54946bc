"""For which kind of device a program is traced, where that makes it another program.

On a CPU what is not computed costs nothing, and a loop costs nothing but its passes: work that few
ask for is done for these few, block after block. On an accelerator all members of a batch are
computed in the time of one; what costs there is to launch a kernel, some microseconds, and to look,
on the host, at a condition that was computed on the device. Results do not depend on the choice.

The choice is made while a program is traced: what is compiled for a CPU does not even contain the
other way. The target is that of `traced_for`, which whoever knows the device says, or the default.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_target = jax.make_user_context(default_value=None)


def traced_for(platform: str | None) -> Any:
    """Return a context in which programs are traced for a platform: "cpu", "gpu", "tpu", ...

    None stands for the default device. What was traced for another platform is traced anew.

    Example:
        >>> with traced_for("tpu"):
        ...     is_for_cpu()
        False
    """
    return _target(platform)


def chosen() -> str | None:
    """Return the platform that `traced_for` says, None without it."""
    return _target.value


def is_for_cpu() -> bool:
    """Whether what is traced is to run on a CPU."""
    return target() == "cpu"


def target() -> str:
    """Return the platform for which programs are traced."""
    if (platform := chosen()) is not None:
        return platform
    default: Any = jax.config.jax_default_device  # pyrefly: ignore[missing-attribute]
    if default is not None:
        return default if isinstance(default, str) else default.platform
    return jax.default_backend()


class Rhythm(NamedTuple):
    """How a loop of short steps is best compiled.

    Attributes:
        steps: After how many steps to look whether it goes on, a multiple of `at_a_time`.
        at_a_time: How many steps one pass takes. What the first of two reads the second overwrites,
            so that nothing is copied; `jax.lax.optimization_barrier` keeps them apart on GPUs,
            while a CPU's compiler merges them, with other last bits.
    """

    steps: int
    at_a_time: int


def rhythm() -> Rhythm:
    """Return how a loop of short steps is best compiled.

    A look costs a GPU some ten microseconds and a TPU some two, in which it launches several
    kernels; a step that was taken in vain costs no more. A CPU decides by the way.
    """
    return {"cpu": Rhythm(1, 1), "tpu": Rhythm(8, 1)}.get(target(), Rhythm(16, 2))


def is_emulated(dtype: Any) -> bool:
    """Return whether what is traced computes with a dtype in pieces: with 64 bits on a TPU.

    It has no float64 and no int64, and takes no wish about their layout.

    Example:
        >>> with traced_for("tpu"):
        ...     is_emulated(jnp.float64), is_emulated(jnp.float32)
        (True, False)
    """
    return target() == "tpu" and jnp.dtype(dtype).itemsize > 4


_EMULATED = np.float64(2.0**-47)


def spacing(dtype: Any) -> Any:
    """Return the distance from 1 to the next number with which a platform computes.

    It is `jnp.finfo(dtype).eps` but for float64 on a TPU, which computes with sums of two float32
    instead: with 48 bits, and in the range of float32. What is measured in roundings, as that an
    eigenvalue is zero, is to be measured in these.

    Example:
        >>> float(spacing(jnp.float64)) == 2.0**-52
        True
        >>> with traced_for("tpu"):
        ...     float(spacing(jnp.float64)) == 2.0**-47
        True
    """
    if jnp.dtype(dtype) == jnp.float64 and is_emulated(dtype):
        return _EMULATED
    return jnp.finfo(dtype).eps


_FAST_MEMORY = {
    "TPU v4": 2**24,
    "TPU v5 lite": 2**27,
    "TPU v5": 2**26,
    "TPU v5p": 2**26,
    "TPU v6 lite": 2**27,
    "tpu": 2**26,
    "A100": 40 * 2**20,
    "H100": 50 * 2**20,
    "H200": 50 * 2**20,
    "B200": 126 * 2**20,
    "gpu": 2**25,
}
"""Bytes next to the arithmetic: vector memory of TPUs, as `jax.experimental.pallas.tpu` has it,
and second-level cache of GPUs, by their data sheets."""


def fast_memory(device: Any) -> int:
    """Return how many bytes a device, by its `device_kind` and `platform`, has near by."""
    kind = device.device_kind
    named = (word for word in (kind, *kind.replace("-", " ").split()) if word in _FAST_MEMORY)
    return _FAST_MEMORY[next(named, "tpu" if device.platform == "tpu" else "gpu")]
