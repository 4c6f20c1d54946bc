r"""Classification by the smallest eigenvalues alone, for Hessians too large to be formed.

They come with a certificate on both sides.

From above, by what was found: every eigenvalue below is a Rayleigh quotient of orthonormal vectors,
hence (Courant and Fischer) the j-th smallest eigenvalue of the Hessian is at most the j-th one
here, converged or not; where the residual norm is r, some eigenvalue lies within r of it.

From below, by what could have been missed: the search starts with a plain Lanczos run from a
uniformly random vector, and `lower_bound <= lambda_min` but for a stated probability over that
vector (`_krylov/_bounds.py`). The restarts that follow improve the eigenpairs, not that bound.

Directions in `null_basis` are taken out first: everything is about P H P on their complement.

Beside a stationary point the signs are doubted as `_dense.py` says, by the same number. That takes
the length of the Newton step within the eigenvectors of the eigenvalues no smaller than `|lambda|`,

    delta(|lambda|)^2 = sum over |lambda_j| >= |lambda| of (v_j . g / lambda_j)^2.

For the eigenpairs found it is computed as it stands. What of g is orthogonal to them starts a
second Lanczos run, whose Ritz values and weights are a quadrature for the rest of the sum.
"""

import math
from collections.abc import Callable
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, jaxprs_in_params

from jaxopt_course import _krylov, _loops
from jaxopt_course._brief import brief
from jaxopt_course._memory import check_rows
from jaxopt_course._platforms import spacing
from jaxopt_course._streams import stream
from jaxopt_course.saddle._curvature import CurvatureProgress, Listening
from jaxopt_course.saddle._dense import (
    TRUSTED,
    oriented,
    orthonormal_rows,
    third_derivative_size,
)
from jaxopt_course.saddle._point import Kind, StationaryPoint

# Products that measure the gradient's components along eigenvalues that were not found.
_GRADIENT_STEPS = 40


@flax.struct.dataclass
class SmallestSpectrum:
    """The lower end of a Hessian's spectrum; under `vmap` every field has a leading axis.

    Attributes:
        eigenvalues: Shape (k,), ascending; the j-th is at least the Hessian's j-th smallest, up to
            `precision_floor`.
        residual_norms: Shape (k,); |H v - lambda v|, by a fresh product.
        eigenvectors: Shape (k, n); orthonormal rows, flat in the order of `ravel_pytree(x)`.
        converged: Shape (k,), bool; residual within the tolerance, relative to |H|.
        largest: Scalar; the largest Ritz value, at most the largest eigenvalue.
        lower_bound: Scalar; at most the smallest eigenvalue, with probability
            1 - failure_probability over the start vector; `precision_floor` is subtracted already.
            The bound of van Dorsselaer, Hochstenbach and van der Vorst; the smallest eigenvalue
            itself where the whole matrix was diagonalized.
        kuczynski_wozniakowski_bound: Scalar; the same with the same probability by the bound of
            Kuczynski and Wozniakowski, which does not use the run's own spectrum and is weaker;
            -inf where the run was too short for it to say anything.
        precision_floor: Scalar; rounding error of the eigenvalues, measured in the first run. An
            eigenvalue smaller than this has no sign.
        num_products: Scalar int; Hessian-vector products used in all.
        finite: Scalar bool; False if the Hessian has an infinite or NaN entry. Nothing is
            converged then, and the bounds are NaN.
    """

    eigenvalues: jax.Array
    residual_norms: jax.Array
    eigenvectors: jax.Array
    converged: jax.Array
    largest: jax.Array
    lower_bound: jax.Array
    kuczynski_wozniakowski_bound: jax.Array
    precision_floor: jax.Array
    num_products: jax.Array
    finite: jax.Array


