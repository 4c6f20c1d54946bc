"""What is returned of a classified point."""

import chex
import flax.struct
import jax

from jaxopt_course.saddle._degenerate import Evidence


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
