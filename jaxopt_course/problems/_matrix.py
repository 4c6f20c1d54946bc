"""Matrix factorization: the saddles of principal component analysis.

Symmetric, with M = sum_i lambda_i q_i q_i^T, and U of shape (d, r):

    f(U) = 1/2 |U U^T - M|_F**2

Up to rotations U -> U R, the stationary points are `U_S`, with columns `sqrt(lambda_i) q_i` for i
in a set S of at most r eigenvectors, the other columns zero. There the Hessian's eigenvalues are

    2 (lambda_i - lambda_j)          for each i in S, j outside
    -2 lambda_j                      r - |S| times for each j outside
    4 lambda_i                       for each i in S
    2 (lambda_i + lambda_j), 0       for each pair i < j in S
    0                                |S| (r - |S|) times

so only the leading r eigenvectors are a minimum, the origin is a maximum, and all the rest are
strict saddles. The zeros at the minimum are the rotations: minima form a manifold.

Where the largest singular value of U is at most R, and `R**2 >= lambda_1 / 3`, the gradient is
Lipschitz with constant `6 R**2` and the Hessian with `12 R`. For d = 1, where the derivatives are
`6 u**2 - 2 lambda` and `12 u`, no smaller multiples of R**2 and R would do.

Ge, Jin and Zheng (2017), https://arxiv.org/abs/1704.00708; Li et al. (2019), "Symmetry, Saddle
Points, and Global Optimization Landscape of Nonconvex Matrix Factorization",
https://arxiv.org/abs/1612.09296.
"""

import dataclasses
from collections.abc import Sequence

import chex
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_integer, check_key, check_positive, to_sizes
from jaxopt_course._streams import stream
from jaxopt_course.problems._networks import linear_network
from jaxopt_course.problems._problem import (
    Kind,
    KnownPoint,
    Problem,
    check_shape,
    random_start,
)
from jaxopt_course.problems._quadratic import random_orthogonal
from jaxopt_course.problems._spectra import check_spectrum, known_subsets


def symmetric_factorization(
    eigenvalues: Sequence[float] | np.ndarray,
    *,
    rank: int,
    key: chex.PRNGKey | None = None,
    init_distribution: str = "normal",
    init_scale: float = 1.0,
) -> Problem:
    """The objective `f(U) = 1/2 |U U^T - M|_F**2`.

    With rank 1 and halved it is `1/4 |x x^T - M|_F**2`, the smallest example of a strict saddle
    problem in statistics.

    Args:
        eigenvalues: Of M: d distinct positive numbers.
        rank: Columns r of U, from 1 to d.
        key: Typed key that draws the eigenvectors; without one M is diagonal.
        init_distribution: `"normal"` or `"uniform"`.
        init_scale: Standard deviation or half-width of the starts' entries.

    Returns:
        The problem, on arrays of shape (d, r). `stationary_points` holds `U_S` for each S, from the
        largest sets and eigenvalues down, 1,024 at most; the minimum is the first.
        `smoothness` and `hessian_lipschitz` hold where the largest singular value of U is at most
        sqrt(2 lambda_1), sqrt 2 times that of any stationary point.

    Raises:
        ValueError: eigenvalues that are not distinct and positive, or a rank outside [1, d].
        TypeError: `key` is not a typed key.

    Example:
        >>> problem = symmetric_factorization([5.0, 3.0, 2.0, 1.0, 0.5], rank=3)
        >>> len(problem.stationary_points), problem.minimum_value
        (26, 0.625)
    """
    spectrum = check_spectrum("eigenvalues", eigenvalues)
    dimension = spectrum.size
    check_integer(rank=rank)
    if not 1 <= rank <= dimension:
        raise ValueError(f"rank must lie in [1, {dimension}], got {brief(rank)}")
    # The matrix to be factorized, in random coordinates if there is a key.
    basis = np.eye(dimension)
    if key is not None:
        check_key(key=key)
        basis = random_orthogonal(stream(key, "problem"), dimension)
    matrix = (basis * spectrum) @ basis.T
    shape = (dimension, rank)
    name = f"symmetric-factorization-{dimension}-{rank}"

    def fun(u):
        check_shape(u, shape, name)
        return jnp.sum(jnp.square(u @ u.T - jnp.asarray(matrix, u.dtype))) / 2

    # A stationary point for every subset of its eigenvectors of at most that rank.
    def known(subset):
        inside = np.array(subset, int)
        outside = np.setdiff1d(np.arange(dimension), inside)
        params = np.zeros(shape)
        params[:, : inside.size] = basis[:, inside] * np.sqrt(spectrum[inside])
        eigenvalues = _spectrum(spectrum[inside], spectrum[outside], rank)
        kind: Kind = "STRICT_SADDLE"
        if not subset:
            kind = "MAXIMUM"
        elif eigenvalues[0] >= 0:
            kind = "MINIMUM"
        return KnownPoint(
            params=params,
            kind=kind,
            value=float(np.sum(spectrum[outside] ** 2)) / 2,
            index=int(np.sum(eigenvalues < 0)),
            nullity=int(np.sum(eigenvalues == 0)),
            eigenvalues=eigenvalues,
        )

    return Problem(
        name=name,
        fun=fun,
        init=random_start(shape, distribution=init_distribution, scale=init_scale),
        minimum_value=float(np.sum(spectrum[rank:] ** 2)) / 2,
        stationary_points=known_subsets(known, dimension, rank),
        smoothness=12 * float(spectrum[0]),
        hessian_lipschitz=12 * float(2 * spectrum[0]) ** 0.5,
    )


