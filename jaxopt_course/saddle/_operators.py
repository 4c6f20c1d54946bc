"""The curvature of an objective as an operator on flat vectors, checked and in full precision."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxopt_course import _krylov
from jaxopt_course._ravel import ravel
from jaxopt_course.saddle._inspect import inspect_objective


class Curvature(NamedTuple):
    """A symmetric matrix at a point, by its products.

    Attributes:
        zero: Shape (n,), zeros; its dtype is that of all computations, float32 at least.
        operator: v -> A v on such vectors.
        unravel: From such a vector to a pytree like the parameters, but in that dtype: the entries
            of an eigenvector are not worth less because the parameters are stored in half.
    """

    zero: jax.Array
    operator: Callable[[jax.Array], jax.Array]
    unravel: Callable[[jax.Array], Any]


def curvature_operator(fun: Callable[[Any], jax.Array], x: chex.ArrayTree) -> Curvature:
    """Inspect `fun` and take its curvature at `x`: its own `curvature(x)`, or its Hessian.

    Args:
        fun: Objective from a pytree of parameters to a scalar.
        x: The parameters.

    Returns:
        The operator and its space.
    """
    inspect_objective("fun", fun, x)
    flat, unravel = _krylov.flatten(x)
    if hasattr(fun, "curvature"):
        product = fun.curvature(x)

        def operator(v: jax.Array) -> jax.Array:
            return _krylov.flatten(product(unravel(v)))[0].astype(flat.dtype)
    else:
        _, operator = _krylov.flat_hessian(fun, x)
    wide = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, flat.dtype), x)
    return Curvature(jnp.zeros_like(flat), _precise(operator), ravel(wide)[1])


def _precise(operator: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    def product(v: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return operator(v)

    return product
