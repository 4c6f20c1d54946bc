"""Curvature along the way: ends of the Hessian's spectrum, its trace, its index."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course import saddle
from jaxopt_course._checks import check_count, check_key, check_positive

Observable = Callable[[Any, Any, Callable[[Any], jax.Array]], Any]
"""From the parameters, the optimizer's state and the objective to a pytree of arrays."""


class Measured(NamedTuple):
    """A number, or several, with how far each can be from the truth.

    Attributes:
        value: What was measured.
        error: Of an eigenvalue its residual norm: an eigenvalue lies within it (of a step that is
            not symmetric, one of a matrix as near as that). Of an estimate its standard error.
    """

    value: jax.Array
    error: jax.Array


def sharpness(*, k: int = 1, key: jax.Array, tolerance: float = 1e-3) -> Observable:
    """The k largest eigenvalues of the Hessian.

    Gradient descent of rate eta is stable on a quadratic below 2/eta; full-batch training raises
    the sharpness to that value and stays there.

    Args:
        k: How many.
        key: Typed key for the first direction, the same at every observation.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a `Measured` of shape `(k,)`, descending.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = sharpness(key=jax.random.key(0))
        >>> round(float(observable(jnp.ones(3), None, lambda x: 2 * x @ x).value[0]), 4)
        4.0

    Reference:
        Cohen, Kaur, Li, Kolter and Talwalkar (2021), https://arxiv.org/abs/2103.00065.
    """
    return _end("largest", k, key, tolerance)


def min_eigenvalue(*, k: int = 1, key: jax.Array, tolerance: float = 1e-3) -> Observable:
    """The k smallest eigenvalues of the Hessian: how far from convex the objective is here.

    Args:
        k: How many.
        key: Typed key for the first direction, the same at every observation.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a `Measured` of shape `(k,)`, ascending.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = min_eigenvalue(key=jax.random.key(0))
        >>> fun = lambda x: x[0] ** 2 - x[1] ** 2
        >>> round(float(observable(jnp.ones(2), None, fun).value[0]), 4)
        -2.0
    """
    return _end("smallest", k, key, tolerance)


def _end(which: Any, k: int, key: jax.Array, tolerance: float) -> Observable:
    check_count(k=k)
    check_key(key=key)
    check_positive(tolerance=tolerance)

    def observe(params: Any, state: Any, fun: Any) -> Measured:
        del state
        pairs = saddle.extreme_eigenpairs(
            fun, params, k=k, which=which, key=key, tolerance=tolerance, check_copies=False
        )
        order = slice(None, None, -1) if which == "largest" else slice(None)
        return Measured(pairs.eigenvalues[order], pairs.residual_norms[order])

    return observe


def trace(*, num_probes: int, key: jax.Array) -> Observable:
    """The trace of the Hessian, estimated by random probes.

    Args:
        num_probes: How many; the standard error falls as one over its root.
        key: Typed key for the probes, the same at every observation.

    Returns:
        The observable: a `Measured` of shape `()`, the error being a standard error.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = trace(num_probes=2, key=jax.random.key(0))
        >>> observable(jnp.ones(3), None, lambda x: x @ x).value.tolist()
        6.0
    """
    check_count(num_probes=num_probes)
    check_key(key=key)

    def observe(params: Any, state: Any, fun: Any) -> Measured:
        del state
        found: Any = saddle.trace(fun, params, num_probes=num_probes, key=key)
        return Measured(found.value, found.standard_error)

    return observe


def index() -> Observable:
    """How many eigenvalues of the Hessian are negative, from all of them: for small networks.

    Returns:
        The observable: int32.

    Example:
        >>> index()(jnp.zeros(3), None, lambda x: x[0] ** 2 - x[1] ** 2 - x[2] ** 2).tolist()
        2
    """

    def observe(params: Any, state: Any, fun: Any) -> jax.Array:
        del state
        return jnp.asarray(saddle.classify(fun, params, method="dense").index, jnp.int32)

    return observe
