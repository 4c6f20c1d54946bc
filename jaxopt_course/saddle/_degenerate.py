r"""What a stationary point is where the Hessian is semidefinite and singular.

The function is reduced to the null space of the Hessian (`_reduced.py`) and two questions are
asked: is 0 a minimum of the reduced function g, and is it one of the reduced function of -f?

    some c3(u) != 0                          no: g falls along u or along -u
    c3 = 0, some c4(u) < 0                   no
    c3 = 0, all c4(u) > 0                    yes
    g falls on every small sphere, like a power of its radius        no, whatever the order
    g is constant up to rounding, up to a radius of order one        yes: a manifold of minima
    otherwise                                not decided

A "no" is given only with a point at hand where f is lower, beyond rounding. A "yes" rests on a
search for the minimum of c4 over a sphere, from finitely many starts: it is evidence, not a proof
(a form of order four is NP-hard to minimise), and so is flatness in all directions tried: in
`x**2 - exp(-(100 / y)**2)` no computation sees the way down. In single precision too little is
visible to tell flat from `x**2 - y**8`, and no point is called flat.

On the 37 polynomials and exponentials in two variables of `tests/saddle/test_degenerate.py`, whose
truth at the origin is known, in double precision:

                                                              right    undecided    wrong
    Hessian, eigenvalue tolerance 1e-6                            5           32        0
      the same 1e-4 beside the stationary point                   5           24        8
    order 4                                                      31            6        0
      the same 1e-4 beside the stationary point                  31            4        2

The last two have a cubic term that shows at distances below 1e-3 only: the minimum next to it is
as close.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxopt_course.saddle._dense import Spectrum, dense_spectrum, kind_by_hessian, unit_vectors
from jaxopt_course.saddle._kind import Kind
from jaxopt_course.saddle._minimality import NUM_SPHERES, judge_minimum
from jaxopt_course.saddle._reduced import Frame, follow, unit

# Newton steps that take the point to where the gradient vanishes in the non-zero directions.
_SETTLE = 20


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


class Examined(NamedTuple):
    """What `examine` found: what replaces the Hessian's verdict, and why; flat vectors."""

    kind: jax.Array
    index: jax.Array
    nullity: jax.Array
    escape_direction: jax.Array
    evidence: Evidence


def no_evidence(x: jax.Array, kind: jax.Array) -> Evidence:
    """Return the evidence where nothing was examined: the Hessian decided, or x is no candidate."""
    zero = jnp.zeros((), x.dtype)
    decided = (kind != Kind.NOT_STATIONARY) & (kind != Kind.DEGENERATE)
    return Evidence(
        order=jnp.where(decided, 2, 0).astype(jnp.int32),
        cubic_minimum=zero,
        quartic_minimum=zero,
        quartic_maximum=zero,
        radii=jnp.zeros(NUM_SPHERES, x.dtype),
        sphere_minimum=jnp.zeros(NUM_SPHERES, x.dtype),
        sphere_maximum=jnp.zeros(NUM_SPHERES, x.dtype),
        flat=jnp.zeros((), bool),
        descent=zero,
        descent_point=x,
        base=x,
    )


