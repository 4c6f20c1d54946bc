"""What is said of a point: its kind, the curvature behind that, and what was tried beyond it."""

import enum
from typing import Any

import chex
import flax.struct
import jax
import numpy as np

from jaxopt_course._reading import LISTED, Reading, how_many, in_words, number, readable, tally


class Kind(enum.IntEnum):
    """What a point is; `StationaryPoint.kind` holds the value as int32, `.name` the name.

    All is meant up to the tolerances that come with the point.
    """

    NOT_STATIONARY = 0
    """The gradient is not zero: the other fields describe the Hessian there all the same."""
    MINIMUM = 1
    """A local minimum: all eigenvalues are positive, or, with `order=4`, the value rises, or stays
    the same, in all directions in which they are zero."""
    MAXIMUM = 2
    """A local maximum: a minimum of `-fun`."""
    STRICT_SADDLE = 3
    """Eigenvalues of either sign: gradient descent leaves it from almost all starts."""
    NON_STRICT_SADDLE = 4
    """A saddle whose Hessian is semidefinite: the value falls along a direction of zero curvature,
    as along x in `x**3 + y**2`. Found with `order=4` only."""
    DEGENERATE = 5
    """The Hessian is semidefinite and singular, and nothing else has decided."""


@readable
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

    def _reading(self) -> Reading | None:
        """What decided, and by how much the value falls."""
        if np.ndim(self.order):
            return None
        order = int(self.order)
        if bool(self.flat):
            heading = "flat: the value is constant, up to rounding, in all directions tried"
        elif not order:
            heading = "undecided: no derivative up to the fourth tells, nor do the spheres"
        else:
            heading = f"decided by derivatives of order {order}{' or higher' * (order > 4)}"
        rows = [
            ("third order", f"smallest coefficient {number(self.cubic_minimum)}"),
            (
                "fourth order",
                f"coefficients {number(self.quartic_minimum)} to {number(self.quartic_maximum)}",
            ),
            ("descent", "none found" if not self.descent else f"{number(self.descent)}"),
        ]
        return Reading(heading, rows)


@readable
@flax.struct.dataclass
class DerivativeCheck:
    """Derivatives at a point, compared with differences along a few directions through it.

    Where they part, automatic differentiation has given something other than the derivative, or
    there is none: `jnp.abs` and `jnp.clip` at a kink, `jnp.linalg.det` of a matrix of corank 2, a
    norm at 0, an eigenvalue that is repeated.

    Attributes:
        gradient_agrees: Whether the gradient is the limit of differences of values.
        hessian_agrees: Whether the Hessian is that of differences of gradients.
        gradient_difference: Largest distance of a slope from the difference of values.
        hessian_difference: Largest norm of the distance of a Hessian-vector product from the
            difference of gradients.
        where: That distance for each parameter, a pytree like them: where it is largest is the part
            of `fun` to look at.
    """

    gradient_agrees: jax.Array
    hessian_agrees: jax.Array
    gradient_difference: jax.Array
    hessian_difference: jax.Array
    where: Any

    def _reading(self) -> Reading | None:
        """The comparison in words."""
        if np.ndim(self.gradient_agrees):
            return None
        rows = [
            ("gradient", f"differs by at most {number(self.gradient_difference)}"),
            ("Hessian", f"differs by at most {number(self.hessian_difference)}"),
        ]
        return Reading(self._verdict(), rows)

    def _verdict(self) -> str:
        """The comparison in one sentence."""
        parts = []
        if not bool(self.gradient_agrees):
            parts.append(
                "the gradient parts from differences of values by "
                f"{float(self.gradient_difference):.2g}"
            )
        if not bool(self.hessian_agrees):
            apart = [
                (np.max(np.nan_to_num(np.asarray(leaf), nan=np.inf), initial=0), path)
                for path, leaf in jax.tree_util.tree_leaves_with_path(self.where)
            ]
            _, path = max(apart, key=lambda pair: pair[0])
            at = f", most at x{jax.tree_util.keystr(path)}" if path else ""
            parts.append(
                "the Hessian parts from differences of gradients by "
                f"{float(self.hessian_difference):.2g}{at}"
            )
        return " and ".join(parts) if parts else "agree with differences"


