"""Matrix sensing: a factorization that is seen through random linear measurements only.

For M = sum_i lambda_i q_i q_i^T and symmetric A_1, ..., A_m, with U of shape (d, r),

    f(U) = 1/(2 m) sum_k <A_k, U U^T - M>**2

If A_k is the symmetric part of a matrix of independent N(0, 1) entries, the expectation of f is
`symmetric_factorization`, 1/2 |U U^T - M|_F**2. The measurements keep distances up to delta,

    (1 - delta) |X|_F**2 <= 1/m sum_k <A_k, X>**2 <= (1 + delta) |X|_F**2     for rank X <= 2 r,

and all local minima of f are global if delta is less than 1/5 (for r = 1: than 1/2, and no more).
Whatever the measurements, f is stationary at 0, where the Hessian is `-2/m sum_k <A_k, M> A_k` for
each column, and at `q_i sqrt(lambda_i)`, a global minimum where it is
`1/m sum_k vec(2 A_k U) vec(2 A_k U)^T`.

Bhojanapalli, Neyshabur and Srebro (2016), "Global Optimality of Local Search for Low Rank Matrix
Recovery", https://arxiv.org/abs/1605.07221; `rip_example`, on both sides of the sharp bound 1/2,
follows Zhang, Josz, Sojoudi and Lavaei (2018), "How Much Restricted Isometry is Needed In Nonconvex
Matrix Recovery?", https://arxiv.org/abs/1805.10251.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import check_count, check_key, check_positive
from jaxopt_course._streams import stream
from jaxopt_course.problems._problem import (
    Kind,
    KnownPoint,
    Problem,
    check_shape,
    random_start,
)
from jaxopt_course.problems._quadratic import random_orthogonal
from jaxopt_course.problems._spectra import check_low_rank, minimum_with_hessian, origin


def matrix_sensing(
    eigenvalues: Sequence[float] | np.ndarray,
    *,
    dimension: int,
    num_measurements: int,
    key: chex.PRNGKey,
    rank: int | None = None,
    init_distribution: str = "normal",
    init_scale: float = 1.0,
) -> Problem:
    """The objective `f(U) = 1/(2 m) sum_k <A_k, U U^T - M>**2` for Gaussian A_k.

    Args:
        eigenvalues: Of M other than zero: distinct positive numbers, d at most.
        dimension: d.
        num_measurements: m. Some multiple of d r gives a benign landscape.
        key: Typed key that draws the eigenvectors of M and the A_k.
        rank: Columns r of U, at least as many as eigenvalues; as many if not given.
        init_distribution: `"normal"` or `"uniform"`.
        init_scale: Standard deviation or half-width of the starts' entries.

    Returns:
        The problem, on arrays of shape (d, r). `stationary_points` are a global minimum, its other
        columns zero, and the origin; there are more, which depend on the measurements. `fun` is a
        `jax.tree_util.Partial`, so it can be an argument of a compiled function, measurements
        and all: `jax.jit(lambda fun, u: fun(u))(problem.fun, u)`.

    Raises:
        ValueError: eigenvalues that are not distinct and positive, or numbers that do not fit.
        TypeError: a size that is not an integer, or `key` is not a typed key.

    Example:
        >>> key = jax.random.key(0)
        >>> problem = matrix_sensing([2.0, 1.0], dimension=5, num_measurements=60, key=key)
        >>> [point.kind for point in problem.stationary_points]
        ['MINIMUM', 'STRICT_SADDLE']
    """
    spectrum, columns = check_low_rank(eigenvalues, dimension, rank)
    check_count(num_measurements=num_measurements)
    check_key(key=key)
    basis_key, measurement_key = jax.random.split(stream(key, "problem"))
    factor = np.zeros((dimension, columns))
    factor[:, : spectrum.size] = random_orthogonal(basis_key, dimension)[:, : spectrum.size]
    factor[:, : spectrum.size] *= np.sqrt(spectrum)
    # Drawn in float32 whatever the precision in force, so that a key means one problem.
    draws = jax.random.normal(
        measurement_key, (num_measurements, dimension, dimension), jnp.float32
    )
    measurements = np.asarray(draws, np.float64)
    measurements = (measurements + measurements.transpose(0, 2, 1)) / 2
    target = factor @ factor.T
    name = f"matrix-sensing-{dimension}-{columns}-{num_measurements}"

    def fun(u, *, measurements, target):
        check_shape(u, factor.shape, name)
        difference = u @ u.T - jnp.asarray(target, u.dtype)
        residuals = jnp.tensordot(jnp.asarray(measurements, u.dtype), difference, axes=2)
        return jnp.mean(jnp.square(residuals)) / 2

    # Hessians at the known points: at a factor of M all residuals are 0 and the Hessian is that of
    # Gauss and Newton; at the origin U U^T has second derivatives only.
    jacobian = (2 * measurements @ factor).reshape(num_measurements, -1)
    answers = np.tensordot(measurements, target, axes=2)
    return Problem(
        name=name,
        fun=jax.tree_util.Partial(fun, measurements=measurements, target=target),
        init=random_start(factor.shape, distribution=init_distribution, scale=init_scale),
        minimum_value=0.0,
        stationary_points=(
            minimum_with_hessian(factor, jacobian.T @ jacobian / num_measurements),
            origin(
                factor.shape,
                -2 / num_measurements * np.tensordot(answers, measurements, axes=1),
                float(np.mean(answers**2)) / 2,
                if_semidefinite="STRICT_SADDLE",
            ),
        ),
    )


def rip_example(*, cross_weight: float = 4.0, init_scale: float = 1.0) -> Problem:
    """The smallest sensing problem with a bad minimum, or almost.

    Three measurements of a 2 x 2 matrix, of which (1, 0) (1, 0)^T is to be found:

        f(x) = (x_1**2 - 1 + x_2**2 / 2)**2 + 3/4 x_2**4 + c x_1**2 x_2**2

    They keep distances (scaled as well as can be) up to delta = 1/2 for 1 <= c <= 3, and up to
    `(c - 1) / (c + 1)` beyond. At `(0, +-1/sqrt 2)` f is 3/4 and its Hessian diag(c - 3, 4): a
    strict saddle for c < 3, a saddle without negative curvature at c = 3, where f falls as
    `-3 x_1**4` along a parabola, and a minimum that is not global for c > 3 (c = 4: delta = 0.6).

    Args:
        cross_weight: c, positive.
        init_scale: Standard deviation of the starts, which are normal.

    Returns:
        The problem, on arrays of shape (2,). `stationary_points` are all there are: 0, the global
        minima `(+-1, 0)`, `(0, +-1/sqrt 2)` and, for c > 3, the four saddles between them.

    Raises:
        ValueError: a number that is not positive.

    Example:
        >>> for c in (2.0, 3.0, 4.0):
        ...     print(rip_example(cross_weight=c).stationary_points[3].kind)
        STRICT_SADDLE
        NON_STRICT_SADDLE
        MINIMUM
    """
    check_positive(cross_weight=cross_weight, init_scale=init_scale)
    c = float(cross_weight)

    def fun(x):
        check_shape(x, (2,), "rip-example")
        first, second = jnp.square(x)
        return (first - 1 + second / 2) ** 2 + 3 / 4 * second**2 + c * first * second

    def known(x, kind: Kind, value, hessian):
        eigenvalues = np.linalg.eigvalsh(np.array(hessian))
        return KnownPoint(
            params=np.array(x),
            kind=kind,
            value=value,
            index=int(np.sum(eigenvalues < 0)),
            nullity=int(np.sum(eigenvalues == 0)),
            eigenvalues=eigenvalues,
        )

    # The origin, the signal and its opposite, and what lies at right angles to it.
    between: Kind = "STRICT_SADDLE"
    if c >= 3:
        between = "MINIMUM" if c > 3 else "NON_STRICT_SADDLE"
    points = [known((0.0, 0.0), "MAXIMUM", 1.0, [[-4.0, 0.0], [0.0, -2.0]])]
    points += [known((s, 0.0), "MINIMUM", 0.0, [[8.0, 0.0], [0.0, 2 * c]]) for s in (1.0, -1.0)]
    points += [
        known((0.0, s * 0.5**0.5), between, 3 / 4, [[c - 3, 0.0], [0.0, 4.0]]) for s in (1.0, -1.0)
    ]
    # Each of the bad minima has two saddles beside it, which come out of it at c = 3.
    if c > 3:
        first, second = np.sqrt(np.array([c - 3, 2 * c]) / ((c + 3) * (c - 1)))
        for s in (1.0, -1.0):
            for t in (1.0, -1.0):
                cross = 4 * (1 + c) * s * first * t * second
                points.append(
                    known(
                        (s * first, t * second),
                        "STRICT_SADDLE",
                        c * second**2 / 2,
                        [[8 * first**2, cross], [cross, 8 * second**2]],
                    )
                )
    return Problem(
        name="rip-example",
        fun=fun,
        init=random_start((2,), distribution="normal", scale=init_scale),
        minimum_value=0.0,
        stationary_points=tuple(points),
        bounds=((-1.5, 1.5), (-1.5, 1.5)),
    )
