"""The quadratic model of an objective, in an eigenbasis of its Hessian or of a projection of it.

    m(s) = g^T s + s^T H s / 2

on the whole space, or on a Krylov space of H that holds g. In an eigenbasis its coordinates part,
and every second-order step is a formula for each of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course._krylov._hessian import Operator, dense
from jaxopt_course._krylov._lanczos import lanczos
from jaxopt_course._streams import stream

# Rows of a Lanczos basis, unless the caller says otherwise.
_SUBSPACE_SIZE = 30


class EigenModel(NamedTuple):
    """The quadratic model g^T s + s^T H s / 2 on a subspace, in an eigenbasis of H's projection.

    Attributes:
        eigenvalues: Shape (k,), ascending.
        gradient: Coefficients of g, shape (k,).
        vectors: Orthonormal rows, shape (k, n): s = coefficients @ vectors.
    """

    eigenvalues: jax.Array
    gradient: jax.Array
    vectors: jax.Array


def eigen_model(
    operator: Operator,
    gradient: jax.Array,
    *,
    solver: str = "eigh",
    subspace_size: int | None = None,
    key: jax.Array | None = None,
    explore: bool = False,
) -> EigenModel:
    """Diagonalize H on the whole space or on a Krylov space that contains g.

    Args:
        operator: v -> H v on vectors of shape (n,).
        gradient: g, shape (n,).
        solver: "eigh" for the whole space, "lanczos" for a subspace.
        subspace_size: Dimension k of the subspace, 30 if None.
        key: Typed PRNG key for Lanczos's random directions; `jax.random.key(0)` if None.
        explore: Whether the second half of the subspace is to start from a random direction. A
            Krylov space of g alone never sees a direction of negative curvature orthogonal to g.
    """
    with jax.default_matmul_precision("highest"):
        if solver == "eigh":
            hessian = dense(operator, gradient.shape[0], gradient.dtype)
            eigenvalues, columns = jnp.linalg.eigh(hessian)
            return EigenModel(eigenvalues, gradient @ columns, columns.T)

        size = min(subspace_size or _SUBSPACE_SIZE, gradient.shape[0])
        krylov = lanczos(
            operator,
            gradient,
            num_steps=size,
            key=stream(jax.random.key(0) if key is None else key, "subspace"),
            turn=(size + 1) // 2 if explore else None,
        )
        eigenvalues, columns = jnp.linalg.eigh(krylov.projected)
        vectors = columns.T @ krylov.basis
        return EigenModel(eigenvalues, vectors @ gradient, vectors)
