"""Linear rates of the gradient methods on quadratics with curvature in [mu, L].

Along an eigenvector of curvature lambda, with learning rate eta and decay b, the error obeys

    e[t+1] = (1 + b - eta lambda) e[t] - b e[t-1]                        heavy ball
    e[t+1] = (1 - eta lambda) ((1 + b) e[t] - b e[t-1])                  Nesterov

so that it shrinks (or grows, where lambda < 0) by the larger root of the recursion a step; the rate
on the whole is the worst over the spectrum. With kappa = L / mu:

    method              learning rate               decay                  rate
    gradient descent    1 / L                       0                      1 - 1/kappa
    tuned               2 / (L + mu)                0                      (kappa-1)/(kappa+1)
    Nesterov            1 / L                       (s - 1)/(s + 1)        1 - 1/s
    tuned               4 / (3 L + mu)              (q - 2)/(q + 2)        1 - 2/q
    heavy ball          4/(sqrt(L) + sqrt(mu))**2   ((s - 1)/(s + 1))**2   (s - 1)/(s + 1)

where s = sqrt(kappa) and q = sqrt(3 kappa + 1). The rates are asymptotic: at the ends of the
spectrum the recursions have double roots, and the error is the power times a factor linear in t.

Lessard, Recht and Packard (2016), Proposition 1, https://arxiv.org/abs/1408.3595; Polyak (1964),
https://doi.org/10.1016/0041-5553(64)90137-5; Nesterov (2004), Theorem 2.2.3.
"""

from typing import NamedTuple

from jaxopt_course._checks import check_at_most, check_fraction, check_positive
from jaxopt_course._reading import readable
from jaxopt_course.theory._numbers import Numeric, in_doubles, namespace


@readable
class QuadraticRate(NamedTuple):
    """Parameters of a gradient method and what they achieve.

    Attributes:
        learning_rate: eta.
        decay: b, the share of the velocity that stays; 0 for gradient descent.
        rate: Asymptotic factor by which a step multiplies the error.
    """

    learning_rate: Numeric
    decay: Numeric
    rate: Numeric


@in_doubles
def gradient_descent_rate(
    *, strong_convexity: Numeric, smoothness: Numeric, tuned: bool = True
) -> QuadraticRate:
    """The parameters and rate of gradient descent, as the module's table has them.

    Args:
        strong_convexity: mu, the smallest curvature, positive.
        smoothness: L, the largest.
        tuned: Whether to use the best rate, 2 / (L + mu), instead of 1 / L.

    Returns:
        Learning rate, decay 0 and rate; NaN for what arrays have out of range.

    Raises:
        ValueError: a curvature that is not positive, or mu > L.

    Example:
        >>> f"{gradient_descent_rate(strong_convexity=1.0, smoothness=25.0).rate:.6f}"
        '0.923077'
    """
    strong_convexity = _checked_convexity(strong_convexity, smoothness)
    if tuned:
        total = smoothness + strong_convexity
        return QuadraticRate(2 / total, 0.0, (smoothness - strong_convexity) / total)
    return QuadraticRate(1 / smoothness, 0.0, 1 - strong_convexity / smoothness)


@in_doubles
def nesterov_rate(
    *, strong_convexity: Numeric, smoothness: Numeric, tuned: bool = True
) -> QuadraticRate:
    """The parameters and rate of Nesterov's method, as the module's table has them.

    Args:
        strong_convexity: mu, the smallest curvature, positive.
        smoothness: L, the largest.
        tuned: Whether to use the best parameters for quadratics instead of those, with rate 1 / L,
            that hold for every strongly convex function.

    Returns:
        Learning rate, decay and rate; NaN for what arrays have out of range.

    Raises:
        ValueError: a curvature that is not positive, or mu > L.

    Example:
        >>> f"{nesterov_rate(strong_convexity=1.0, smoothness=25.0, tuned=False).rate:.6f}"
        '0.800000'
    """
    strong_convexity = _checked_convexity(strong_convexity, smoothness)
    np = namespace(strong_convexity, smoothness)
    if tuned:
        q = np.sqrt(3 * smoothness / strong_convexity + 1)
        rate = 4 / (3 * smoothness + strong_convexity)
        return QuadraticRate(rate, (q - 2) / (q + 2), 1 - 2 / q)
    s = np.sqrt(smoothness / strong_convexity)
    return QuadraticRate(1 / smoothness, (s - 1) / (s + 1), 1 - 1 / s)