def examine(
    fun: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    spectrum: Spectrum,
    *,
    eigenvalue_tolerance: chex.Numeric | None,
    gradient_tolerance: jax.Array,
    directions: Callable[[jax.Array], jax.Array] | None,
    key: jax.Array | None,
    num_starts: int,
) -> Examined:
    """Decide what `x` is beyond its Hessian.

    Args:
        fun: Function of a vector of shape (n,).
        x: A stationary point, shape (n,).
        spectrum: Of the Hessian there.
        eigenvalue_tolerance: As in `dense_spectrum`.
        gradient_tolerance: Largest gradient norm of a stationary point.
        directions: From a point to its flat directions, shape (k, n).
        key: Draws the directions in which searches begin; None for fixed ones.
        num_starts: How many.
    """
    base = _settled(fun, x, spectrum)
    spectrum = dense_spectrum(
        fun,
        base,
        eigenvalue_tolerance=eigenvalue_tolerance,
        directions=None if directions is None else directions(base),
    )
    stationary = jnp.linalg.norm(spectrum.gradient) <= gradient_tolerance
    kind, negative, positive = kind_by_hessian(spectrum, stationary)
    null = ~spectrum.known & (jnp.abs(spectrum.eigenvalues) <= spectrum.tolerance)
    regular = ~spectrum.known & ~null
    if key is None:
        starts = jnp.asarray(unit_vectors(num_starts, x.size), x.dtype)
    else:
        starts = jax.random.normal(key, (num_starts, x.size), x.dtype)
    starts = jax.vmap(lambda start: unit(start * null))(starts)

    def judge(sign):
        return judge_minimum(
            lambda point: sign * fun(point),
            base,
            sign * spectrum.eigenvalues,
            spectrum.eigenvectors,
            null,
            regular,
            starts,
        )

    up, down = (
        jax.tree.map(lambda leaf, i=i: leaf[i], jax.vmap(judge)(jnp.asarray([1, -1], x.dtype)))
        for i in range(2)
    )
    # Second order comes first: a direction of the wrong sign is a way down (or up) already.
    minimum, maximum = up.yes & (negative == 0), down.yes & (positive == 0)
    falls, rises = up.no | (negative > 0), down.no | (positive > 0)
    beyond = jnp.select(
        [
            minimum & ~maximum,
            maximum & ~minimum,
            falls & rises & (negative == 0),
            falls & rises,
        ],
        [Kind.MINIMUM, Kind.MAXIMUM, Kind.NON_STRICT_SADDLE, Kind.STRICT_SADDLE],
        Kind.DEGENERATE,
    )
    undecided = kind == Kind.DEGENERATE
    descends = undecided & up.no & (negative == 0)
    # Which of the two questions was answered with the higher derivative decides the order shown.
    order = jnp.select(
        [beyond == Kind.DEGENERATE, minimum, maximum, negative > 0],
        [0, up.order, down.order, down.order],
        up.order,
    )
    lowest_vector = spectrum.eigenvectors[:, 0]
    evidence = Evidence(
        order=jnp.where(undecided, order, jnp.where(stationary, 2, 0)).astype(jnp.int32),
        cubic_minimum=up.cubic,
        quartic_minimum=up.quartic,
        quartic_maximum=-down.quartic,
        radii=up.radii,
        sphere_minimum=up.spheres,
        sphere_maximum=-down.spheres,
        flat=jnp.where(negative == 0, up.flat, down.flat),
        descent=jnp.where(descends, up.descent, 0),
        descent_point=base + jnp.where(descends, up.step, 0),
        base=base,
    )
    return Examined(
        kind=jnp.where(undecided, beyond, kind).astype(jnp.int32),
        index=negative,
        nullity=x.size - negative - positive,
        escape_direction=jnp.where(descends, up.direction, lowest_vector),
        evidence=evidence,
    )


def _settled(fun: Callable[[jax.Array], jax.Array], x: jax.Array, spectrum: Spectrum) -> jax.Array:
    """Move `x` within the non-zero directions of its Hessian to where the gradient has no part."""
    eigenvalues, eigenvectors = spectrum.eigenvalues, spectrum.eigenvectors
    regular = jnp.abs(eigenvalues) > spectrum.tolerance
    frame = Frame(
        value=lambda w: fun(x + eigenvectors @ w),
        null=jnp.zeros_like(x),
        inverse=jnp.where(regular, 1 / jnp.where(regular, eigenvalues, 1), 0),
    )
    origin = jnp.zeros_like(x)
    moved = x + eigenvectors @ follow(frame, origin, origin, _SETTLE)
    # Not ">": a move that ends at NaN is not made.
    better = jnp.linalg.norm(jax.grad(fun)(moved)) < jnp.linalg.norm(spectrum.gradient)
    return jnp.where(better, moved, x)
