"""Curvature along the way: ends of the Hessian's spectrum, its trace, its index.

What is found of eigenvectors at one observation is where Lanczos's method begins at the next one
(`Following`). The eigenvectors of before alone would never show one that has overtaken them: in
exact arithmetic a Krylov space holds nothing that its first direction does not. So a random
direction is mixed in, and the basis is never smaller than a few rows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov, saddle
from jaxopt_course._checks import check_count, check_key, check_positive
from jaxopt_course._observe import Following, Observable, Sharing
from jaxopt_course._reading import LISTED, Reading, number, readable
from jaxopt_course._streams import stream

_MIXED = 0.1
"""Length of the random direction beside the eigenvectors of before, together of length 1."""
_SPARE = 9
"""Rows of a basis that begins at known eigenvectors, beyond two for each of them."""


@readable
class Measured(NamedTuple):
    """A number, or several, with how far each can be from the truth.

    Attributes:
        value: What was measured.
        error: Of an eigenvalue its residual norm: an eigenvalue lies within it (of a step that is
            not symmetric, one of a matrix as near as that). Of an estimate its standard error.
    """

    value: jax.Array
    error: jax.Array

    def _reading(self) -> Reading | None:
        """The number with its error, or several."""
        if np.ndim(self.value) > 1:
            return None
        pairs = zip(np.ravel(self.value), np.ravel(self.error), strict=True)
        told = [f"{number(value)} within {float(error):.2g}" for value, error in pairs]
        more = f", and {len(told) - LISTED} more" if len(told) > LISTED else ""
        return Reading(", ".join(told[:LISTED]) + more, [])


def sharpness(*, k: int = 1, key: jax.Array | None = None, tolerance: float = 1e-3) -> Observable:
    """The k largest eigenvalues of the Hessian.

    Gradient descent of rate eta is stable on a quadratic below 2/eta; full-batch training raises
    the sharpness to that value and stays there.

    Args:
        k: How many.
        key: Typed key for random directions; which one hardly matters, by default that of 0.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a `Measured` of shape `(k,)`, descending.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = sharpness()
        >>> round(float(observable(jnp.ones(3), None, lambda x: 2 * x @ x).value[0]), 4)
        4.0

    Reference:
        Cohen, Kaur, Li, Kolter and Talwalkar (2021), https://arxiv.org/abs/2103.00065.
    """
    return _end("largest", k, key, tolerance)


def min_eigenvalue(
    *, k: int = 1, key: jax.Array | None = None, tolerance: float = 1e-3
) -> Observable:
    """The k smallest eigenvalues of the Hessian: how far from convex the objective is here.

    Args:
        k: How many.
        key: Typed key for random directions; which one hardly matters, by default that of 0.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a `Measured` of shape `(k,)`, ascending.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = min_eigenvalue()
        >>> fun = lambda x: x[0] ** 2 - x[1] ** 2
        >>> round(float(observable(jnp.ones(2), None, fun).value[0]), 4)
        -2.0
    """
    return _end("smallest", k, key, tolerance)


def _end(which: Any, k: int, key: jax.Array | None, tolerance: float) -> Following:
    def measure(pairs: saddle.Eigenpairs, params: Any, state: Any, fun: Any) -> Measured:
        del params, state, fun
        order = slice(None, None, -1) if which == "largest" else slice(None)
        return Measured(pairs.eigenvalues[order], pairs.residual_norms[order])

    return of_eigenpairs(which, measure, k=k, key=key, tolerance=tolerance)


def of_eigenpairs(
    which: Any,
    measure: Callable[[saddle.Eigenpairs, Any, Any, Any], Any],
    *,
    k: int,
    key: jax.Array | None,
    tolerance: float,
) -> Following:
    """An observable of the eigenpairs at one end of the Hessian's spectrum.

    Args:
        which: The end, as of `saddle.extreme_eigenpairs`.
        measure: From the pairs, parameters, state and objective to what is observed.
        k: How many pairs.
        key: Typed key for random directions, that of 0 if None.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.
    """
    check_count(k=k)
    check_key(key=key, optional=True)
    check_positive(tolerance=tolerance)

    def begin(params: Any) -> jax.Array:
        return jnp.zeros_like(_krylov.flatten_wide(params)[0])

    def find(params: Any, state: Any, fun: Any, last: jax.Array) -> tuple[Any, jax.Array]:
        del state
        _, unravel = _krylov.flatten_wide(params)
        own = stream(jax.random.key(0) if key is None else key, "observables")
        other = _krylov.normalized(jax.random.normal(own, last.shape, last.dtype))
        # After what was not finite the search begins anew.
        last = jnp.where(jnp.all(jnp.isfinite(last)), last, 0)
        pairs = saddle.extreme_eigenpairs(
            fun,
            params,
            k=k,
            which=which,
            key=own,
            start=unravel(_krylov.normalized(last) + _MIXED * other),
            tolerance=tolerance,
            basis_size=2 * k + _SPARE,
            check_copies=False,
        )
        vectors = jax.vmap(lambda vector: _krylov.flatten_wide(vector)[0])(pairs.eigenvectors)
        return pairs, jnp.sum(vectors, axis=0)

    def follow(params: Any, state: Any, fun: Any, last: jax.Array) -> tuple[Any, jax.Array]:
        pairs, remembered = find(params, state, fun, last)
        return measure(pairs, params, state, fun), remembered

    # Keys and arrays by which object they are: under `jit` none has a value to compare.
    same = (which, k, *(x if isinstance(x, float | int) else id(x) for x in (key, tolerance)))
    return Sharing(begin, follow, find, measure, same)


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
