r"""Directions in which an objective does not change because of a symmetry.

If `f(s(theta, x)) = f(x)` for transformations s that depend smoothly on theta and are the identity
at theta = 0, then f is constant along the orbit of x, and the tangents d s / d theta at 0 are null
vectors of the Hessian wherever the gradient is zero. `classify` leaves them out if told.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_arrays, check_matrix


def rotation_null_space(factor: chex.Array) -> jax.Array:
    """The tangents of `U -> U R`, R orthogonal, for objectives of `U U^T`.

    Args:
        factor: U, shape (d, r).

    Returns:
        The products of U with the `r (r - 1) / 2` elementary skew-symmetric matrices, shape
        `(r (r - 1) / 2, d, r)`; linearly dependent where U has not full rank.

    Raises:
        ValueError: if the factor is not a matrix of at least two columns: there is no rotation.

    Example:
        >>> rotation_null_space(jnp.eye(2)).tolist()
        [[[0.0, 1.0], [-1.0, 0.0]]]
    """
    check_matrix("factor", factor)
    if factor.shape[1] < 2:
        raise ValueError(f"factor must be a matrix of 2 columns or more, got {jnp.shape(factor)}")
    return jnp.stack([factor @ skew for skew in _skew(factor.shape[1], factor.dtype)])


def change_of_basis_null_space(weights: tuple[chex.Array, ...]) -> tuple[jax.Array, ...]:
    """The tangents of `W_k, W_{k+1} -> G W_k, W_{k+1} G^-1` for products `W_N ... W_1`.

    Args:
        weights: `(W_1, ..., W_N)`, `W_k` of shape (width k, width k - 1).

    Returns:
        A tuple like it with a leading axis over all entries of the matrices G of the N - 1 hidden
        layers, `sum_k h_k**2` in all.

    Raises:
        ValueError: for fewer than two weights.

    Example:
        >>> first, second = change_of_basis_null_space((jnp.full((1, 1), 2.), jnp.full((1, 1), 3.)))
        >>> first.tolist(), second.tolist()
        ([[[2.0]]], [[[-3.0]]])
    """
    if not isinstance(weights, tuple | list) or len(weights) < 2:
        got = len(weights) if isinstance(weights, tuple | list) else repr(weights)
        raise ValueError(f"weights must be two matrices or more, got {got}")
    for k, weight in enumerate(weights):
        check_matrix(f"weights[{k}]", weight)
        if k and weight.shape[1] != weights[k - 1].shape[0]:
            raise ValueError(
                f"weights[{k}] must have {weights[k - 1].shape[0]} columns, got {weight.shape}"
            )
    tangents: list[list[jax.Array]] = [[] for _ in weights]
    for k in range(len(weights) - 1):
        width = weights[k].shape[0]
        units = jnp.eye(width * width, dtype=weights[k].dtype).reshape(-1, width, width)
        for j, weight in enumerate(weights):
            if j == k:
                tangents[j].append(units @ weight)
            elif j == k + 1:
                tangents[j].append(jnp.negative(weight @ units))
            else:
                tangents[j].append(jnp.zeros((width * width, *weight.shape), weight.dtype))
    return tuple(jnp.concatenate(parts) for parts in tangents)


def rescaling_null_space(incoming: chex.Array, outgoing: chex.Array) -> tuple[jax.Array, jax.Array]:
    """The tangents of `w -> a w, v -> v / a` at each hidden unit, for ReLU and its like.

    For an activation with `h(a t) = a h(t)` for a > 0. A bias is one more incoming weight.

    Args:
        incoming: Shape (hidden units, inputs); row j goes into unit j.
        outgoing: Shape (outputs, hidden units), or (hidden units,) for one output.

    Returns:
        The tangents of either, with a leading axis over the hidden units.

    Raises:
        ValueError: if the two disagree about the number of hidden units.

    Example:
        >>> rescaling_null_space(jnp.array([[1.0, 2.0]]), jnp.array([3.0]))
        (Array([[[1., 2.]]], dtype=float32), Array([[-3.]], dtype=float32))
    """
    check_matrix("incoming", incoming)
    hidden = incoming.shape[0]
    check_arrays("outgoing", outgoing)
    if getattr(outgoing, "ndim", 0) not in (1, 2):
        raise ValueError(f"outgoing must be a matrix or a vector, got {brief(outgoing)}")
    incoming, outgoing = jnp.asarray(incoming), jnp.asarray(outgoing)
    if outgoing.shape[-1] != hidden:
        raise ValueError(
            f"outgoing must have {hidden} columns, one a hidden unit of incoming, "
            f"got shape {outgoing.shape}"
        )
    units = jnp.eye(hidden, dtype=incoming.dtype)
    each_row = units[:, :, None] * incoming[None]
    each_column = units.reshape(hidden, *(1,) * (outgoing.ndim - 1), hidden) * outgoing[None]
    return each_row, -each_column


def _skew(size: int, dtype: Any) -> list[np.ndarray]:
    """Return the elementary skew-symmetric matrices."""
    matrices = []
    for i in range(size):
        for j in range(i):
            skew = np.zeros((size, size), dtype)
            skew[j, i], skew[i, j] = 1, -1
            matrices.append(skew)
    return matrices
