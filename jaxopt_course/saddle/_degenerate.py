r"""What a stationary point is where the Hessian is semidefinite and singular.

In coordinates of the Hessian's eigenvectors let z be those of eigenvalue 0 and y the others. By the
splitting lemma (Lyapunov and Schmidt's reduction for gradients) a stationary point is a minimum if
and only if 0 is one of the reduced function

    g(z) = min over small y of f(z, y).

Two ways of looking at g are here. Its Taylor coefficients along a unit vector u of the null space:

    g(t u) = c3 t**3 + c4 t**4 + O(t**5)
    6 c3  = D3 f[u, u, u]
    24 c4 = D4 f[u, u, u, u] - 3 w^T H^+ w,      w = the y-part of D3 f[u, u, .]

where the correction is what the curve `y(t) = -t**2/2 H^+ w` wins over the straight line; and its
values on spheres |z| = r, minimised over the sphere. Derivatives are nested `jvp`s of the gradient
along that curve: its second derivative in t is `3! grad c3 / 3`, its third `4! grad c4 / 4`.

Two questions are asked: is 0 a minimum of g, and is it one of the reduced function of -f?

    some c3(u) != 0                          no: g falls along u or along -u
    c3 = 0, some c4(u) < 0                   no
    c3 = 0, all c4(u) > 0                    yes
    g falls on every small sphere, like a power of its radius        no, whatever the order
    g is constant up to rounding, up to a radius of order one        yes: a manifold of minima
    otherwise                                not decided

A "no" is given only with a point at hand where f is lower, beyond rounding: by a negative Taylor
coefficient which the fall follows down to the smallest distance at which rounding lets it show, or
by a fall on every sphere. A "yes" rests on a search for the minimum of c4 over a sphere, from
finitely many starts: it is evidence, not a proof (a form of order four is NP-hard to minimise), and
so is flatness in all directions tried: in `x**2 - exp(-(100 / y)**2)` no computation sees the way
down. In single precision too little is visible to tell flat from `x**2 - y**8`, and no point is
called flat.

On the 37 polynomials and exponentials in two variables of `tests/saddle/test_degenerate.py`, whose
truth at the origin is known, in double precision:

                                                              right    undecided    wrong
    Hessian, eigenvalue tolerance 1e-6                            5           32        0
      the same 1e-4 beside the stationary point                   5           24        8
    order 4                                                      31            6        0
      the same 1e-4 beside the stationary point                  31            4        2

The last two have a cubic term that shows at distances below 1e-3 only: the minimum next to it is
as close.

Golubitsky and Schaeffer (1985), Singularities and Groups in Bifurcation Theory, chapter VII, for
the reduction; Poston and Stewart (1978), Catastrophe Theory, chapter 4, for the splitting lemma.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxopt_course import _loops
from jaxopt_course._platforms import spacing
from jaxopt_course._streams import stream
from jaxopt_course.saddle._dense import (
    Spectrum,
    count_signs,
    dense_spectrum,
    kind_by_hessian,
    unit_vectors,
)
from jaxopt_course.saddle._point import Evidence, Kind

# The search on the sphere: steps, and how the step length answers to success and failure.
_FORM_STEPS = 60
_SPHERE_STEPS = 24
_GROW, _SHRINK = 1.6, 0.5
# Steps that y makes after each step of u, and where it is followed to the end.
_FOLLOW, _FOLLOW_TO_END = 3, 40
# Where to look, relative to 1 + max|x| and to the radius at which a manifold of minima would bend:
# the largest radius and how often it is halved.
_RADIUS = 0.2
NUM_SPHERES = 6
_CURVE_POINTS = 12
# A difference of values shows if it is this many rounding errors of the values behind it.
_VISIBLE = 16
# A gradient is zero if it is this many rounding errors of |H| (1 + max|x|).
_STEEP = 1000
# Local slopes of a power law, on a logarithmic scale, may differ by this much.
_SLOPE_SPREAD = 0.3
# Newton steps that take the point to where the gradient vanishes in the non-zero directions.
_SETTLE = 20


class Frame(NamedTuple):
    """A function in coordinates of its Hessian's eigenvectors, the point in question at 0.

    Attributes:
        value: From coordinates, shape (n,), to the function.
        null: Shape (n,), 1 for the coordinates z and 0 elsewhere.
        inverse: Shape (n,), 1 / eigenvalue for the coordinates y and 0 elsewhere.
    """

    value: Callable[[jax.Array], jax.Array]
    null: jax.Array
    inverse: jax.Array


class Form(NamedTuple):
    """The reduced function along a unit vector u of the null space.

    Attributes:
        direction: u, shape (n,).
        bend: Second derivative of the curve y(t), shape (n,).
        cubic: c3.
        quartic: c4.
    """

    direction: jax.Array
    bend: jax.Array
    cubic: jax.Array
    quartic: jax.Array


def unit(vector: jax.Array) -> jax.Array:
    """Scale to length 1; zero stays zero."""
    # By the largest entry first: squares of small gradients underflow.
    largest = jnp.max(jnp.abs(vector))
    vector = vector / jnp.where(largest > 0, largest, 1)
    length = jnp.linalg.norm(vector)
    return vector / jnp.where(length > 0, length, 1)


def form_along(frame: Frame, u: jax.Array) -> tuple[Form, jax.Array, jax.Array]:
    """Return the form along u, and the gradients of c3 and c4 in u (up to positive factors)."""
    gradient = jax.grad(frame.value)
    zero = jnp.zeros((), u.dtype)
    _, second = _last_derivatives(lambda t: gradient(t * u), zero, order=2)
    bend = -frame.inverse * second
    second, third = _last_derivatives(lambda t: gradient(t * u + t * t / 2 * bend), zero, order=3)
    form = Form(u, bend, jnp.vdot(u, second) / 6, jnp.vdot(u, third) / 24)
    return form, frame.null * second, frame.null * third


def extreme_forms(frame: Frame, starts: jax.Array) -> Form:
    """Search the sphere of the null space for the smallest c3 and the smallest c4.

    Args:
        frame: With n coordinates.
        starts: Unit vectors of the null space, shape (s, n).

    Returns:
        Forms with leading axis 2 s: where c3, then where c4, was minimised from each start.
    """

    def search(start, wants_cubic):
        def merit(form):
            return jnp.where(wants_cubic, form.cubic, form.quartic)

        def step(state, _):
            form, downhill, length = state
            trial = unit(form.direction + length * downhill)
            trial = jnp.where(jnp.isfinite(merit(form)), trial, form.direction)
            new, cubic_gradient, quartic_gradient = form_along(frame, trial)
            new_downhill = -jnp.where(wants_cubic, cubic_gradient, quartic_gradient)
            new_downhill = unit(new_downhill - jnp.vdot(new_downhill, trial) * trial)
            better = merit(new) < merit(form)
            state = jax.tree.map(
                lambda new, old: jnp.where(better, new, old),
                (new, new_downhill),
                (form, downhill),
            )
            return (*state, length * jnp.where(better, _GROW, _SHRINK)), None

        nothing = jnp.full((), jnp.inf, start.dtype)
        begin = Form(start, jnp.zeros_like(start), nothing, nothing)
        length = jnp.asarray(0.5, start.dtype)
        (form, _, _), _ = _loops.scan(
            step, (begin, jnp.zeros_like(start), length), length=_FORM_STEPS
        )
        return form

    wants_cubic = jnp.repeat(jnp.array([True, False]), starts.shape[0])
    return jax.vmap(search)(jnp.concatenate([starts, starts]), wants_cubic)


def follow(frame: Frame, z: jax.Array, y: jax.Array, steps: int) -> jax.Array:
    """Solve for y that makes the gradient in y vanish at fixed z, beginning at `y`.

    Newton steps with the Hessian at the origin, times the length by which the last step says that
    the curvature has changed since (Barzilai and Borwein), and taken only where the gradient gets
    smaller. How far y has come is for the caller to judge.
    """
    gradient_at = jax.grad(frame.value)

    def size(gradient):
        return jnp.sum(jnp.abs(frame.inverse) * jnp.square(gradient))

    def step(_, state):
        y, gradient, length = state
        move = -length * frame.inverse * gradient
        new = gradient_at(z + y + move)
        # Not ">=": a move to where the gradient is NaN is not made.
        better = size(new) < size(gradient)
        change = jnp.sum(move * (new - gradient))
        expected = length * size(gradient) * length
        secant = expected / jnp.where(change > 0, change, 1)
        secant = jnp.where(change > 0, jnp.clip(secant, length / 8, 8 * length), 2 * length)
        return (
            jnp.where(better, y + move, y),
            jnp.where(better, new, gradient),
            jnp.where(better, secant, length / 4),
        )

    begin = (y, gradient_at(z + y), jnp.ones((), y.dtype))
    return _loops.fori_loop(0, steps, step, begin)[0]


def minimise_on_spheres(frame: Frame, form: Form, radii: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Minimise g on spheres about 0, each search beginning where that on the last sphere ended.

    Args:
        frame: With n coordinates.
        form: Where to begin.
        radii: Shape (r,), descending.

    Returns:
        The points reached, shape (r, n), and f there minus f at the origin, shape (r,).
    """
    value_and_grad = jax.value_and_grad(frame.value)

    def at_radius(u_and_y, radius):
        u, y = u_and_y

        def step(_, state):
            u, y, best, downhill, length = state
            trial = unit(u + length * downhill)
            trial_y = follow(frame, radius * trial, y, _FOLLOW)
            value, gradient = value_and_grad(radius * trial + trial_y)
            gradient = frame.null * gradient
            new_downhill = -unit(gradient - jnp.vdot(gradient, trial) * trial)
            better = value < best
            state = jax.tree.map(
                lambda new, old: jnp.where(better, new, old),
                (trial, trial_y, value, new_downhill),
                (u, y, best, downhill),
            )
            return (*state, length * jnp.where(better, _GROW, _SHRINK))

        begin = (u, y, jnp.asarray(jnp.inf, u.dtype), jnp.zeros_like(u), jnp.asarray(0.3, u.dtype))
        u, y, best, _, _ = _loops.fori_loop(0, _SPHERE_STEPS, step, begin)
        # The curve's y is quadratic in the radius: a quarter of it begins the next, half as large.
        return (u, y / 4), (radius * u + y, best - frame.value(jnp.zeros_like(u)))

    begin = (form.direction, jnp.square(radii[0]) / 2 * form.bend)
    _, (points, differences) = _loops.scan(at_radius, begin, radii)
    return points, differences