def smallest_spectrum(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    key: jax.Array,
    k: int = 1,
    num_steps: int = 80,
    max_products: int = 2_000,
    tolerance: float | None = None,
    failure_probability: float = 1e-3,
    null_basis: jax.Array | None = None,
    check_copies: bool | None = None,
    inner_by_sign: bool = False,
    callback: Callable[[CurvatureProgress], Any] | None = None,
) -> SmallestSpectrum:
    """Find the k smallest eigenvalues of the Hessian of `fun` at `x`, and what can be below them.

    Args:
        fun: Objective from a pytree of parameters to a scalar.
        x: The parameters, n numbers in all.
        key: Typed PRNG key.
        k: Eigenpairs wanted, at most the dimension of the space searched.
        num_steps: Steps of the plain run that the lower bound comes from, and rows of the basis
            that is restarted: memory for `(num_steps + rows of null_basis) n` numbers. Where they
            span everything, the Hessian is formed and diagonalized.
        max_products: Hessian-vector products at which the restarts end at the latest.
        tolerance: Residual norm to reach, relative to |H|; eps^0.6 by default.
        failure_probability: Of `lower_bound`, over the random start.
        null_basis: Shape (m, n), orthonormal rows to project out (zero rows do nothing); None for
            none.
        check_copies: Whether to search again for missing copies of multiple eigenvalues, for about
            twice the products. By default only for k > 1: the smallest value itself is right
            without.
        inner_by_sign: Whether of all but the smallest the sign is enough.
        callback: As in `extreme_eigenpairs`.

    Returns:
        The eigenpairs and the bounds.

    Raises:
        ValueError: if `k`, `num_steps` or `max_products` is too small or too large, or `null_basis`
            has not n columns.

    Example:
        >>> found = smallest_spectrum(
        ...     lambda x: jnp.sum(x[1:] ** 2) / 2 - x[0] ** 2, jnp.zeros(300), key=jax.random.key(0)
        ... )
        >>> print(found.eigenvalues.round(3), found.lower_bound.round(2))
        [-2.] -2.0
    """
    flat, _ = _krylov.flatten(x)
    if null_basis is None:
        null_basis = jnp.zeros((0, flat.size), flat.dtype)
    null_basis = jnp.asarray(null_basis, flat.dtype)
    if null_basis.ndim != 2 or null_basis.shape[1] != flat.size:
        raise ValueError(
            f"null_basis must have shape (rows, {flat.size}), the number of parameters; "
            f"got {null_basis.shape}"
        )
    if not 0 < failure_probability < 1:
        raise ValueError(
            f"failure_probability must lie in (0, 1), got {brief(failure_probability)}"
        )
    if num_steps < k + 2:
        raise ValueError(f"num_steps must be at least k + 2 = {k + 2}, got {num_steps}")
    if max_products < num_steps:
        raise ValueError(f"max_products must be at least {num_steps}, got {max_products}")

    _, operator = _krylov.flat_hessian(fun, x)
    with Listening(callback, max_products) as listening:
        pairs = _krylov.extreme_eigenpairs(
            listening.counting(operator),
            jnp.zeros_like(flat),
            num_smallest=k,
            key=key,
            tolerance=tolerance,
            basis_size=num_steps,
            # A restart replaces about two thirds of the basis.
            max_restarts=3 * (max_products - num_steps) // (2 * num_steps),
            check_copies=k > 1 if check_copies is None else check_copies,
            inner_by_sign=inner_by_sign,
            locked=null_basis,
            report=listening.report,
        )
    # Rows of `null_basis` lower the dimension, and raise the bounds by nothing to speak of.
    return _judged(pairs, flat.size, failure_probability)


def _judged(
    pairs: _krylov.Eigenpairs, dimension: int, failure_probability: float
) -> SmallestSpectrum:
    """Add the bounds to the eigenpairs."""
    smallest = pairs.eigenvalues[0]
    if isinstance(pairs.evidence, _krylov.Projection):
        run = pairs.evidence
        ritz = jnp.linalg.eigvalsh(run.projected)
        largest = ritz[-1]
        floor = _krylov.rounding_level(run.projected)
        bound = _krylov.smallest_eigenvalue_bound(
            *run, dimension=dimension, failure_probability=failure_probability
        )
        # Both ends of the run bound the width of the spectrum, and share the probability.
        error = _krylov.kuczynski_wozniakowski_error(
            ritz.shape[0], dimension, failure_probability / 2
        )
        width = (ritz[-1] - ritz[0]) / (1 - 2 * error) if error < 0.5 else jnp.inf
        weaker = ritz[0] - error * width
    else:
        floor = spacing(smallest.dtype) * pairs.operator_norm
        largest = pairs.evidence[-1]
        bound = weaker = smallest
    return SmallestSpectrum(
        eigenvalues=pairs.eigenvalues,
        residual_norms=pairs.residual_norms,
        eigenvectors=pairs.eigenvectors,
        converged=pairs.converged,
        largest=largest,
        # What the restarts found has the last word: it may have disproved the bound.
        lower_bound=jnp.minimum(bound, smallest) - floor,
        kuczynski_wozniakowski_bound=jnp.minimum(weaker, smallest) - floor,
        precision_floor=floor,
        num_products=pairs.num_products,
        finite=jnp.isfinite(pairs.operator_norm) & jnp.all(jnp.isfinite(pairs.residual_norms)),
    )