@in_doubles
def heavy_ball_rate(*, strong_convexity: Numeric, smoothness: Numeric) -> QuadraticRate:
    """The best parameters and the rate of the heavy ball on quadratics.

    No first-order method does better on all of them. On other strongly convex functions the same
    parameters may cycle for ever (Lessard, Recht and Packard, section 4.6).

    Args:
        strong_convexity: mu, the smallest curvature, positive.
        smoothness: L, the largest.

    Returns:
        Learning rate, decay and rate; NaN for what arrays have out of range.

    Raises:
        ValueError: a curvature that is not positive, or mu > L.

    Example:
        >>> f"{heavy_ball_rate(strong_convexity=1.0, smoothness=25.0).rate:.6f}"
        '0.666667'
    """
    strong_convexity = _checked_convexity(strong_convexity, smoothness)
    np = namespace(strong_convexity, smoothness)
    high, low = np.sqrt(smoothness), np.sqrt(strong_convexity)
    rate = (high - low) / (high + low)
    return QuadraticRate(4 / (high + low) ** 2, rate**2, rate)


@in_doubles
def recursion_factor(
    curvature: Numeric,
    *,
    learning_rate: Numeric,
    decay: Numeric = 0.0,
    lookahead: bool = False,
) -> Numeric:
    """The asymptotic factor a step along an eigenvector, for any parameters.

    Args:
        curvature: lambda, of any sign and shape; a negative one tells how fast a saddle is left.
        learning_rate: eta.
        decay: b.
        lookahead: Whether the gradient is taken at Nesterov's look-ahead point.

    Returns:
        The larger modulus of the roots of the module's recursion, in the shape of `curvature`.

    Raises:
        ValueError: a learning rate that is not positive or a decay outside [0, 1).

    Example:
        >>> f"{recursion_factor(-0.1, learning_rate=0.1, decay=0.9, lookahead=True):.5f}"
        '1.06739'
    """
    check_positive(learning_rate=learning_rate, arrays=True)
    check_fraction(decay=decay, arrays=True)
    np = namespace(curvature, learning_rate, decay)
    step = 1 - learning_rate * np.asarray(curvature)
    product = decay * step if lookahead else decay + 0 * step
    total = (1 + decay) * step if lookahead else decay + step
    # The roots of z**2 - total z + product.
    discriminant = total**2 - 4 * product
    # Square roots of what is positive only, so that derivatives stay finite in the other branch.
    pair = discriminant <= 0
    apart = (np.abs(total) + np.sqrt(np.where(pair, 1, discriminant))) / 2
    positive = product > 0
    modulus = np.where(positive, np.sqrt(np.where(positive, product, 1)), 0)
    return np.where(pair, modulus, apart)


@in_doubles
def linear_iterations(rate: Numeric, *, accuracy: Numeric) -> Numeric:
    """The steps until `rate**t <= accuracy`: `ln(accuracy) / ln(rate)` rounded up.

    Args:
        rate: Factor a step, in (0, 1).
        accuracy: Share of the first error that may remain, in (0, 1).

    Returns:
        The number of steps. In arrays a rate of 1 or more gives inf, since it never gets there, a
        rate of 0 one step, and an accuracy of 1 or more none.

    Raises:
        ValueError: an argument outside (0, 1).

    Example:
        >>> float(linear_iterations(2 / 3, accuracy=1e-6))
        35.0
    """
    check_positive(rate=rate, accuracy=accuracy, arrays=True)
    check_fraction(rate=rate, accuracy=accuracy, arrays=True)
    np = namespace(rate, accuracy)
    # The logarithm of 1 and more, to which float32 rounds what is close, has the wrong sign.
    slow = rate >= 1
    steps = np.ceil(np.log(accuracy) / np.log(np.where(slow, 0.5, rate)))
    steps = np.where(slow, np.inf, np.where(rate == 0, 1.0, steps))
    return np.where(accuracy >= 1, 0.0, steps)[()]


def _checked_convexity(strong_convexity: Numeric, smoothness: Numeric) -> Numeric:
    """mu, or NaN where arrays have it out of (0, L]."""
    check_positive(strong_convexity=strong_convexity, smoothness=smoothness, arrays=True)
    check_at_most(smoothness, "smoothness", strong_convexity=strong_convexity)
    np = namespace(strong_convexity, smoothness)
    holds = (strong_convexity > 0) & (strong_convexity <= smoothness)
    return np.where(holds, strong_convexity, np.nan)[()]
