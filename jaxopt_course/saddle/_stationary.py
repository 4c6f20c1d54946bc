r"""What a stationary point is, from the gradient and the eigenvalues of the Hessian.

With `lambda` the eigenvalues of the Hessian at a point whose gradient vanishes:

    all lambda > 0                        minimum
    all lambda < 0                        maximum
    some lambda < 0 and some > 0          strict saddle; the number of negative ones is its index
    semidefinite, some lambda = 0         degenerate: the Hessian does not decide

"Vanishes", "zero", "positive" and "negative" are meant up to tolerances that are proportional to
the Hessian's size and to a power of the precision, and that come back with the result. Beside a
stationary point, where an iteration stopped too early, the Hessian is that of the wrong place: an
eigenvalue that Kantorovich's number (`_dense.py`) does not let one trust counts as zero. At 1e-4
from the global minima of a linear network with three layers, which form a manifold, every fixed
tolerance below that distance finds a saddle with ten negative eigenvalues; there are none.

Lee, Simchowitz, Jordan and Recht (2016), Definition 1 and 2, https://arxiv.org/abs/1602.04915;
beyond the Hessian see `degenerate.py`.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxopt_course._checks import check_count, check_key, check_non_negative, check_one_of
from jaxopt_course.saddle._classified import classify_unchecked, ravel_wide
from jaxopt_course.saddle._dense import dense_hessian
from jaxopt_course.saddle._inspect import inspect_objective
from jaxopt_course.saddle._kind import Kind as Kind
from jaxopt_course.saddle._point import StationaryPoint as StationaryPoint

Objective = Callable[[Any], jax.Array]


def classify(
    fun: Objective,
    x: chex.ArrayTree,
    *,
    gradient_tolerance: chex.Numeric | None = None,
    eigenvalue_tolerance: chex.Numeric | None = None,
    order: int = 2,
    method: str = "auto",
    null_space: Callable[[Any], Any] | chex.ArrayTree | None = None,
    key: chex.PRNGKey | None = None,
    num_eigenvalues: int = 4,
    failure_probability: float = 1e-3,
    num_starts: int = 16,
) -> StationaryPoint:
    """Tell what kind of point `x` is.

    Computed in the precision of the parameters, float32 at least; half-precision parameters are
    widened. Differences that rounding hides are not seen: in float32 a coefficient of order four
    must be about 1e-3 of the Hessian's size to show.

    Args:
        fun: The objective, from parameters to a scalar.
        x: A pytree of real floating arrays.
        gradient_tolerance: Largest gradient norm of a stationary point. By default
            `eps**(2/3) * |H| * (1 + max|x|)`: what rounding leaves of the gradient of a function
            with Hessian H near x, with room to spare. At a point found by an iteration that stops
            at some gradient norm, pass that norm.
        eigenvalue_tolerance: Largest absolute value of a zero eigenvalue, taken as it is. By
            default `eps**(1/2) * |H|`, or more beside a stationary point (see the module).
        order: 2 for the Hessian alone; 4 to look further where that leaves a point DEGENERATE, at
            third and fourth derivatives and at the values on small spheres in the null space: the
            point becomes a NON_STRICT_SADDLE, MINIMUM or MAXIMUM, or stays DEGENERATE, with the
            `Evidence`. `index`, `nullity` and `kind` are then those at `evidence.base`.
        method: `"dense"` decomposes the Hessian: memory quadratic, time cubic in the number of
            parameters. `"lanczos"` multiplies by it and finds the smallest eigenvalues, with bounds
            on both sides. `"auto"` is dense up to 2,000 parameters and for `order=4`.
        null_space: Directions in which `fun` is known not to change, as those of a symmetry at x:
            a function from parameters to tangent vectors, a pytree like the parameters with a
            leading axis in each leaf, or such a pytree. Their span is left out of the question, so
            that minima on a common orbit are a MINIMUM. See `rotation_null_space`,
            `rescaling_null_space`.
        key: Typed key for Lanczos' start, `jax.random.key(0)` by default, and for the starts of
            order 4, which by default are fixed directions.
        num_eigenvalues: How many of the smallest eigenvalues to compute matrix-free.
        failure_probability: Of `min_eigenvalue_bound`, matrix-free.
        num_starts: Directions from which each search over the null space begins.

    Returns:
        A `StationaryPoint`. A point that is not stationary is NOT_STATIONARY, its other fields
        describe the Hessian there all the same. Matrix-free, a MINIMUM has a positive
        `min_eigenvalue_bound`, and a MAXIMUM rests on the largest Ritz value alone.

    Raises:
        TypeError: if `fun` does not return a real scalar or a leaf of `x` is not real floating, or
            `key` is not a typed key.
        ValueError: if `x` is empty, two evaluations of `fun` differ, a tolerance is negative,
            `order` is neither 2 nor 4, `method` is unknown, `order=4` is asked of Lanczos' method,
            or the leaves of `null_space` do not fit those of `x`.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch.

    Example:
        >>> point = classify(lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2))
        >>> Kind(int(point.kind)).name, int(point.index), point.escape_direction.tolist()
        ('STRICT_SADDLE', 1, [0.0, 1.0])
        >>> Kind(int(classify(lambda x: x[0] ** 2 + x[1] ** 3, jnp.zeros(2), order=4).kind)).name
        'NON_STRICT_SADDLE'
    """
    inspect_objective("fun", fun, x)
    check_non_negative(
        gradient_tolerance=gradient_tolerance,
        eigenvalue_tolerance=eigenvalue_tolerance,
        optional=True,
    )
    check_one_of((2, 4), order=order)
    check_one_of(("auto", "dense", "lanczos"), method=method)
    check_count(num_eigenvalues=num_eigenvalues, num_starts=num_starts)
    if order == 4 and method == "lanczos":
        raise ValueError('method must be "dense" for order=4, which needs the whole null space')
    check_key(key=key, optional=True)
    return classify_unchecked(
        fun,
        x,
        gradient_tolerance=gradient_tolerance,
        eigenvalue_tolerance=eigenvalue_tolerance,
        order=order,
        method=method,
        null_space=null_space,
        key=key,
        num_eigenvalues=num_eigenvalues,
        failure_probability=failure_probability,
        num_starts=num_starts,
    )


def min_eigenvalue(fun: Objective, x: chex.ArrayTree) -> jax.Array:
    """Return the smallest eigenvalue of the Hessian of `fun` at `x`, by the dense Hessian.

    Args:
        fun: The objective, from parameters to a scalar.
        x: A pytree of real floating arrays.

    Returns:
        A scalar in the precision of the parameters, float32 at least.

    Raises:
        TypeError: if the parameters are not real floating, or the objective is not a function.
        ValueError: if there are no parameters, or the objective's value is not a scalar.

    Example:
        >>> print(min_eigenvalue(lambda x: x[0] ** 2 - 3 * x[1] ** 2, jnp.zeros(2)))
        -6.0
    """
    inspect_objective("fun", fun, x)
    flat, unravel = ravel_wide(x)
    return jnp.linalg.eigvalsh(dense_hessian(lambda flat: fun(unravel(flat)), flat))[0]