def classify_matrix_free(
    fun: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    unravel: Callable[[jax.Array], Any],
    *,
    gradient_tolerance: chex.Numeric | None,
    eigenvalue_tolerance: chex.Numeric | None,
    directions: Callable[[jax.Array], jax.Array] | None,
    key: jax.Array,
    num_eigenvalues: int,
    failure_probability: float,
    count_doubtful: bool,
    callback: Callable[[CurvatureProgress], Any] | None,
) -> StationaryPoint:
    """Do what `classify` does; `x` is a vector, and `directions` maps it to vectors, (k, n)."""
    eps = float(spacing(x.dtype))
    num_steps = max(80, num_eigenvalues + 2)
    check_rows(num_steps, x, "`extreme_eigenpairs` with a small basis_size needs less")
    gradient, operator = _krylov.flat_hessian(fun, x)
    gradient_norm = jnp.linalg.norm(gradient)
    # Directions that are flat by symmetry, unless the Hessian contradicts.
    known_residual = jnp.zeros((), x.dtype)
    basis = None
    if directions is not None:
        basis = orthonormal_rows(directions(x))
        known_residual = jnp.max(jnp.linalg.norm(_loops.map(operator, basis), axis=1), initial=0)
        # |H| is not known yet; a random vector's image is of its order, divided by sqrt(n).
        probe = jax.random.normal(stream(key, "norm"), x.shape, x.dtype)
        bound = jnp.linalg.norm(operator(probe))
        flat = known_residual <= eps**0.5 * bound + 10 * gradient_norm
        basis = jnp.where(flat, basis, 0)
    # The smallest eigenvalues, and the tolerances that the size of the spectrum suggests.
    found = smallest_spectrum(
        fun,
        x,
        key=key,
        k=num_eigenvalues,
        num_steps=num_steps,
        failure_probability=failure_probability,
        null_basis=basis,
        inner_by_sign=True,
        callback=callback,
    )
    values = found.eigenvalues
    size = jnp.maximum(jnp.max(jnp.abs(values)), jnp.abs(found.largest))
    if gradient_tolerance is None:
        gradient_tolerance = eps ** (2 / 3) * size * (1 + jnp.max(jnp.abs(x)))
    trusting = eigenvalue_tolerance is not None
    if not trusting:
        eigenvalue_tolerance = jnp.maximum(eps**0.5 * size, found.precision_floor)
    tolerance = jnp.asarray(eigenvalue_tolerance, x.dtype)
    gradient_tolerance = jnp.asarray(gradient_tolerance, x.dtype)
    # Not ">": a gradient that is NaN is not small.
    stationary = gradient_norm <= gradient_tolerance

    # Signs that may be others at the stationary point.
    ends = jnp.append(values, found.largest)
    lipschitz, numbers = jnp.full((), jnp.nan, x.dtype), jnp.full_like(ends, jnp.nan)
    doubted = jnp.zeros(ends.shape, bool)
    if not trusting:
        lipschitz, numbers = _choose(
            stationary,
            lambda: _kantorovich_numbers(
                fun, x, gradient, operator, found, ends, tolerance, basis, stream(key, "doubt")
            ),
            lambda: (lipschitz, numbers),
        )
        doubted = numbers > TRUSTED
    doubt = jnp.maximum(tolerance, jnp.max(jnp.where(doubted, jnp.abs(ends), 0)))
    smallest, largest = jnp.where((jnp.abs(ends) <= doubt), 0, ends)[jnp.array([0, -1])]
    # A minimum needs a lower bound that is positive, a maximum the largest Ritz value alone.
    kind = jnp.select(
        [
            ~stationary,
            (smallest < 0) & (largest > 0),
            (smallest > 0) & (found.lower_bound > 0),
            largest < 0,
        ],
        [Kind.NOT_STATIONARY, Kind.STRICT_SADDLE, Kind.MINIMUM, Kind.MAXIMUM],
        Kind.DEGENERATE,
    )
    if not count_doubtful:
        tolerance = doubt
    return StationaryPoint(
        kind=kind.astype(jnp.int32),
        index=jnp.sum(values < -tolerance).astype(jnp.int32),
        nullity=jnp.sum(jnp.abs(values) <= tolerance).astype(jnp.int32),
        eigenvalues=values,
        min_eigenvalue=values[0],
        escape_direction=unravel(oriented(found.eigenvectors[0])),
        gradient_norm=gradient_norm,
        gradient_tolerance=gradient_tolerance,
        eigenvalue_tolerance=tolerance,
        kind_tolerance=doubt,
        min_eigenvalue_error=found.residual_norms[0] + found.precision_floor,
        eigenvalue_errors=found.residual_norms + found.precision_floor,
        min_eigenvalue_bound=found.lower_bound,
        failure_probability=jnp.asarray(failure_probability, x.dtype),
        kantorovich=jnp.max(numbers),
        hessian_lipschitz=lipschitz,
        null_space_residual=known_residual,
        null_space_used=jnp.asarray(basis is not None) & jnp.any(basis != 0),
        finite=found.finite & jnp.isfinite(gradient_norm),
    )