def asymmetric_factorization(
    singular_values: Sequence[float] | np.ndarray,
    *,
    shape: tuple[int, int],
    rank: int,
    key: chex.PRNGKey | None = None,
    init_scale: float = 1.0,
) -> Problem:
    """The objective `f(V, U) = 1/2 |U V - M|_F**2`: a linear network with one hidden layer.

    Every stationary point but the minima is a strict saddle, the origin among them.

    Args:
        singular_values: Of M: min(shape) distinct positive numbers.
        shape: Of M, (m, n).
        rank: Columns of U and rows of V.
        key: Typed key that draws the singular vectors; without one M is diagonal.
        init_scale: Starts are normal, with variance init_scale**2 / n for V and
            init_scale**2 / rank for U.

    Returns:
        The problem, on tuples (V, U) of shapes (rank, n) and (m, rank), as `linear_network` has it.
        `smoothness` and `hessian_lipschitz` hold where the squares of the largest singular values
        of U and V add up to at most 4 sigma_1, twice what they do at the balanced points.

    Raises:
        ValueError, TypeError: as `linear_network`.

    Example:
        >>> problem = asymmetric_factorization([3.0, 2.0, 1.0], shape=(4, 3), rank=2)
        >>> problem.stationary_points[0].kind, problem.minimum_value
        ('MINIMUM', 0.5)
    """
    sizes = to_sizes("shape", shape)
    check_integer(rank=rank)
    if len(sizes) != 2 or min(sizes) < 1:
        raise ValueError(f"shape must be two positive integers, got {brief(shape)}")
    check_positive(rank=rank)
    rows, columns = sizes
    problem = linear_network(
        singular_values, widths=(columns, rank, rows), key=key, init_scale=init_scale
    )
    largest = float(np.max(singular_values))
    return dataclasses.replace(problem, smoothness=7 * largest, hessian_lipschitz=6 * largest**0.5)


def _spectrum(inside: np.ndarray, outside: np.ndarray, rank: int) -> np.ndarray:
    """Return the module's eigenvalues, ascending, for eigenvalues of M inside and outside S."""
    size = inside.size
    first, second = np.triu_indices(size, k=1)
    return np.sort(
        [
            *(2 * (inside[:, None] - outside)).ravel(),
            *np.repeat(-2 * outside, rank - size),
            *(4 * inside),
            *(2 * (inside[first] + inside[second])),
            *np.zeros(first.size + size * (rank - size)),
        ]
    )
