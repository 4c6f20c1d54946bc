r"""The spectrum of a dense Hessian, and how much of it can be trusted beside a stationary point.

A point that an iteration has left a little beside a stationary point has the Hessian of the wrong
place: what is zero there is small here, of either sign. Kantorovich's number of the Newton step

    h = rho |H^-1| |H^-1 g|,      rho a Lipschitz constant of the Hessian,

measures that without any scale: h <= 1/4 means that the Hessian changes by at most a quarter of its
smallest eigenvalue on the way (x^n has h = (n-2)/(n-1) wherever one stands). It is asked here of
each eigenvalue in turn, the largest first: with delta_i the length of the Newton step within the
eigenvectors of the eigenvalues no smaller than `|lambda_i|`,

    lambda_i has its sign at the stationary point too if     rho delta_i <= |lambda_i| / 4,

and counts as zero for the kind of the point otherwise. As `|lambda_i|` falls, delta_i grows: who
fails has only smaller ones behind, and these fail too.

Kantorovich and Akilov (1982), Functional Analysis, chapter XVIII.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov, _loops
from jaxopt_course._memory import check_rows
from jaxopt_course._platforms import spacing
from jaxopt_course.saddle._point import DerivativeCheck, Kind

FlatFunction = Callable[[jax.Array], jax.Array]

# Beyond this dimension `jax.hessian`, which holds all columns' intermediates at once, takes several
# times the memory and twice the time of columns in chunks.
_CHUNKED = 500
# Random pairs of directions that estimate the size of the third derivative.
_PROBES = 4
# Dimension beyond which they are no constants of the program.
_DRAWN = 10_000
# Directions in which derivatives are compared with differences, and how many rounding errors of
# what is subtracted the two may be apart.
_COMPARED, _ROUNDINGS = 4, 100
# Largest Kantorovich number at which an eigenvalue's sign is believed.
TRUSTED = 0.25


class Spectrum(NamedTuple):
    """Gradient and Hessian at a point, with directions that are flat by invariance taken out.

    Attributes:
        gradient: Shape (n,).
        eigenvalues: Ascending, shape (n,); zero for the directions taken out.
        eigenvectors: Shape (n, n), column j belongs to `eigenvalues[j]`.
        known: Shape (n,), bool; which eigenvectors span the directions taken out.
        known_residual: Scalar; largest |H q| over unit directions offered, 0 without any.
        tolerance: Scalar; the largest |eigenvalue| that is zero up to rounding, or by request.
        doubt: Scalar; the largest that counts as zero for the kind: `tolerance`, or more where
            Kantorovich's number leaves the sign at the stationary point open.
        lipschitz: Scalar; estimate (Frobenius norm of the third derivative) of rho.
        kantorovich: Scalar; largest h of an eigenvalue above the tolerance first asked for.
    """

    gradient: jax.Array
    eigenvalues: jax.Array
    eigenvectors: jax.Array
    known: jax.Array
    known_residual: jax.Array
    tolerance: jax.Array
    doubt: jax.Array
    lipschitz: jax.Array
    kantorovich: jax.Array


def dense_hessian(fun: FlatFunction, x: jax.Array) -> jax.Array:
    """Form the Hessian of a function of one vector, shape (n, n).

    Raises:
        MemoryError: if that and its eigenvectors will not fit.
    """
    check_rows(x.size, x, 'matrix-free methods need less: method="lanczos"')
    with jax.default_matmul_precision("highest"):
        if x.size <= _CHUNKED:
            try:
                return jax.hessian(fun)(x)
            except (TypeError, NotImplementedError) as error:
                if not _krylov.is_forward_refused(error):
                    raise
        _, operator = _krylov.flat_hessian(fun, x)
        return _krylov.dense(operator, x.size, x.dtype)


def dense_spectrum(
    fun: FlatFunction,
    x: jax.Array,
    *,
    eigenvalue_tolerance: chex.Numeric | None,
    directions: jax.Array | None,
) -> Spectrum:
    """Decompose the Hessian at `x` and say which eigenvalues are zero.

    Args:
        fun: Function of a vector of shape (n,).
        x: Where, shape (n,).
        eigenvalue_tolerance: Taken as it is, without doubt; by default `eps**(1/2) * |H|`, and the
            doubt is the largest eigenvalue that Kantorovich's number does not let one trust.
        directions: Shape (k, n), flat by invariance; taken out if they are flat.
    """
    eps = float(spacing(x.dtype))
    gradient = jax.grad(fun)(x)
    hessian = dense_hessian(fun, x)
    known_residual = jnp.zeros((), x.dtype)
    if directions is None:
        eigenvalues, eigenvectors = jnp.linalg.eigh(hessian)
        known = jnp.zeros(x.shape, bool)
    else:
        basis = orthonormal_rows(directions)
        images = basis @ hessian
        # At a stationary point H q = 0; beside it, by differentiating the invariance,
        # |H q| is at most of the gradient's size.
        known_residual = jnp.max(jnp.linalg.norm(images, axis=1), initial=0)
        bound = jnp.linalg.norm(hessian)
        slack = eps**0.5 * bound + 10 * jnp.linalg.norm(gradient)
        bound = jnp.where(bound > 0, bound, 1)
        basis = jnp.where(known_residual <= slack, basis, 0)
        # Project the directions out, then lift them above everything else: the last ones are they.
        projector = jnp.eye(x.size, dtype=x.dtype) - basis.T @ basis
        lifted = projector @ hessian @ projector + 3 * bound * basis.T @ basis
        eigenvalues, eigenvectors = jnp.linalg.eigh((lifted + lifted.T) / 2)
        known = eigenvalues > 2 * bound
        order = jnp.argsort(jnp.where(known, 0, eigenvalues))
        eigenvalues = jnp.where(known, 0, eigenvalues)[order]
        eigenvectors, known = eigenvectors[:, order], known[order]

    size = jnp.max(jnp.abs(eigenvalues))
    trusting = eigenvalue_tolerance is not None
    tolerance = eigenvalue_tolerance if trusting else eps**0.5 * size
    tolerance = jnp.asarray(tolerance, x.dtype)
    lipschitz = third_derivative_size(fun, x)
    h = _kantorovich_numbers(eigenvalues, eigenvectors.T @ gradient, lipschitz, tolerance)
    doubtful = jnp.where((h > TRUSTED) & (not trusting), jnp.abs(eigenvalues), 0)
    return Spectrum(
        gradient=gradient,
        eigenvalues=eigenvalues,
        eigenvectors=eigenvectors,
        known=known,
        known_residual=known_residual,
        tolerance=tolerance,
        doubt=jnp.maximum(tolerance, jnp.max(doubtful)),
        lipschitz=lipschitz,
        kantorovich=jnp.max(h),
    )


def count_signs(spectrum: Spectrum, tolerance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How many eigenvalues are negative, and how many positive, beyond a tolerance; int32."""
    negative = jnp.sum(spectrum.eigenvalues < -tolerance)
    positive = jnp.sum(spectrum.eigenvalues > tolerance)
    return negative.astype(jnp.int32), positive.astype(jnp.int32)