def _choose(predicate: jax.Array, taken: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """`lax.cond`, which outside `jit` would be compiled anew for every function it closes over."""
    if isinstance(predicate, jax.core.Tracer):
        return jax.lax.cond(predicate, taken, otherwise)
    return taken() if predicate else otherwise()


def _kantorovich_numbers(
    fun: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    gradient: jax.Array,
    operator: Callable[[jax.Array], jax.Array],
    found: SmallestSpectrum,
    eigenvalues: jax.Array,
    tolerance: jax.Array,
    null_basis: jax.Array | None,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The size of the third derivative, and `rho delta / |lambda|` of each of some eigenvalues.

    Where a bound on the numbers, `rho |g| / lambda^2`, leaves no doubt, they are that bound.
    """
    sizes = jnp.abs(eigenvalues)
    regular = sizes > tolerance
    safe = jnp.where(regular, sizes, 1)
    taken = found.eigenvectors
    if null_basis is not None:
        taken = jnp.concatenate([taken, null_basis])
        gradient = gradient - (null_basis @ gradient) @ null_basis
    lipschitz = third_derivative_size(fun, x)
    bounds = jnp.linalg.norm(gradient) / safe

    def by_components() -> jax.Array:
        components = found.eigenvectors @ gradient
        rest = gradient - components @ found.eigenvectors

        def outside(vector: jax.Array) -> jax.Array:
            image = operator(vector - (taken @ vector) @ taken)
            return image - (taken @ image) @ taken

        run = _krylov.lanczos(outside, rest, num_steps=_GRADIENT_STEPS, key=key)
        nodes, vectors = jnp.linalg.eigh(run.projected)
        nodes = jnp.append(found.eigenvalues, nodes)
        squares = jnp.append(components**2, jnp.sum(rest**2) * vectors[0] ** 2)
        counted = jnp.abs(nodes)[None, :] >= jnp.maximum(sizes, tolerance)[:, None]
        steps = squares / jnp.where(nodes != 0, nodes, 1) ** 2
        return jnp.sqrt(jnp.sum(jnp.where(counted, steps[None, :], 0), axis=1))

    doubtful = jnp.any(regular & (lipschitz * bounds / safe > TRUSTED))
    lengths = _choose(doubtful, by_components, lambda: bounds)
    return lipschitz, jnp.where(regular, lipschitz * lengths / safe, 0)


def num_operations(fun: Callable[[jax.Array], jax.Array], x: jax.Array) -> int:
    """About how many arithmetic operations a value of `fun` takes, read off its trace.

    Matrix products and convolutions count with their multiplications and additions, all else with
    the size of the result; of a loop without a known length one round is counted.

    Example:
        >>> num_operations(lambda x: x @ (jnp.ones((3, 3)) @ x), jnp.ones(3))
        33
    """
    return _operations(jax.make_jaxpr(fun)(x).jaxpr)


def _operations(jaxpr: Jaxpr) -> int:
    """About how many arithmetic operations the equations of a jaxpr take."""
    total = 0
    for equation in jaxpr.eqns:
        inner = [_operations(inner) for inner in jaxprs_in_params(equation.params)]
        size = sum(math.prod(getattr(out.aval, "shape", ())) for out in equation.outvars)
        name = equation.primitive.name
        shapes = [getattr(into.aval, "shape", ()) for into in equation.invars]
        if inner:
            rounds = equation.params.get("length", 1) if name == "scan" else 1
            total += rounds * (max(inner) if name == "cond" else sum(inner))
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * size * math.prod(shapes[0][axis] for axis in contracted)
        elif name == "conv_general_dilated":
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += 2 * size * math.prod(shapes[1]) // max(shapes[1][features], 1)
        else:
            total += size
    return total
