"""What can be wrong with an objective, found before its curvature is computed.

An objective is traced, not run: what it computes is read off its jaxpr, so the check costs
milliseconds whatever the data. Randomness that does not come from a fixed key shows as two traces
that differ (a number drawn by NumPy is a constant of the trace) or as a callback to the host; only
then is the objective evaluated, twice, to make sure. Batch normalization shows by where its
equations came from: the frames of the Python stack that every equation keeps.
"""

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxprs_in_params

from jaxopt_course._checks import (
    check_not_empty,
    check_objective,
    check_real_floating,
    is_key,
    is_traced,
)

_ADDRESS = re.compile(r"0x[0-9a-f]+")


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
        ValueError: if `x` is empty, or two evaluations of `fun` at `x` differ. Inside `jit`, where
            there is nothing to evaluate yet, the latter passes unnoticed.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch (flax's BatchNorm, or ours).

    Example:
        >>> inspect_objective("fun", lambda x: x**2, np.ones(2))
        Traceback (most recent call last):
        ...
        TypeError: fun must return one real number ...
    """
    check_not_empty("x", x)
    check_real_floating("x", x)
    check_objective(name, fun, x)
    # A new function each time, or the second trace would be the first one out of JAX's cache.
    first, second = (jax.make_jaxpr(lambda x: fun(x))(x) for _ in range(2))
    if any(_in_batch_statistics(equation) for equation in _equations(first.jaxpr)):
        warnings.warn(
            f"{name} normalizes by the statistics of its batch (BatchNorm in training mode): its "
            "curvature couples the examples and depends on the batch. If the model as it is used "
            "is meant, evaluate it with train=False (use_running_average=True).",
            stacklevel=3,
        )
    traced = is_traced((x, first.consts))
    if _may_differ(first, second) and not traced:
        outputs = [fun(x) for _ in range(2)]
        values = [float(output) for output in outputs]
        # Sums on an accelerator may be taken in another order: that is no randomness.
        rounding = 64 * float(jnp.finfo(outputs[0].dtype).eps)
        if not np.allclose(*values, rtol=rounding, atol=0, equal_nan=True):
            raise ValueError(
                f"{name} must be deterministic, but two evaluations at x gave {values[0]} and "
                f"{values[1]}: let it draw from a fixed key, or pass it what was drawn"
            )
    return traced


def _equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """Walk through the equations, also those of scans, conditionals and jitted functions."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _equations(inner)


def _in_batch_statistics(equation: JaxprEqn) -> bool:
    """Whether the equation stems from batch normalization that computes mean and variance."""
    traceback = equation.source_info.traceback
    names = {frame.function_name for frame in traceback.frames} if traceback else set()
    # flax (linen and nnx) computes statistics in the first function, this package in the second.
    computes = "_compute_stats" in names or "Normalization._moments" in names
    return computes and "BatchNorm.__call__" in names


def _may_differ(first: ClosedJaxpr, second: ClosedJaxpr) -> bool:
    """Whether the traces of one function leave room for two evaluations that differ."""
    texts = [_ADDRESS.sub("", str(trace.jaxpr)) for trace in (first, second)]
    called_back = any("callback" in eqn.primitive.name for eqn in _equations(first.jaxpr))
    constants = zip(first.consts, second.consts, strict=False)
    return called_back or texts[0] != texts[1] or not all(_same(*pair) for pair in constants)


def _same(first: Any, second: Any) -> bool:
    if first is second or is_traced((first, second)):
        return True
    if is_key(first):
        first, second = jax.random.key_data(first), jax.random.key_data(second)
    return np.array_equal(first, second)
