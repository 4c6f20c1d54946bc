"""What is said of a point: its kind, the curvature behind that, and what was tried beyond it."""

import enum
from typing import Any

import chex
import flax.struct
import jax


class Kind(enum.IntEnum):
    """What a point is; the values are what `StationaryPoint.kind` holds as int32."""

    NOT_STATIONARY = 0
    MINIMUM = 1
    MAXIMUM = 2
    STRICT_SADDLE = 3
    NON_STRICT_SADDLE = 4
    DEGENERATE = 5


@flax.struct.dataclass
class Evidence:
    """What was tried beyond the Hessian, and what came of it.

    Taylor coefficients are those of the reduced function g(t u), u a unit vector of the null space.

    Attributes:
        order: The order of derivatives that decided, int32: 2 the Hessian, 3 and 4 the coefficients
            below, from 5 on the slope of the descent over the radius of the sphere; 0 if nothing
            did, or if the function is flat.
        cubic_minimum: Smallest c3(u) found; as c3 is odd, minus the largest.
        quartic_minimum: Smallest c4(u) found.
        quartic_maximum: Largest c4(u) found.
        radii: Of the spheres in the null space, shape `(6,)`.
        sphere_minimum: Smallest g - g(0) found on each, shape `(6,)`.
        sphere_maximum: The largest, shape `(6,)`.
        flat: Whether g is constant, up to rounding, in every direction tried.
        descent: The lowest value found minus the value at `base`, or 0 if none is lower beyond
            rounding: a certificate that `base` is no minimum.
        descent_point: Where that is, a pytree like the parameters; `base` where there is none.
        base: The point examined: `x`, moved within the non-zero directions of its Hessian to where
            the gradient vanishes in them.
    """

    order: jax.Array
    cubic_minimum: jax.Array
    quartic_minimum: jax.Array
    quartic_maximum: jax.Array
    radii: jax.Array
    sphere_minimum: jax.Array
    sphere_maximum: jax.Array
    flat: jax.Array
    descent: jax.Array
    descent_point: Any
    base: Any


@flax.struct.dataclass
class StationaryPoint:
    """A classified point; under `vmap` every field has a leading axis.

    Matrix-free, `eigenvalues`, `index` and `nullity` are about the k smallest eigenvalues alone:
    each returned value is at least the Hessian's of the same rank, so `index` is a lower bound on
    the number of negative ones (exact if it is less than k and the values have converged).

    Attributes:
        kind: A `Kind` as an int32 scalar; `Kind(int(point.kind)).name` reads well.
        index: Number of negative eigenvalues.
        nullity: Number of eigenvalues that are zero up to `eigenvalue_tolerance`; those along
            `null_space` are included, unless matrix-free, where they are not computed.
        eigenvalues: Of the Hessian, ascending, shape `(number of parameters,)`, or `(k,)`
            matrix-free; zero along `null_space`.
        min_eigenvalue: The smallest of them.
        escape_direction: Unit eigenvector of `min_eigenvalue`, a pytree like the parameters. The
            value falls along it, both ways, where `min_eigenvalue` is negative. Its largest
            component is positive, so that the choice of sign is reproducible. At a
            NON_STRICT_SADDLE the direction in which the value falls, this way.
        gradient_norm: Euclidean norm of the gradient over all leaves.
        gradient_tolerance: The largest gradient norm that counted as zero.
        eigenvalue_tolerance: The largest absolute eigenvalue that counted as zero.
        min_eigenvalue_error: Some eigenvalue of the Hessian lies within this of `min_eigenvalue`:
            the residual norm, or the rounding error of the dense decomposition. So the point is a
            strict saddle with `lambda_min <= min_eigenvalue + min_eigenvalue_error` if that is
            negative.
        min_eigenvalue_bound: `lambda_min` is at least this, but for `failure_probability`; an
            approximate second-order point if it is above `-sqrt(rho * epsilon)`.
        failure_probability: Of `min_eigenvalue_bound`, over the random start of Lanczos' method;
            0 for the dense Hessian.
        kantorovich: Largest `rho |H^-1| |H^-1 g|` of an eigenvalue, see `_dense.py`: above 1/4 some
            signs at `x` are not those at the stationary point. NaN matrix-free.
        hessian_lipschitz: The rho in it, estimated by the Frobenius norm of the third derivative.
        null_space_residual: Largest |H v| of a unit vector in `null_space`. If it is not small,
            the directions are not flat, and none was taken out.
        null_space_used: Whether directions of `null_space` were found flat and taken out.
        finite: Whether value, gradient and eigenvalues are finite.
        evidence: With `order=4` an `Evidence`, else None.
    """

    kind: jax.Array
    index: jax.Array
    nullity: jax.Array
    eigenvalues: jax.Array
    min_eigenvalue: jax.Array
    escape_direction: chex.ArrayTree
    gradient_norm: jax.Array
    gradient_tolerance: jax.Array
    eigenvalue_tolerance: jax.Array
    min_eigenvalue_error: jax.Array
    min_eigenvalue_bound: jax.Array
    failure_probability: jax.Array
    kantorovich: jax.Array
    hessian_lipschitz: jax.Array
    null_space_residual: jax.Array
    null_space_used: jax.Array
    finite: jax.Array
    evidence: Evidence | None = None
