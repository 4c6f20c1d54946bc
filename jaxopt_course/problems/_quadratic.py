"""Quadratic forms of any signature.

    f(x) = 1/2 (x - c)^T Q diag(eigenvalues) Q^T (x - c)

One stationary point, the centre c, with the spectrum that was asked for: positive eigenvalues make
it a minimum, mixed signs a strict saddle, zeros leave flat directions.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_key, to_doubles
from jaxopt_course._streams import stream
from jaxopt_course.problems._problem import (
    Kind,
    KnownPoint,
    Problem,
    check_shape,
    random_start,
)


def quadratic(
    eigenvalues: Sequence[float] | np.ndarray,
    *,
    center: Sequence[float] | np.ndarray | None = None,
    key: chex.PRNGKey | None = None,
    init_distribution: str = "normal",
    init_scale: float = 1.0,
) -> Problem:
    """The quadratic with these Hessian eigenvalues.

    Without a key the axes are the eigenvectors and f costs O(d); with one, Q is drawn uniformly
    (Haar) from the orthogonal matrices and f costs O(d**2).

    Args:
        eigenvalues: Of the Hessian, shape (d,), any finite values in any order.
        center: The stationary point c, shape (d,); zero by default.
        key: Typed key that draws Q, the same in float32 and float64.
        init_distribution: `"normal"` or `"uniform"`, about the origin.
        init_scale: Standard deviation or half-width of the starts.

    Returns:
        The problem, on arrays of shape (d,). `smoothness` (the largest |eigenvalue|) and
        `hessian_lipschitz` (0) hold everywhere.

    Raises:
        ValueError: `eigenvalues` is empty, not one-dimensional or not finite, or `center` has
            another shape.
        TypeError: `key` is not a typed key.

    Example:
        >>> problem = quadratic([2.0, -1.0, 0.0], key=jax.random.key(0))
        >>> problem.stationary_points[0].eigenvalues
        array([-1.,  0.,  2.])
    """
    spectrum = to_doubles("eigenvalues", eigenvalues)
    if spectrum.ndim != 1 or not spectrum.size or not np.all(np.isfinite(spectrum)):
        raise ValueError(
            f"eigenvalues must be a non-empty list of finite numbers, got {brief(eigenvalues)}"
        )
    shape = spectrum.shape
    origin = np.zeros(shape) if center is None else to_doubles("center", center)
    if origin.shape != shape:
        raise ValueError(f"center must have shape {shape}, got {origin.shape}")
    name = f"quadratic-{spectrum.size}"

    # The Hessian is diagonal, or is so in random coordinates.
    if key is None:

        def apply_hessian(x):
            return jnp.asarray(spectrum, x.dtype) * x

    else:
        check_key(key=key)
        basis = random_orthogonal(stream(key, "problem"), spectrum.size)
        hessian = (basis * spectrum) @ basis.T

        def apply_hessian(x):
            return jnp.asarray(hessian, x.dtype) @ x

    def fun(x):
        check_shape(x, shape, name)
        x = x - jnp.asarray(origin, x.dtype)
        return jnp.dot(x, apply_hessian(x)) / 2

    # The centre is the one stationary point, or one of many where eigenvalues are zero.
    kind: Kind
    if np.all(spectrum >= 0):
        kind = "MINIMUM"
    else:
        kind = "STRICT_SADDLE" if np.any(spectrum > 0) else "MAXIMUM"
    return Problem(
        name=name,
        fun=fun,
        init=random_start(shape, distribution=init_distribution, scale=init_scale),
        minimum_value=0.0 if kind == "MINIMUM" else -np.inf,
        stationary_points=(
            KnownPoint(
                params=origin,
                kind=kind,
                value=0.0,
                index=int(np.sum(spectrum < 0)),
                nullity=int(np.sum(spectrum == 0)),
                eigenvalues=np.sort(spectrum),
            ),
        ),
        smoothness=float(np.max(np.abs(spectrum))),
        hessian_lipschitz=0.0,
    )


def random_orthogonal(key: chex.PRNGKey, size: int) -> np.ndarray:
    """Return an orthogonal matrix drawn uniformly (Haar), orthogonal to double precision.

    The normal draws are float32 whatever the precision in force, so that a key means one matrix.
    """
    draws = np.asarray(jax.random.normal(key, (size, size), jnp.float32), np.float64)
    q, r = np.linalg.qr(draws)
    # LAPACK chooses the signs of R's diagonal; Q is uniform only if all of them are made positive.
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)
