r"""Neon2: directions of negative curvature from gradients alone.

    y[0] = 0,  y[1] = noise of norm start_radius
    M(y) = (1 - 3 delta / (4 L)) y - (grad f(x + y) - grad f(x)) / L
    y[t+1] = 2 M(y[t]) - y[t-1],       u[t+1] = y[t+1] - M(y[t])

stopped once |u| >= end_radius. To first order u[t+1] = T_t(I - (H + 3 delta / 4) / L) y[1] with
Chebyshev's polynomial T_t, which stays below 1 where H >= -3 delta / 4 and grows like
exp(t sqrt(delta / (2 L))) along eigenvalues of -delta: it takes about the square root of the steps
of the power method.

Allen-Zhu and Li (2018), algorithm 3 (Neon2-det), https://arxiv.org/abs/1711.06673; the idea of
gradients alone: Xu, Jin, Yang (2018), https://arxiv.org/abs/1711.01944.
"""

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import _krylov
from jaxopt_course._checks import check_positive
from jaxopt_course.transforms._negative_curvature import escape_along


def neon2(
    radius: chex.Numeric,
    gradient_threshold: chex.Numeric,
    interval: chex.Numeric = 10,
    *,
    key: jax.Array,
    smoothness: chex.Numeric,
    curvature: chex.Numeric,
    start_radius: chex.Numeric,
    end_radius: chex.Numeric,
    num_steps: chex.Numeric,
) -> optax.GradientTransformationExtraArgs:
    """Moves along negative curvature that gradients alone reveal, where the gradient is small.

    As `escape_negative_curvature`, for objectives of which only gradients are to be had: the
    direction is found by the module's recursion, in at most `num_steps` gradients, and one more
    difference of gradients measures its curvature.

    The differences grad f(x + y) - grad f(x) cancel, the more the smaller y: in float32 a
    `start_radius` below about 1e-4 |x| finds noise. The theorem's constants, which
    `**theory.neon2_parameters(...)._asdict()` passes as the last three arguments, are smaller by
    far: they need float64.

    Args:
        radius: Longest move, > 0, in the units of the parameters; delta / rho in the paper.
        gradient_threshold: The largest gradient norm at which a search is made, >= 0.
        interval: Steps that must pass between two searches, >= 0.
        key: Typed PRNG key of the noise that the recursion starts from.
        smoothness: L > 0, at least the Lipschitz constant of the gradient.
        curvature: delta > 0; directions with curvature below -delta are to be found.
        start_radius: Norm of the noise y[1], > 0.
        end_radius: |u| at which a direction counts as found, > start_radius; small enough that f
            is nearly quadratic within it.
        num_steps: Bound on the recursion's steps; T of the paper.

    Returns:
        The transformation; its state is an `EscapeState`.

    Raises:
        ValueError: if a number is out of range, or `update` gets no params or value_fn.
        TypeError: if `key` is not a typed key.

    Example:
        >>> fun = lambda x: x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2
        >>> escape = neon2(
        ...     0.5, 1e-3, key=jax.random.key(0), smoothness=1.0, curvature=0.5,
        ...     start_radius=1e-4, end_radius=1e-2, num_steps=100,
        ... )
        >>> x = jnp.zeros(2)
        >>> updates, state = escape.update(jax.grad(fun)(x), escape.init(x), x, value_fn=fun)
        >>> print(abs(updates).round(1))
        [0.  0.5]

    Reference:
        Allen-Zhu and Li (2018), algorithm 3 (Neon2-det).
    """
    check_positive(
        smoothness=smoothness,
        curvature=curvature,
        start_radius=start_radius,
        end_radius=end_radius,
        num_steps=num_steps,
    )

    def search(fun, x, key):
        lipschitz, delta, begin, end = (
            jnp.asarray(number, x.dtype)
            for number in (smoothness, curvature, start_radius, end_radius)
        )
        gradient = jax.grad(fun)
        at_x = gradient(x)

        def bend(y):
            """Return H y to first order."""
            return gradient(x + y) - at_x

        def recur(loop):
            count, previous, current, _ = loop
            image = (1 - 3 * delta / (4 * lipschitz)) * current - bend(current) / lipschitz
            following = 2 * image - previous
            return count + 1, current, following, following - image

        # From noise on a small sphere, until it is long enough or its time is over.
        noise = begin * _krylov.normalized(jax.random.normal(key, x.shape, x.dtype))
        *_, found = jax.lax.while_loop(
            # Not "< end": a NaN must end the loop.
            lambda loop: (loop[0] < num_steps) & (_krylov.norm(loop[3]) < end),
            recur,
            (jnp.zeros([], jnp.int32), jnp.zeros_like(x), noise, noise),
        )
        # The curvature along what came out; 0 where that has not grown.
        length = _krylov.norm(found)
        direction = _krylov.normalized(found)
        measured = jnp.matmul(direction, bend(end * direction), precision="highest") / end
        return direction, jnp.where(length >= end, measured, 0)

    return escape_along(
        "neon2",
        search,
        radius=radius,
        gradient_threshold=gradient_threshold,
        interval=interval,
        curvature_threshold=0.0,
        key=key,
    )
