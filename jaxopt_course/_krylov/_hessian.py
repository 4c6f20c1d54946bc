"""Hessian-vector products, and Hessians as operators on flat vectors.

    (d^2 f(x)) v = d/dt grad f(x + t v) at t = 0

which is one forward-mode derivative of the gradient: about twice the cost of a gradient, and no
matrix is formed. Pearlmutter (1994), https://doi.org/10.1162/neco.1994.6.1.147.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_course._ravel import ravel

Operator = Callable[[jax.Array], jax.Array]

# Columns of a dense Hessian computed at once: enough to fill the cores, little enough that a
# network's activations times the chunk stay in memory.
_CHUNK = 64


def hvp(fun: Callable[[Any], jax.Array], x: Any, v: Any) -> Any:
    """Multiply the Hessian of `fun` at `x` by `v`.

    Args:
        fun: Objective from a pytree of real floating parameters to a scalar.
        x: The parameters.
        v: A pytree of the structure, shapes and dtypes of `x`.

    Returns:
        The product, a pytree like `x`.

    Example:
        >>> hvp(lambda x: x["a"] ** 2 * x["b"], {"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 0.0})
        {'a': Array(6., dtype=float32, weak_type=True),
         'b': Array(4., dtype=float32, weak_type=True)}
    """
    return jax.jvp(jax.grad(fun), (x,), (v,))[1]


def flatten(tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """Concatenate the leaves of `tree` into a vector of at least float32.

    Half precision is left at the door: inner products of long vectors are meaningless in it.

    Args:
        tree: Pytree of real floating arrays.

    Returns:
        The vector, and the function that takes such a vector back to a tree with the leaves'
        own shapes and dtypes.
    """
    flat, unravel = ravel(tree)
    stored = flat.dtype
    return (
        flat.astype(jnp.promote_types(stored, jnp.float32)),
        lambda vector: unravel(vector.astype(stored)),
    )


def flat_hessian(fun: Callable[[Any], jax.Array], x: Any) -> tuple[jax.Array, Operator]:
    """Linearize the gradient of `fun` once, for many Hessian-vector products.

    The forward pass is made here and its intermediate values are kept, so a product costs about
    half of what `hvp` does.

    Args:
        fun: Objective from a pytree of real floating parameters to a scalar.
        x: The parameters, n numbers in all.

    Returns:
        The gradient at `x`, shape (n,), and the operator that multiplies a vector of shape (n,)
        by the Hessian at `x`, both in the dtype and order of `flatten(x)`.
    """
    _, unravel = flatten(x)
    with jax.default_matmul_precision("highest"):
        gradient, product = jax.linearize(jax.grad(fun), x)
    return flatten(gradient)[0], lambda vector: flatten(product(unravel(vector)))[0]


def dense(operator: Operator, dimension: int, dtype: Any) -> jax.Array:
    """Form the symmetric matrix of `operator`, in chunks of columns.

    Args:
        operator: Symmetric linear map on vectors of shape (dimension,).
        dimension: n, the number of columns.
        dtype: Floating dtype of the vectors.

    Returns:
        The matrix, shape (n, n), symmetric to the last bit.
    """
    columns = jax.lax.map(operator, jnp.eye(dimension, dtype=dtype), batch_size=_CHUNK)
    return (columns + columns.T) / 2
