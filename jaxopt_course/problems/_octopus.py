r"""The octopus: saddles in a row, each of which holds gradient descent longer than the last.

For `L >= gamma > 0` and `tau > 0`, with `a_j = |x_j|`,

    f(x) = sum_j  L a_j**2 + s(a_{j-1}) (phi(a_j) - L a_j**2),        s(a_0) := 1

    phi(a) = -gamma a**2                      a <= tau          away from the saddle,
             g1(a)                            tau <= a <= 2 tau
             L (a - 4 tau)**2 - nu            2 tau <= a        into the next one,
    s(a)   = 10 u**3 - 15 u**4 + 6 u**5,      u = clip((a - tau) / tau, 0, 1).

Coordinate j is attracted to zero by `L a_j**2` until coordinate j - 1 has left its own interval
`[0, tau]`; only then does it feel the repulsion `-gamma a_j**2`. `g1` is the polynomial of degree
four that makes `phi` twice continuously differentiable, and `nu` the height of one step of the
staircase:

    g1(a) = -gamma a**2 + (10 gamma - 14 L) / (3 tau) w**3 + (5 L - 3 gamma) / (2 tau**2) w**4,
    w     = a - tau,          nu = tau**2 (37 L + 13 gamma) / 6.

The paper defines f piecewise on tubes (the i-th: `a_j` in `[2 tau, 6 tau]` for j < i, `a_i` in
`[0, 2 tau]`, `a_j` in `[0, tau]` for j > i), mirrored to every orthant, and leaves the rest of
space to Whitney's extension theorem. On each tube the formula above is the paper's: there
s(a_j) = 1 for j < i, s(a_j) = 0 for j > i, and the paper's spline g2 is `L - (L + gamma) s`.
Between tubes it is one explicit extension, twice continuously differentiable on all of R^d,
which adds no trap: every stationary point is a minimum or a strict saddle. For let i be the first
coordinate with `a_i != 4 tau`. All before it have s = 1, so

    df/da_i = phi'(a_i) + s'(a_i) (phi(a_{i+1}) - L a_{i+1}**2).

The second term is never positive, as s grows and `phi <= L a**2`. For `a_i > 2 tau` it is zero and
`phi' = 2 L (a_i - 4 tau)` is not; for `0 < a_i <= tau` the first is `-2 gamma a_i < 0`; between,
with u as above, `phi'(a_i) = -2 tau (gamma (1 - u)**2 (1 + 3 u) + L u**2 (7 - 5 u)) < 0`. So
x_i = 0, where the curvature along it is `-2 gamma`. If there is no such i, the point is one of the
`2**d` minima `(+-4 tau, ..., +-4 tau)`.

Du, Jin, Lee, Jordan, Poczos and Singh (2017), "Gradient Descent Can Take Exponential Time to
Escape Saddle Points", https://arxiv.org/abs/1705.10412, equations 6 to 10.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import check_count, check_positive
from jaxopt_course.problems._problem import KnownPoint, Problem, check_shape, random_start


def octopus(
    *,
    dimension: int,
    attraction: float = 1.5,
    repulsion: float = 1.0,
    tube_radius: float = math.e,
    init_distribution: str = "uniform",
    init_scale: float = 1.0,
) -> Problem:
    """The octopus function, as the module's docstring defines it.

    Gradient descent from a random start visits d saddles one after the other, the k-th with k - 1
    coordinates at `4 * tube_radius` and the others at zero. With learning rate eta it needs
    about `1 - ln(1 - 2 eta L) / ln(1 + 2 eta gamma)` times longer for each next one; perturbed
    gradient descent needs the same time for each.

    `stationary_points` are those in the positive orthant that lie in tubes: d saddles (Hessian
    eigenvalues: `-2 * repulsion` once, `2 * attraction` otherwise), then the minimum (all
    `2 * attraction`). `mirror_images` gives the others. Between the tubes there are further
    stationary points, all of them strict saddles.

    In float32 gradient descent halves a waiting coordinate each step (at eta = 1 / (4 L)) down to
    exactly zero after 126 steps at most, as XLA takes subnormal numbers for zero on a CPU, and then
    never leaves; in float64 after 1,022. Exits later than that are out of reach of the arithmetic,
    not of the theorem.

    Args:
        dimension: Number of coordinates d, at least 1.
        attraction: L, coefficient of the attracting quadratics, at least `repulsion`.
        repulsion: gamma, coefficient of the repelling quadratics, positive.
        tube_radius: tau, unit of length, positive.
        init_distribution: `"uniform"` on the cube of half-width `init_scale`, or `"normal"`.
        init_scale: Half-width or standard deviation of the starts. The paper's starts are uniform
            in `[-1, 1]**d`; its theorem holds for any scale and for both distributions.

    Returns:
        The problem, on arrays of shape (dimension,). `smoothness` (to 1e-5 relative) and
        `hessian_lipschitz` hold on the tubes; between them f grows steeper without bound.

    Raises:
        TypeError: `dimension` is not an integer.
        ValueError: a number out of range, or parameters of another shape than (dimension,).

    Example:
        >>> problem = octopus(dimension=10)
        >>> print(f"{problem.minimum_value:.2f}")
        -843.58
    """
    check_count(dimension=dimension)
    check_positive(attraction=attraction, repulsion=repulsion, tube_radius=tube_radius)
    dimension = int(dimension)
    if attraction < repulsion:
        raise ValueError(
            f"attraction must be at least repulsion = {repulsion}, got attraction = {attraction}"
        )
    # Constants of the polynomials that join one quadratic to the next.
    tau = tube_radius
    step_height = tau**2 * (37 * attraction + 13 * repulsion) / 6
    cubic = (10 * repulsion - 14 * attraction) / (3 * tau)
    quartic = (5 * attraction - 3 * repulsion) / (2 * tau**2)
    name = f"octopus-{dimension}"

    # What is added to a coordinate's attraction once the one before it lets it go, phi(a) - L a**2,
    # and s(a), by which it lets the next one go. Their derivative is written out, and serves
    # forward and reverse mode at every order: a batch runs three times faster than where clips and
    # powers are left to autodiff.
    @jax.custom_jvp
    def change_and_switch(x):
        a = jnp.abs(x)
        w = jnp.maximum(a - tau, 0)
        leaving = -(attraction + repulsion) * (x * x) + w * w * w * (cubic + quartic * w)
        arriving = (16 * attraction * tau**2 - step_height) - 8 * attraction * tau * a
        u = jnp.minimum(w * (1 / tau), 1)
        s = u * u * u * (10 + u * (6 * u - 15))
        return jnp.where(a < 2 * tau, leaving, arriving), s

    def derivative(primals, tangents):
        (x,), (tangent,) = primals, tangents
        a, sign = jnp.abs(x), jnp.sign(x)
        w = jnp.maximum(a - tau, 0)
        leaving = -2 * (attraction + repulsion) * x
        leaving += sign * (w * w * (3 * cubic + 4 * quartic * w))
        change = jnp.where(a < 2 * tau, leaving, -8 * attraction * tau * sign)
        u = jnp.minimum(w * (1 / tau), 1)
        switch = (30 / tau) * sign * jnp.square(u * (1 - u))
        return change_and_switch(x), (change * tangent, switch * tangent)

    change_and_switch.defjvp(derivative)

    def fun(x):
        check_shape(x, (dimension,), name)
        change, switch = change_and_switch(x)
        # The first coordinate waits for none.
        unlocked = jnp.concatenate([jnp.ones_like(x[:1]), switch[:-1]])
        return jnp.sum(attraction * (x * x) + unlocked * change)

    # A saddle after every leg, each with one way down, and the minimum behind the last.
    saddles = tuple(
        KnownPoint(
            params=np.where(np.arange(dimension) < k, 4 * tau, 0.0),
            kind="STRICT_SADDLE" if k < dimension else "MINIMUM",
            value=-k * step_height,
            index=int(k < dimension),
            eigenvalues=np.array(
                [-2.0 * repulsion] * (k < dimension)
                + [2.0 * attraction] * (dimension - (k < dimension))
            ),
        )
        for k in range(dimension + 1)
    )
    return Problem(
        name=name,
        fun=fun,
        init=random_start((dimension,), distribution=init_distribution, scale=init_scale),
        minimum_value=-dimension * step_height,
        stationary_points=saddles,
        smoothness=_tube_smoothness(attraction, repulsion, dimension),
        hessian_lipschitz=(
            (88 * attraction + 40 * repulsion) / tau
            if dimension > 1
            else (32 * attraction - 16 * repulsion) / tau
        ),
    )


def _tube_smoothness(attraction: float, repulsion: float, dimension: int) -> float:
    """Return the largest |eigenvalue| of the Hessian on the tubes.

    It is that of the block of `(x_i, x_{i+1})` on the face `x_{i+1} = tau`, while `x_i` runs
    through `[tau, 2 tau]`; it does not depend on tau.
    """
    u = np.linspace(0, 1, 2001)
    first = (
        -2 * repulsion
        + u * (20 * repulsion - 28 * attraction)
        + u**2 * (30 * attraction - 18 * repulsion)
    )
    if dimension == 1:
        return float(np.max(np.abs(first)))
    total = attraction + repulsion
    first -= total * 60 * u * (1 - u) * (1 - 2 * u)
    cross = -2 * total * 30 * (u * (1 - u)) ** 2
    second = 2 * (attraction - total * u**3 * (10 - 15 * u + 6 * u**2))
    spread = np.sqrt(((first - second) / 2) ** 2 + cross**2)
    return float(np.max(np.abs((first + second) / 2) + spread))