@readable
@flax.struct.dataclass
class StationaryPoint:
    """A classified point; under `vmap` every field has a leading axis.

    Matrix-free, `eigenvalues`, `index` and `nullity` are about the k smallest eigenvalues alone:
    each returned value is at least the Hessian's of the same rank, so `index` is a lower bound on
    the number of negative ones (exact if it is less than k, but for eigenvalues that the search has
    missed).

    Attributes:
        kind: A `Kind` as an int32 scalar; `point.name` is its name.
        index: Number of negative eigenvalues of the Hessian at the point, stationary or not.
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
        kind_tolerance: The largest that counted as zero for `kind`: `eigenvalue_tolerance`, or more
            where the point lies beside a stationary one and `kantorovich` leaves the sign there
            open. Matrix-free a point that is not stationary is not asked for it.
        min_eigenvalue_error: Some eigenvalue of the Hessian lies within this of `min_eigenvalue`:
            the residual norm, or the rounding error of the dense decomposition. So the point is a
            strict saddle with `lambda_min <= min_eigenvalue + min_eigenvalue_error` if that is
            negative.
        eigenvalue_errors: The same for each of `eigenvalues`.
        min_eigenvalue_bound: `lambda_min` is at least this, but for `failure_probability`; an
            approximate second-order point if it is above `-sqrt(rho * epsilon)`.
        failure_probability: Of `min_eigenvalue_bound`, over the random start of Lanczos' method;
            0 for the dense Hessian.
        kantorovich: Largest `rho |H^-1| |H^-1 g|` of an eigenvalue, see `_dense.py`: above 1/4 some
            signs at `x` are not those at the stationary point. NaN where `fun` has no third
            derivative because of `jax.custom_vjp` rules. Matrix-free it is about the eigenvalues
            found and the largest, a bound where that leaves no doubt, and NaN at a point that is
            not stationary or where `eigenvalue_tolerance` is given.
        hessian_lipschitz: The rho in it, estimated by the Frobenius norm of the third derivative.
        null_space_residual: Largest |H v| of a unit vector in `null_space`. If it is not small,
            the directions are not flat, and none was taken out.
        null_space_used: Whether directions of `null_space` were found flat and taken out.
        finite: Whether value, gradient and eigenvalues are finite.
        evidence: With `order=4` an `Evidence`, else None.
        check: With `check=True` a `DerivativeCheck`, else None.
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
    kind_tolerance: jax.Array
    min_eigenvalue_error: jax.Array
    eigenvalue_errors: jax.Array
    min_eigenvalue_bound: jax.Array
    failure_probability: jax.Array
    kantorovich: jax.Array
    hessian_lipschitz: jax.Array
    null_space_residual: jax.Array
    null_space_used: jax.Array
    finite: jax.Array
    evidence: Evidence | None = None
    check: DerivativeCheck | None = None

    @property
    def name(self) -> Any:
        """Name of the kind, as in `Kind`; of a batch, a list of names.

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxopt_course import saddle
            >>> saddle.classify(lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2)).name
            'STRICT_SADDLE'
        """
        names = np.vectorize(lambda kind: Kind(kind).name, otypes=[object])
        return names(np.asarray(self.kind)).tolist()

    def _reading(self) -> Reading | None:
        """Kind, gradient, smallest eigenvalue and its certificate; of a batch, the kinds."""
        batch = np.shape(self.kind)
        if not batch:
            return self._described()
        points = int(np.prod(batch))
        rows = []
        if len(batch) == 1 and points <= LISTED:
            for i in range(points):
                one = jax.tree.map(lambda leaf, i=i: leaf[i], self)
                lowest = number(one.min_eigenvalue)
                rows.append((f"{i}:", f"{one._heading()}, smallest eigenvalue {lowest}"))
        kinds = tally(self.kind, Kind) or "none"
        return Reading(f"{how_many(points, 'point')}: {kinds}", rows)

    def _heading(self) -> str:
        """The kind in words, with index and nullity of the Hessian."""
        seen = np.shape(self.eigenvalues)[-1]
        index = f"index {int(self.index)}"
        if float(self.failure_probability) > 0 and int(self.index) == seen:
            index += " or more"
        return f"{in_words(Kind(int(self.kind)))}, {index}, nullity {int(self.nullity)}"

    def _described(self) -> Reading:
        """One point in words."""
        lowest, error = float(self.min_eigenvalue), float(self.min_eigenvalue_error)
        bound, chance = float(self.min_eigenvalue_bound), float(self.failure_probability)
        certificate = f"at least {bound:.4g}"
        if chance > 0:
            certificate += f" with probability {1 - chance:g}"
        rows = [
            (
                "gradient norm",
                f"{float(self.gradient_norm):.4g} (zero: up to "
                f"{float(self.gradient_tolerance):.2g})",
            ),
            (
                "smallest eigenvalue",
                f"{lowest:.6g}, within {error:.2g} (zero: up to "
                f"{float(self.eigenvalue_tolerance):.2g})",
            ),
            ("certificate", f"the smallest eigenvalue is {certificate}"),
        ]
        if float(self.kind_tolerance) > float(self.eigenvalue_tolerance):
            rows.append(
                (
                    "doubt",
                    f"signs of eigenvalues up to {float(self.kind_tolerance):.2g} may differ "
                    "at the stationary point",
                )
            )
        if self.evidence is not None and int(self.evidence.order) > 2:
            rows.append(("decided by", f"derivatives of order {int(self.evidence.order)}"))
        elif self.evidence is not None and bool(self.evidence.flat):
            rows.append(("decided by", "a value that is constant in all directions tried"))
        if self.check is not None:
            rows.append(("derivatives", self.check._verdict()))
        if not bool(self.finite):
            rows.append(("not finite", "the gradient or an eigenvalue is infinite or NaN"))
        return Reading(self._heading(), rows)