def kind_by_hessian(spectrum: Spectrum, stationary: jax.Array) -> jax.Array:
    """The kind of a point as far as the Hessian decides it, doubtful eigenvalues being zero."""
    negative, positive = count_signs(spectrum, spectrum.doubt)
    asked = spectrum.known.size - jnp.sum(spectrum.known)
    kind = jnp.select(
        [
            ~stationary,
            (negative > 0) & (positive > 0),
            (positive == asked) & (asked > 0),
            (negative == asked) & (asked > 0),
        ],
        [Kind.NOT_STATIONARY, Kind.STRICT_SADDLE, Kind.MINIMUM, Kind.MAXIMUM],
        Kind.DEGENERATE,
    )
    return kind.astype(jnp.int32)


def orthonormal_rows(rows: jax.Array) -> jax.Array:
    """Return orthonormal rows that span the same space; as many as it takes, then zero rows.

    Directions may be linearly dependent at one point and not at another.
    """
    norms = jnp.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / jnp.where(norms > 0, norms, 1)
    _, sizes, basis = jnp.linalg.svd(rows, full_matrices=False)
    threshold = 10 * max(rows.shape) * spacing(rows.dtype)
    return jnp.where((sizes > threshold)[:, None], basis, 0)


def oriented(vector: jax.Array) -> jax.Array:
    """Return the vector or its opposite: that whose largest component is positive."""
    return vector * jnp.where(vector[jnp.argmax(jnp.abs(vector))] < 0, -1, 1)


