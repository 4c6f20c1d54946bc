r"""Arnoldi's method: the eigenvalues of largest modulus of an operator that need not be symmetric.

Grows an orthonormal basis V (rows) of span{q, A q, A^2 q, ...} with the Hessenberg matrix

    A V^T = V^T H + coupling * residual e_m^T.

An eigenpair (theta, y) of H gives theta and V^T y with the residual norm `coupling |y_m|`, exactly
that of A up to rounding. Of an operator that is far from normal a small residual does not bound the
distance to the nearest eigenvalue, only to one of the pseudospectrum.

Arnoldi (1951), https://doi.org/10.1090/qam/42792.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course import _loops
from jaxopt_course._platforms import spacing


class Dominant(NamedTuple):
    """The eigenvalue of largest modulus that was found.

    Attributes:
        radius: Its modulus.
        real: Its real part,
        imaginary: and the absolute value of its imaginary part.
        residual_norm: `|A v - theta v|` of the unit vector v that belongs to it.
    """

    radius: jax.Array
    real: jax.Array
    imaginary: jax.Array
    residual_norm: jax.Array


def dominant_eigenvalue(
    operator: Callable[[jax.Array], jax.Array], start: jax.Array, *, num_steps: int
) -> Dominant:
    """Find the eigenvalue of largest modulus of a real operator on vectors of shape (n,).

    Args:
        operator: The linear map.
        start: The first direction, not zero.
        num_steps: Products to take, n at most. Exact with n of them.

    Returns:
        The eigenvalue and its residual.
    """
    dtype = start.dtype
    length = jnp.linalg.norm(start)
    basis = jnp.zeros((num_steps + 1, start.shape[0]), dtype).at[0].set(start / length)
    hessenberg = jnp.zeros((num_steps + 1, num_steps), dtype)

    def extend(step, krylov):
        basis, hessenberg = krylov
        vector = operator(basis[step])
        size = jnp.linalg.norm(vector)
        # Twice is enough; rows that are not reached yet are zero and take nothing away.
        coefficients = basis @ vector
        vector = vector - coefficients @ basis
        again = basis @ vector
        vector = vector - again @ basis
        rest = jnp.linalg.norm(vector)
        # What is left of an exhausted space is rounding: it ends there, with a zero row.
        goes_on = rest > 10 * spacing(dtype) * size
        rest = jnp.where(goes_on, rest, 0)
        row = jnp.where(goes_on, vector / jnp.where(goes_on, rest, 1), 0)
        column = (coefficients + again).at[step + 1].set(rest)
        return basis.at[step + 1].set(row), hessenberg.at[:, step].set(column)

    _, hessenberg = _loops.fori_loop(0, num_steps, extend, (basis, hessenberg))
    square, coupling = hessenberg[:num_steps], hessenberg[num_steps, num_steps - 1]
    values, vectors = _eig(square)
    best = jnp.argmax(jnp.abs(values))
    theta = values[best]
    return Dominant(
        radius=jnp.abs(theta),
        real=jnp.real(theta),
        imaginary=jnp.abs(jnp.imag(theta)),
        residual_norm=coupling * jnp.abs(vectors[-1, best]),
    )


def _eig(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return eigenvalues and unit eigenvectors of a small matrix, computed on the host's LAPACK.

    Accelerators have no eigendecomposition of general matrices; one of some twenty rows is sent to
    the host from there.
    """
    complex_dtype = jnp.result_type(matrix.dtype, jnp.complex64)
    shapes = (
        jax.ShapeDtypeStruct(matrix.shape[:1], complex_dtype),
        jax.ShapeDtypeStruct(matrix.shape, complex_dtype),
    )

    def on_host(matrix):
        return jax.pure_callback(_numpy_eig, shapes, matrix, vmap_method="sequential")

    return jax.lax.platform_dependent(matrix, cpu=_lapack_eig, default=on_host)


def _lapack_eig(matrix):
    values, vectors = jnp.linalg.eig(matrix)
    return values, vectors


def _numpy_eig(matrix):
    import numpy as np

    matrix = np.asarray(matrix)
    values, vectors = np.linalg.eig(matrix)
    dtype = np.result_type(matrix.dtype, np.complex64)
    return values.astype(dtype), vectors.astype(dtype)