def flatness(
    frame: Frame, direction: jax.Array, radius: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the change of g and the gradient norms in z and y at `radius * direction`."""
    z = radius * direction
    point = z + follow(frame, z, jnp.zeros_like(z), _FOLLOW_TO_END)
    value, gradient = jax.value_and_grad(frame.value)(point)
    change = jnp.abs(value - frame.value(jnp.zeros_like(z)))
    left = jnp.where(frame.inverse != 0, gradient, 0)
    return change, jnp.linalg.norm(frame.null * gradient), jnp.linalg.norm(left)


def _last_derivatives(
    curve: Callable[[jax.Array], jax.Array], t: jax.Array, *, order: int
) -> tuple[jax.Array, jax.Array]:
    """Return the derivatives of a curve of orders `order - 1` and `order` at t."""
    for _ in range(order - 1):
        curve = _derivative(curve)
    return jax.jvp(curve, (t,), (jnp.ones_like(t),))


def _derivative(curve: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    return lambda t: jax.jvp(curve, (t,), (jnp.ones_like(t),))[1]


class Verdict(NamedTuple):
    """Whether a point is a minimum: `yes`, `no`, or neither if undecided; flat vectors throughout.

    `direction` is the way down, of unit length, and `step` from the point to the lower one.
    """

    yes: jax.Array
    no: jax.Array
    order: jax.Array
    cubic: jax.Array
    quartic: jax.Array
    radii: jax.Array
    spheres: jax.Array
    flat: jax.Array
    descent: jax.Array
    step: jax.Array
    direction: jax.Array


class WayDown(NamedTuple):
    """A way on which f falls: whether it was seen, by how much, where to, and its direction."""

    seen: jax.Array
    fall: jax.Array
    step: jax.Array
    direction: jax.Array


def judge_minimum(
    fun: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    eigenvalues: jax.Array,
    eigenvectors: jax.Array,
    null: jax.Array,
    regular: jax.Array,
    starts: jax.Array,
) -> Verdict:
    """Whether the stationary point `x`, with positive semidefinite Hessian, is a minimum.

    Args:
        fun: Function of a vector of shape (n,).
        x: The point, shape (n,).
        eigenvalues: Of the Hessian there, shape (n,).
        eigenvectors: Shape (n, n), in columns.
        null: Shape (n,), bool; which eigenvalues count as zero.
        regular: Shape (n,), bool; which do not. Directions that are neither are left alone.
        starts: Directions in coordinates of the eigenvectors, shape (s, n).

    Returns:
        The verdict, with the evidence.
    """
    # Coordinates along the eigenvectors, x being the origin, and the sizes that set the scale.
    dtype = x.dtype
    eps = float(spacing(dtype))
    frame = Frame(
        value=lambda w: fun(x + eigenvectors @ w),
        null=null.astype(dtype),
        inverse=jnp.where(regular, 1 / jnp.where(regular, eigenvalues, 1), 0),
    )
    origin = jnp.zeros_like(x)
    value = frame.value(origin)
    scale = 1 + jnp.max(jnp.abs(x))
    curvature = jnp.max(jnp.abs(eigenvalues))

    # The smallest Taylor coefficients over the unit sphere of the null space.
    forms = extreme_forms(frame, starts)
    cubic_at, quartic_at = jnp.argmin(forms.cubic), jnp.argmin(forms.quartic)
    lowest, highest = forms.quartic[quartic_at], jnp.max(jnp.abs(forms.quartic))

    # The smallest values on spheres in it. A curve is followed only as far as its bend is the
    # smaller part of it.
    reach = _RADIUS * jnp.minimum(scale, _ratio(1.0, jnp.linalg.norm(forms.bend, axis=1)))
    radius = jnp.min(reach)
    sphere_radii = radius * 0.5 ** jnp.arange(NUM_SPHERES, dtype=dtype)
    spheres = jax.vmap(lambda form: minimise_on_spheres(frame, form, sphere_radii))(forms)

    # What rounding hides: a difference of values below `visible`, a coefficient below its noise.
    # The gradient left along the null space leaves the position uncertain, and that the cubic.
    magnitude = jnp.abs(value) + curvature * scale**2
    magnitude += jnp.max(jnp.abs(jax.vmap(frame.value)(radius * starts) - value))
    visible = _VISIBLE * eps * magnitude
    left = jnp.linalg.norm(frame.null * jax.grad(frame.value)(origin))
    cubic_noise = eps ** (2 / 3) * (curvature / scale + highest * scale)
    cubic_noise += 8 * jnp.cbrt(jnp.square(highest) * left)
    quartic_noise = eps**0.5 * (curvature / scale**2 + highest)

    # Three ways down, of which the first that is seen counts: along the curve of the smallest cubic
    # coefficient, no further than where the quartic one takes over; along that of the smallest
    # quartic one; and from sphere to sphere, whatever the order.
    balance = 0.5 * _ratio(jnp.abs(forms.cubic[cubic_at]), jnp.abs(forms.quartic[cubic_at]))
    reach_of_cubic = jnp.minimum(reach[cubic_at], balance)
    by_cubic = _along_curve(frame, forms, cubic_at, reach_of_cubic, visible)
    by_quartic = _along_curve(frame, forms, quartic_at, reach[quartic_at], visible)
    by_spheres, slope = _power_law(spheres, sphere_radii, visible)
    ways = [
        by_cubic._replace(seen=by_cubic.seen & (forms.cubic[cubic_at] < -cubic_noise)),
        by_quartic._replace(seen=by_quartic.seen & (lowest < -quartic_noise)),
        by_spheres,
    ]
    seen, *parts = (jnp.stack(part) for part in zip(*ways, strict=True))
    no, first = jnp.any(seen), jnp.argmax(seen)
    descent, step, direction = (jnp.where(no, part[first], 0) for part in parts)

    # No way down: a minimum if all quartic coefficients are positive, or nothing changes at all.
    no_cubic = jnp.max(jnp.abs(forms.cubic)) <= cubic_noise
    positive = no_cubic & (lowest > quartic_noise) & ~no
    steep = _STEEP * eps * curvature * scale
    flat = no_cubic & (highest <= quartic_noise) & ~no
    flat = flat & _is_flat(frame, starts, radius, visible, steep)
    order = jnp.select([no, positive], [jnp.stack([3, 4, slope])[first], 4], 0)
    return Verdict(
        yes=positive | flat,
        no=no,
        order=order.astype(jnp.int32),
        cubic=forms.cubic[cubic_at],
        quartic=lowest,
        radii=sphere_radii,
        spheres=jnp.min(spheres[1], axis=0),
        flat=flat,
        descent=descent,
        step=eigenvectors @ step,
        direction=eigenvectors @ direction,
    )


def _along_curve(
    frame: Frame, forms: Form, at: jax.Array, reach: jax.Array, visible: jax.Array
) -> WayDown:
    """The fall along the curve of one of the forms, followed to ever smaller distances.

    It is seen if the two smallest distances at which anything shows both show a fall: further out
    other terms have their say.
    """
    form = jax.tree.map(lambda leaf: leaf[at], forms)
    value = frame.value(jnp.zeros_like(form.direction))
    t = (reach * 0.5 ** jnp.arange(_CURVE_POINTS, dtype=value.dtype))[:, None]
    points = t * form.direction[None] + t**2 / 2 * form.bend[None]
    falls = jax.vmap(frame.value)(points) - value
    shows = jnp.abs(falls) > visible
    last = _CURVE_POINTS - 1 - jnp.argmax(shows[::-1])
    seen = jnp.any(shows) & (falls[last] < 0) & (falls[jnp.maximum(last - 1, 0)] < 0)
    # The straight direction is a way down only where its own values fall; else that to the lowest.
    straight = frame.value(t[last] * form.direction) < value
    best = points[jnp.argmin(falls)]
    return WayDown(seen, jnp.min(falls), best, jnp.where(straight, form.direction, unit(best)))


def _ratio(numerator: chex.Numeric, denominator: jax.Array) -> jax.Array:
    """Divide; x / 0 is infinity, without a NaN on the way."""
    zero = denominator == 0
    return jnp.where(zero, jnp.inf, numerator / jnp.where(zero, 1, denominator))


def _power_law(
    spheres: tuple[jax.Array, jax.Array], radii: jax.Array, visible: jax.Array
) -> tuple[WayDown, jax.Array]:
    """The way down on which g - g(0) is negative on all spheres, like a power of the radius.

    A way down that begins at some distance only, as in `x**4 - 100 x**6`, does not go like a power.
    """
    points, falls = spheres
    shows = jnp.abs(falls) > visible
    both = shows[:, 1:] & shows[:, :-1]
    sizes = jnp.log(jnp.where(shows, jnp.abs(falls), 1))
    slopes = (sizes[:, :-1] - sizes[:, 1:]) / jnp.log(radii[:-1] / radii[1:])[None]
    steepest = jnp.max(jnp.where(both, slopes, -jnp.inf), axis=1)
    flattest = jnp.min(jnp.where(both, slopes, jnp.inf), axis=1)
    law = (
        (jnp.sum(shows, axis=1) >= 3)
        & jnp.all(~shows | (falls < 0), axis=1)
        & jnp.all(jnp.isfinite(falls), axis=1)
        & (steepest - flattest <= _SLOPE_SPREAD)
        & (flattest > 2.5)
    )
    start = jnp.argmax(law)
    last = jnp.sum(shows[start]) - 1
    lowest = jnp.argmin(falls[start])
    way = WayDown(
        jnp.any(law), falls[start, lowest], points[start, lowest], unit(points[start, last])
    )
    return way, jnp.round((steepest + flattest)[start] / 2)


def _is_flat(
    frame: Frame, starts: jax.Array, radius: jax.Array, visible: jax.Array, steep: jax.Array
) -> jax.Array:
    """Whether g is constant in all directions tried, up to the largest radius.

    Three times as far out it must not be seen to vary: where y could still be followed.
    Single precision cannot tell: there `x**2 - y**8` is constant, too.
    """
    if jnp.finfo(starts.dtype).bits < 64:
        return jnp.zeros((), bool)
    radii = radius * jnp.asarray([3, 1, 1 / 4, 1 / 16], starts.dtype)
    change, slope, left = jax.vmap(
        lambda start: jax.vmap(lambda radius: flatness(frame, start, radius))(radii)
    )(starts)
    constant, followed = (change <= visible) & (slope <= steep), left <= steep
    return jnp.all(constant[:, 1:] & followed[:, 1:]) & jnp.all(constant[:, 0] | ~followed[:, 0])


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
    # From the point beside it to where the gradient vanishes in the directions of curvature.
    base = _settled(fun, x, spectrum)
    spectrum = dense_spectrum(
        fun,
        base,
        eigenvalue_tolerance=eigenvalue_tolerance,
        directions=None if directions is None else directions(base),
    )
    stationary = jnp.linalg.norm(spectrum.gradient) <= gradient_tolerance
    kind = kind_by_hessian(spectrum, stationary)
    negative, positive = count_signs(spectrum, spectrum.doubt)
    # The null space, and where its searches begin.
    null = ~spectrum.known & (jnp.abs(spectrum.eigenvalues) <= spectrum.doubt)
    regular = ~spectrum.known & ~null
    if key is None:
        starts = jnp.asarray(unit_vectors(num_starts, x.size), x.dtype)
    else:
        starts = jax.random.normal(stream(key, "null space"), (num_starts, x.size), x.dtype)
    starts = jax.vmap(lambda start: unit(start * null))(starts)

    # The two questions: is 0 a minimum of the reduced function of f, and of that of -f?
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
    # What was seen, of f and of -f, for the reader.
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
    regular = jnp.abs(eigenvalues) > spectrum.doubt
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
