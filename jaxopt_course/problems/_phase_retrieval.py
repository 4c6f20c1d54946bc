"""Phase retrieval with infinitely many measurements.

To find z from `(a^T z)**2` for Gaussian a, least squares has the population loss

    f(x) = 1/4 E ((a^T x)**2 - (a^T z)**2)**2
         = 1/4 (3 |x|**4 - 2 |x|**2 |z|**2 - 4 (x^T z)**2 + 3 |z|**4)

Its stationary points and Hessian eigenvalues, with n = |z|**2:

    0                                        maximum          -3 n along z, -n otherwise
    +-z                                      minima            6 n along z, 2 n otherwise
    x orthogonal to z, |x|**2 = n / 3        strict saddles   -2 n along z, 2 n along x, 0 otherwise

Sun, Qu and Wright (2018), "A Geometric Analysis of Phase Retrieval", section 2,
https://arxiv.org/abs/1602.06664.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import to_doubles
from jaxopt_course.problems._problem import KnownPoint, Problem, check_shape, random_start


def phase_retrieval(
    signal: Sequence[float] | np.ndarray,
    *,
    init_distribution: str = "normal",
    init_scale: float = 1.0,
) -> Problem:
    """The population loss of recovering a real signal up to its sign.

    Args:
        signal: z, of d >= 2 numbers, not all zero.
        init_distribution: `"normal"` or `"uniform"`.
        init_scale: Standard deviation or half-width of the starts.

    Returns:
        The problem, on arrays of shape (d,). `stationary_points` holds 0, z, -z and one point of
        the sphere of saddles, whose Hessian is zero along the sphere. `smoothness` and
        `hessian_lipschitz` hold where `|x|**2 <= 2 |z|**2`.

    Raises:
        ValueError: a signal that is zero, not finite, or of fewer than two numbers.

    Example:
        >>> [point.kind for point in phase_retrieval([3.0, 4.0]).stationary_points]
        ['MAXIMUM', 'MINIMUM', 'MINIMUM', 'STRICT_SADDLE']
    """
    z = to_doubles("signal", signal)
    if z.ndim != 1 or z.size < 2 or not np.all(np.isfinite(z)) or not np.any(z):
        raise ValueError(f"signal must be two or more numbers, not all zero, got {brief(signal)}")
    square = float(z @ z)
    rest = z.size - 1
    # Any direction orthogonal to z: what is left of the axis that z is least along.
    axis = np.eye(z.size)[np.argmin(np.abs(z))]
    orthogonal = axis - z * (axis @ z) / square
    orthogonal *= np.sqrt(square / 3) / np.linalg.norm(orthogonal)
    name = f"phase-retrieval-{z.size}"

    def fun(x):
        check_shape(x, z.shape, name)
        size, overlap = jnp.dot(x, x), jnp.dot(x, jnp.asarray(z, x.dtype))
        return (3 * size**2 - 2 * size * square - 4 * overlap**2 + 3 * square**2) / 4

    # Zero, the signal up to its sign, and a point of the sphere of saddles at right angles.
    minimum = KnownPoint(
        z, "MINIMUM", 0.0, index=0, eigenvalues=square * np.array([2.0] * rest + [6.0])
    )
    points = (
        KnownPoint(
            np.zeros_like(z),
            "MAXIMUM",
            0.75 * square**2,
            index=z.size,
            eigenvalues=square * np.array([-3.0] + [-1.0] * rest),
        ),
        minimum,
        KnownPoint(-z, "MINIMUM", 0.0, index=0, eigenvalues=minimum.eigenvalues),
        KnownPoint(
            orthogonal,
            "STRICT_SADDLE",
            2 / 3 * square**2,
            index=1,
            nullity=rest - 1,
            eigenvalues=square * np.array([-2.0] + [0.0] * (rest - 1) + [2.0]),
        ),
    )
    return Problem(
        name=name,
        fun=fun,
        init=random_start(z.shape, distribution=init_distribution, scale=init_scale),
        minimum_value=0.0,
        stationary_points=points,
        # The second derivative along an x at right angles to z is 9 |x|**2 - |z|**2, its slope
        # 18 |x|; none is larger where |x|**2 <= 2 |z|**2.
        smoothness=17 * square,
        hessian_lipschitz=18 * (2 * square) ** 0.5,
    )
