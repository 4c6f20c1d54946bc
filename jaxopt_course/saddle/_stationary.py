r"""What a stationary point is, from the gradient and the eigenvalues of the Hessian.

With `lambda` the eigenvalues of the Hessian at a point whose gradient vanishes:

    all lambda > 0                        minimum
    all lambda < 0                        maximum
    some lambda < 0 and some > 0          strict saddle; the number of negative ones is its index
    semidefinite, some lambda = 0         degenerate: the Hessian does not decide

"Vanishes", "zero", "positive" and "negative" are meant up to tolerances that are proportional to
the Hessian's size and to a power of the precision, and that come back with the result. Index and
nullity are those of the Hessian at the point, wherever it is. The kind is that of the stationary
point, and beside one, where an iteration stopped too early, the Hessian is that of the wrong place:
an eigenvalue that Kantorovich's number (`_dense.py`) does not let one trust counts as zero for the
kind. At 1e-4 from the global minima of a linear network with three layers, which form a manifold,
the Hessian has ten negative eigenvalues; at the minima there are none, and no tolerance below that
distance would know.

Lee, Simchowitz, Jordan and Recht (2016), Definition 1 and 2, https://arxiv.org/abs/1602.04915;
beyond the Hessian see `_degenerate.py`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxopt_course import _batching, _krylov
from jaxopt_course._brief import shapes as shapes_of
from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_flag,
    check_fraction,
    check_key,
    check_non_negative,
    check_one_of,
    check_positive,
)
from jaxopt_course._platforms import spacing
from jaxopt_course._progress import Bar, shown
from jaxopt_course._streams import stream
from jaxopt_course._tracing import inspect_objective
from jaxopt_course.saddle._curvature import CurvatureProgress
from jaxopt_course.saddle._degenerate import Examined, examine, no_evidence
from jaxopt_course.saddle._dense import (
    check_derivatives,
    count_signs,
    dense_hessian,
    dense_spectrum,
    kind_by_hessian,
    oriented,
)
from jaxopt_course.saddle._matrix_free import classify_matrix_free, num_operations
from jaxopt_course.saddle._point import Kind, StationaryPoint

Objective = Callable[[Any], jax.Array]

# Up to this many parameters the decomposition of the dense Hessian takes seconds.
_DENSE = 2000
# Up to this many Lanczos's method forms the Hessian as well.
_SMALL = 80
# Operations that forming the Hessian may take: half a minute on two cores.
_DENSE_OPERATIONS = 3e11
# Members of a batch that are examined beyond the Hessian together.
_BLOCK = 8


@shown("products", left="left at most")
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
    check: bool = False,
    callback: Callable[[CurvatureProgress], Any] | None = None,
    progress: bool = False,
) -> StationaryPoint:
    """The kind of a point: minimum, maximum, saddle or none of these, with the evidence for it.

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
            default `eps**(1/2) * |H|`, and beside a stationary point more for the kind alone: the
            index is the number of negative eigenvalues at x, the kind that of the stationary point.
        order: 2 for the Hessian alone; 4 to look further where that leaves a point DEGENERATE, at
            third and fourth derivatives and at the values on small spheres in the null space: the
            point becomes a NON_STRICT_SADDLE, MINIMUM or MAXIMUM, or stays DEGENERATE, with the
            `Evidence`. `index`, `nullity` and `kind` are then those at `evidence.base`.
        method: `"dense"` decomposes the Hessian: memory quadratic, time cubic in the number of
            parameters. `"lanczos"` multiplies by it and finds the smallest eigenvalues, with bounds
            on both sides: 200 products or so, and memory for about 250 vectors of the parameters.
            `"auto"` is dense for `order=4`, up to 80 parameters, and up to 2,000 as long as the
            products that form the Hessian take no more than some 3e11 operations in all.
        null_space: Directions in which `fun` is known not to change, as those of a symmetry at x:
            a function from parameters to tangent vectors, a pytree like the parameters with a
            leading axis in each leaf, or such a pytree. Their span is left out of the question, so
            that minima on a common orbit are a MINIMUM. See `rotation_null_space`,
            `rescaling_null_space`.
        key: Typed key for Lanczos' start, `jax.random.key(0)` by default, and for the starts of
            order 4, which by default are fixed directions.
        num_eigenvalues: How many of the smallest eigenvalues to compute matrix-free: the smallest
            to full precision, of the others the sign, and the value up to `eigenvalue_errors`.
        failure_probability: Of `min_eigenvalue_bound`, matrix-free.
        num_starts: Directions from which each search over the null space begins.
        check: Whether to compare gradient and Hessian with differences of values and of gradients
            in four directions, for 16 gradients more. `point.check` says where they part: there the
            Hessian is not what it is taken for.
        callback: Called on the host with a `CurvatureProgress`, as in `extreme_eigenpairs`,
            matrix-free.
        progress: Whether to show a bar, as in `extreme_eigenpairs`.

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
        MemoryError: before the first product, if Hessian or basis will not fit; not within `jit`.

    Warns:
        UserWarning: if `fun` normalizes by the statistics of its batch.

    Example:
        >>> point = classify(lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2))
        >>> point.name, int(point.index), point.escape_direction.tolist()
        ('STRICT_SADDLE', 1, [0.0, 1.0])
        >>> classify(lambda x: x[0] ** 2 + x[1] ** 3, jnp.zeros(2), order=4).name
        'NON_STRICT_SADDLE'
    """
    # All arguments are checked here, so that the library's own calls need not be.
    inspect_objective("fun", fun, x)
    check_non_negative(
        gradient_tolerance=gradient_tolerance,
        eigenvalue_tolerance=eigenvalue_tolerance,
        optional=True,
    )
    check_one_of((2, 4), order=order)
    check_one_of(("auto", "dense", "lanczos"), method=method)
    check_count(num_eigenvalues=num_eigenvalues, num_starts=num_starts)
    check_flag(check=check, progress=progress)
    check_callable(callback=callback, optional=True)
    check_positive(failure_probability=failure_probability)
    check_fraction(failure_probability=failure_probability)
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
        check=check,
        callback=callback,
    )


# By default a TPU multiplies float32 as bfloat16, to three digits.
@jax.default_matmul_precision("highest")
def classify_unchecked(
    fun: Callable[[Any], jax.Array],
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
    count_doubtful: bool = True,
    check: bool = False,
    callback: Callable[[CurvatureProgress], Any] | None = None,
) -> StationaryPoint:
    """`classify` without the checks: a search that classifies many points inspects `fun` once.

    `count_doubtful=False` leaves doubtful eigenvalues out of the index and into the nullity, too:
    where x stands for the stationary point that a search has found.
    """
    # The objective as a function of one vector, and the directions that are known to be flat.
    flat, unravel = _krylov.flatten_wide(x)

    def flat_fun(flat):
        return fun(unravel(flat))

    directions = None
    if null_space is not None:
        directions = flat_directions(null_space, x, unravel)

    # By the smallest eigenvalues alone, or by the whole Hessian.
    if method == "auto":
        method = "dense" if order == 4 or _is_dense_cheap(flat_fun, flat) else "lanczos"
    if method == "lanczos":
        point = classify_matrix_free(
            flat_fun,
            flat,
            unravel,
            gradient_tolerance=gradient_tolerance,
            eigenvalue_tolerance=eigenvalue_tolerance,
            directions=directions,
            key=stream(jax.random.key(0) if key is None else key, "classify"),
            num_eigenvalues=min(num_eigenvalues, flat.size),
            failure_probability=failure_probability,
            count_doubtful=count_doubtful,
            callback=callback,
        )
    else:
        if isinstance(callback, Bar):
            callback.doing(f"the dense Hessian of {flat.size} parameters")
        point = _classify_dense(
            flat_fun,
            flat,
            unravel,
            gradient_tolerance=gradient_tolerance,
            eigenvalue_tolerance=eigenvalue_tolerance,
            directions=directions,
            order=order,
            key=key,
            num_starts=num_starts,
            count_doubtful=count_doubtful,
        )
    if not check:
        return point
    size = jnp.max(jnp.abs(point.eigenvalues))
    return dataclasses.replace(point, check=check_derivatives(flat_fun, flat, size, unravel))


def _is_dense_cheap(fun: Callable[[jax.Array], jax.Array], x: jax.Array) -> bool:
    """Whether the Hessian is formed and decomposed in less than about half a minute."""
    if x.size <= _SMALL or x.size > _DENSE:
        return x.size <= _SMALL
    # A product costs some six values: a gradient costs three, and its derivative as much again.
    return 6 * x.size * num_operations(fun, x) <= _DENSE_OPERATIONS


def _classify_dense(
    fun: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    unravel: Callable[[jax.Array], Any],
    *,
    gradient_tolerance: chex.Numeric | None,
    eigenvalue_tolerance: chex.Numeric | None,
    directions: Callable[[jax.Array], jax.Array] | None,
    order: int,
    key: jax.Array | None,
    num_starts: int,
    count_doubtful: bool,
) -> StationaryPoint:
    """Classification by all eigenvalues, and beyond them; `x` is a vector, as `classify` says."""
    # The Hessian's verdict.
    spectrum = dense_spectrum(
        fun,
        x,
        eigenvalue_tolerance=eigenvalue_tolerance,
        directions=None if directions is None else directions(x),
    )
    eps = float(spacing(x.dtype))
    size = jnp.max(jnp.abs(spectrum.eigenvalues))
    if gradient_tolerance is None:
        gradient_tolerance = eps ** (2 / 3) * size * (1 + jnp.max(jnp.abs(x)))
    gradient_tolerance = jnp.asarray(gradient_tolerance, x.dtype)
    gradient_norm = jnp.linalg.norm(spectrum.gradient)
    # A gradient that is NaN is not small.
    kind = kind_by_hessian(spectrum, gradient_norm <= gradient_tolerance)
    tolerance = spectrum.tolerance if count_doubtful else spectrum.doubt
    negative, positive = count_signs(spectrum, tolerance)
    nullity = x.size - negative - positive
    direction = oriented(spectrum.eigenvectors[:, 0])
    rounding = x.size * eps * size
    point = StationaryPoint(
        kind=kind,
        index=negative,
        nullity=nullity,
        eigenvalues=spectrum.eigenvalues,
        min_eigenvalue=spectrum.eigenvalues[0],
        escape_direction=unravel(direction),
        gradient_norm=gradient_norm,
        gradient_tolerance=gradient_tolerance,
        eigenvalue_tolerance=tolerance,
        kind_tolerance=spectrum.doubt,
        min_eigenvalue_error=rounding,
        eigenvalue_errors=jnp.full(x.shape, rounding),
        min_eigenvalue_bound=spectrum.eigenvalues[0] - rounding,
        failure_probability=jnp.zeros((), x.dtype),
        kantorovich=spectrum.kantorovich,
        hessian_lipschitz=spectrum.lipschitz,
        null_space_residual=spectrum.known_residual,
        null_space_used=jnp.any(spectrum.known),
        finite=jnp.all(jnp.isfinite(spectrum.eigenvalues)) & jnp.isfinite(gradient_norm),
    )
    if order == 2:
        return point

    # Where it leaves the point undecided, what higher derivatives and values say.
    look_further = _batching.update_where(
        lambda _, x, spectrum, tolerance: examine(
            fun,
            x,
            spectrum,
            eigenvalue_tolerance=eigenvalue_tolerance,
            gradient_tolerance=tolerance,
            directions=directions,
            key=key,
            num_starts=num_starts,
        ),
        block=_BLOCK,
    )
    unexamined = Examined(kind, negative, nullity, direction, no_evidence(x, kind))
    try:
        found = look_further(kind == Kind.DEGENERATE, unexamined, x, spectrum, gradient_tolerance)
    except (TypeError, NotImplementedError) as error:
        if not _krylov.is_forward_refused(error):
            raise
        raise TypeError(
            "order must be 2 for this fun: order 4 differentiates forward, which its "
            "jax.custom_vjp rules do not allow"
        ) from error
    return dataclasses.replace(
        point,
        kind=found.kind,
        index=found.index,
        nullity=found.nullity,
        escape_direction=unravel(found.escape_direction),
        evidence=dataclasses.replace(
            found.evidence,
            descent_point=unravel(found.evidence.descent_point),
            base=unravel(found.evidence.base),
        ),
    )


def min_eigenvalue(fun: Objective, x: chex.ArrayTree) -> jax.Array:
    """The smallest eigenvalue of the Hessian of `fun` at `x`, from the dense Hessian.

    Args:
        fun: The objective, from parameters to a scalar.
        x: A pytree of real floating arrays.

    Returns:
        A scalar in the precision of the parameters, float32 at least.

    Raises:
        TypeError: if the parameters are not real floating, or the objective is not a function.
        ValueError: if there are no parameters, or the objective's value is not a scalar.
        MemoryError: if the Hessian will not fit; not within `jit`.

    Example:
        >>> print(min_eigenvalue(lambda x: x[0] ** 2 - 3 * x[1] ** 2, jnp.zeros(2)))
        -6.0
    """
    inspect_objective("fun", fun, x)
    flat, unravel = _krylov.flatten_wide(x)
    return jnp.linalg.eigvalsh(dense_hessian(lambda flat: fun(unravel(flat)), flat))[0]


def flat_directions(
    null_space: Any, x: chex.ArrayTree, unravel: Callable[[jax.Array], Any]
) -> Callable[[jax.Array], jax.Array]:
    """Turn what `classify` takes as `null_space` into a function from a vector to rows.

    Raises:
        ValueError: if the tangents' structure or shapes do not fit those of `x`.
    """
    structure = jax.tree.structure(x)

    def rows(flat):
        tangents = null_space(unravel(flat)) if callable(null_space) else null_space
        shapes = [jnp.shape(leaf)[1:] for leaf in jax.tree.leaves(tangents)]
        counts = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(tangents)}
        expected = [jnp.shape(leaf) for leaf in jax.tree.leaves(x)]
        if jax.tree.structure(tangents) != structure or shapes != expected or len(counts) != 1:
            raise ValueError(
                "null_space must be tangent vectors: a pytree like x with one leading axis more in "
                f"each leaf, of the same length; got {shapes_of(tangents)} for x of {shapes_of(x)}"
            )
        return jax.vmap(lambda tangent: _krylov.ravel(tangent)[0])(tangents).astype(flat.dtype)

    return rows