def unit_vectors(count: int, dimension: int) -> np.ndarray:
    """Return vectors spread over the sphere, shape (count, dimension), the same at every call.

    Constants: a random generator in the program would take longer to compile than all the rest.
    """
    vectors = np.random.default_rng(0).normal(size=(count, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def third_derivative_size(fun: FlatFunction, x: jax.Array) -> jax.Array:
    """The Frobenius norm of the third derivative of `fun` at `x`, estimated.

    For independent directions u, v with `E[u u^T] = E[v v^T] = I` the mean of
    `|D^3 f(x)[u, v, .]|^2` is the square of that norm. The directions are the same at every point.

    NaN where `jax.custom_vjp` rules in `fun` rule forward mode out: the estimate is not to be had.
    """

    def product(u, v):
        def hessian_times_v(point):
            return jax.jvp(jax.grad(fun), (point,), (v,))[1]

        return jax.jvp(hessian_times_v, (x,), (u,))[1]

    def squared_norm(key):
        u, v = jax.random.normal(key, (2, x.size), x.dtype)
        return jnp.sum(jnp.square(product(u, v)))

    try:
        if x.size > _DRAWN:
            squares = _loops.map(squared_norm, jax.random.split(jax.random.key(0), _PROBES))
            return jnp.sqrt(jnp.sum(squares) / _PROBES)
        pairs = jnp.asarray(x.size**0.5 * unit_vectors(2 * _PROBES, x.size), x.dtype)
        pairs = pairs.reshape(2, _PROBES, x.size)
        return jnp.sqrt(jnp.sum(jnp.square(jax.vmap(product)(*pairs))) / _PROBES)
    except (TypeError, NotImplementedError) as error:
        if not _krylov.is_forward_refused(error):
            raise
        return jnp.full((), jnp.nan, x.dtype)


def check_derivatives(
    fun: FlatFunction, x: jax.Array, size: jax.Array, unravel: Callable[[jax.Array], Any]
) -> DerivativeCheck:
    """Derivatives of `fun` at `x` beside differences, in directions that are the same every time.

    With central differences over h and h / 2, that of a smooth function over h / 2 is wrong by a
    third of their distance; they may part by the whole of it, and by rounding. At a kink the
    differences do not approach each other, or approach something else, and part by more.

    Args:
        fun: Function of a vector of shape (n,).
        x: Where, shape (n,).
        size: Scalar; |H|, as far as known.
        unravel: From such a vector to the parameters.
    """
    eps = float(spacing(x.dtype))
    scale = 1 + jnp.max(jnp.abs(x))
    step = eps ** (1 / 3) * scale
    directions = jnp.asarray(unit_vectors(_COMPARED, x.size), x.dtype)
    value_and_grad = jax.value_and_grad(fun)
    value = jnp.abs(fun(x))
    gradient, operator = _krylov.flat_hessian(fun, x)
    slopes = size * scale + jnp.linalg.norm(gradient)

    def differences(direction, step):
        (up, upward), (down, downward) = (
            value_and_grad(x + sign * step * direction) for sign in (1, -1)
        )
        return (up - down) / (2 * step), (upward - downward) / (2 * step)

    def compare(direction):
        slope, image = differences(direction, step)
        finer_slope, finer_image = differences(direction, step / 2)
        rounding = 2 * _ROUNDINGS * eps / step
        apart = jnp.abs(finer_image - operator(direction))
        return (
            jnp.abs(finer_slope - gradient @ direction),
            jnp.abs(slope - finer_slope) + rounding * (value + slopes * scale),
            jnp.linalg.norm(apart),
            jnp.linalg.norm(image - finer_image) + rounding * slopes,
            apart,
        )

    slope, slope_allowed, image, image_allowed, apart = _loops.map(compare, directions)
    return DerivativeCheck(
        # Not ">": what is NaN does not agree.
        gradient_agrees=jnp.all(slope <= slope_allowed),
        hessian_agrees=jnp.all(image <= image_allowed),
        gradient_difference=jnp.max(slope),
        hessian_difference=jnp.max(image),
        where=unravel(jnp.max(apart, axis=0)),
    )


def _kantorovich_numbers(
    eigenvalues: jax.Array, components: jax.Array, lipschitz: jax.Array, tolerance: jax.Array
) -> jax.Array:
    """Return `rho delta_i / |lambda_i|` for every eigenvalue above the tolerance, 0 for others."""
    sizes = jnp.abs(eigenvalues)
    regular = sizes > tolerance
    safe = jnp.where(regular, sizes, 1)
    steps = jnp.where(regular, jnp.square(components / safe), 0)
    no_smaller = sizes[None, :] >= sizes[:, None]
    lengths = jnp.sqrt(no_smaller.astype(steps.dtype) @ steps)
    return jnp.where(regular, lipschitz * lengths / safe, 0)
