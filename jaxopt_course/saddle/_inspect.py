"""What can be wrong with an objective, found before its curvature is computed.

An objective is traced, not run: what it computes is read off its equations, so the check costs
milliseconds whatever the data. Randomness that does not come from a fixed key shows as two traces
that differ (`trace_objective`). Batch normalization shows by where its equations came from: the
frames of the Python stack that every equation keeps.
"""

import warnings
from collections.abc import Callable
from typing import Any

import chex
import jax
from jax.extend.core import JaxprEqn

from jaxopt_course._checks import check_not_empty, check_real_floating, is_traced
from jaxopt_course._tracing import Traced, equations_in, trace_objective


def inspect_objective(name: str, fun: Callable[[Any], jax.Array], x: chex.ArrayTree) -> bool:
    """Raise or warn if the curvature of `fun` at `x` would not mean what it seems to.

    Args:
        name: What the caller calls `fun`.
        fun: The objective.
        x: Its parameters.

    Returns:
        Whether a surrounding transformation traces `x` or what `fun` closes over.

    Raises:
        TypeError: if `fun` does not return a real scalar or a leaf of `x` is not real floating.
        ValueError: if `x` is empty, or two evaluations of `fun` at `x` differ.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch (flax's BatchNorm, or ours).

    Example:
        >>> inspect_objective("fun", lambda x: x**2, jnp.ones(2))
        Traceback (most recent call last):
        ...
        TypeError: fun must return one real number ...
    """
    check_not_empty("x", x)
    check_real_floating("x", x)
    if isinstance(fun, Traced):  # It was inspected when it was traced.
        return is_traced((x, fun))
    traced = trace_objective(name, fun, x)
    warn_of_batch_statistics(name, traced)
    return is_traced((x, traced))


def warn_of_batch_statistics(name: str, traced: Traced, stacklevel: int = 4) -> None:
    """Warn if an objective normalizes by the statistics of its batch."""
    if any(_in_batch_statistics(equation) for equation in equations_in(traced)):
        warnings.warn(
            f"{name} normalizes by the statistics of its batch (BatchNorm in training mode): its "
            "curvature couples the examples and depends on the batch. If the model as it is used "
            "is meant, evaluate it with train=False (use_running_average=True).",
            stacklevel=stacklevel,
        )


def _in_batch_statistics(equation: JaxprEqn) -> bool:
    """Whether the equation stems from batch normalization that computes mean and variance."""
    traceback = equation.source_info.traceback
    names = {frame.function_name for frame in traceback.frames} if traceback else set()
    # flax (linen and nnx) computes statistics in the first function, this package in the second.
    computes = "_compute_stats" in names or "Normalization._moments" in names
    return computes and "BatchNorm.__call__" in names
