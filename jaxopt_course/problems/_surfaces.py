"""Functions of two variables, one for each way of being stationary.

Parameters are arrays `(x, y)` of shape (2,); starts are uniform in the window `bounds`; unless the
docstring says otherwise `stationary_points` are all there are.

The quadratic and cubic terms decide what a point is only while the Hessian is regular. From
`monkey_saddle` on, the Hessian at the origin is singular and higher derivatives have to be asked.
"""

import math

from jaxopt_course._checks import check_finite, check_positive
from jaxopt_course.problems._problem import Problem
from jaxopt_course.problems._surface import surface


def hyperbolic_saddle() -> Problem:
    """The function `x**2 - y**2`: the plainest strict saddle.

    Example:
        >>> hyperbolic_saddle().stationary_points[0].kind
        'STRICT_SADDLE'
    """
    return surface(
        "hyperbolic-saddle",
        lambda x, y: x * x - y * y,
        lambda _x, _y: (2, 0, -2),
        [(0.0, 0.0, "STRICT_SADDLE", 0.0)],
        minimum_value=-math.inf,
        bounds=((-1, 1), (-1, 1)),
    )


def nesterov_saddle() -> Problem:
    """The function `x**2 / 2 + y**4 / 4 - y**2 / 2`: a strict saddle between two minima.

    Gradient descent converges to the saddle from the line y = 0 and from nowhere else. Nesterov
    (2004), Introductory Lectures on Convex Optimization, section 1.2.3; Lee, Simchowitz, Jordan and
    Recht (2016), https://arxiv.org/abs/1602.04915, section 3.

    Example:
        >>> [point.kind for point in nesterov_saddle().stationary_points]
        ['STRICT_SADDLE', 'MINIMUM', 'MINIMUM']
    """
    return surface(
        "nesterov-saddle",
        lambda x, y: x * x / 2 + y * y * (y * y - 2) / 4,
        lambda _x, y: (1, 0, 3 * y**2 - 1),
        [
            (0.0, 0.0, "STRICT_SADDLE", 0.0),
            (0.0, 1.0, "MINIMUM", -0.25),
            (0.0, -1.0, "MINIMUM", -0.25),
        ],
        minimum_value=-0.25,
        bounds=((-1.5, 1.5), (-1.5, 1.5)),
    )


def rosenbrock(*, a: float = 1.0, b: float = 100.0) -> Problem:
    """The curved valley of Rosenbrock, `f = (a - x)**2 + b (y - x**2)**2`.

    Its one stationary point is the minimum (a, a**2). Rosenbrock (1960),
    https://doi.org/10.1093/comjnl/3.3.175.

    Args:
        a: Where along the valley the minimum lies.
        b: Steepness of the valley's walls, positive.

    Raises:
        ValueError: if `b` is not positive, or a number is not finite or beyond 1e100.

    Example:
        >>> rosenbrock().stationary_points[0].params
        array([1., 1.])
    """
    check_positive(b=b)
    check_finite(a=a, b=b)
    if max(abs(float(a)), abs(float(b))) > 1e100:  # their squares are to be finite, too
        raise ValueError(f"a and b must be at most 1e100, got {a} and {b}")
    return surface(
        "rosenbrock",
        lambda x, y: (a - x) ** 2 + b * (y - x * x) ** 2,
        lambda x, y: (2 + 12 * b * x**2 - 4 * b * y, -4 * b * x, 2 * b),
        [(a, a * a, "MINIMUM", 0.0)],
        minimum_value=0.0,
        bounds=((-2, 2), (-1, 3)),
    )


def hyperbola_valley() -> Problem:
    """The function `(x y - 1)**2`: a curve of minima, and a strict saddle at the origin.

    Every point of the valley x y = 1 is a minimum with value 0 and Hessian eigenvalues 0 and
    `2 (x**2 + y**2)`; four of them stand in `stationary_points`. It is the smallest matrix
    factorization, and the smallest linear network with two layers.

    Example:
        >>> hyperbola_valley().stationary_points[0].eigenvalues
        array([-2.,  2.])
    """
    return surface(
        "hyperbola-valley",
        lambda x, y: (x * y - 1) ** 2,
        lambda x, y: (2 * y**2, 4 * x * y - 2, 2 * x**2),
        [
            (0.0, 0.0, "STRICT_SADDLE", 1.0),
            (1.0, 1.0, "MINIMUM", 0.0),
            (-1.0, -1.0, "MINIMUM", 0.0),
            (2.0, 0.5, "MINIMUM", 0.0),
            (-0.5, -2.0, "MINIMUM", 0.0),
        ],
        minimum_value=0.0,
        bounds=((-2.5, 2.5), (-2.5, 2.5)),
    )


def monkey_saddle() -> Problem:
    """The function `x**3 - 3 x y**2`: zero Hessian, three ways down: two legs and a tail.

    Example:
        >>> monkey_saddle().stationary_points[0].nullity
        2
    """
    return surface(
        "monkey-saddle",
        lambda x, y: x * (x * x - 3 * y * y),
        lambda x, y: (6 * x, -6 * y, -6 * x),
        [(0.0, 0.0, "NON_STRICT_SADDLE", 0.0)],
        minimum_value=-math.inf,
        bounds=((-1, 1), (-1, 1)),
    )


def quartic_bowl() -> Problem:
    """The function `x**4 + y**4`: a minimum that the Hessian, which is zero, cannot see.

    Example:
        >>> quartic_bowl().stationary_points[0].kind
        'MINIMUM'
    """
    return surface(
        "quartic-bowl",
        lambda x, y: x**4 + y**4,
        lambda x, y: (12 * x**2, 0, 12 * y**2),
        [(0.0, 0.0, "MINIMUM", 0.0)],
        minimum_value=0.0,
        bounds=((-1, 1), (-1, 1)),
    )


def quartic_saddle() -> Problem:
    """The function `x**4 - y**4`: a saddle with the same zero Hessian as `quartic_bowl`.

    Example:
        >>> quartic_saddle().stationary_points[0].kind
        'NON_STRICT_SADDLE'
    """
    return surface(
        "quartic-saddle",
        lambda x, y: x**4 - y**4,
        lambda x, y: (12 * x**2, 0, -12 * y**2),
        [(0.0, 0.0, "NON_STRICT_SADDLE", 0.0)],
        minimum_value=-math.inf,
        bounds=((-1, 1), (-1, 1)),
    )


def cuspidal_saddle() -> Problem:
    """The function `y**2 + x**3`: semidefinite Hessian, third order decides against a minimum.

    Its level set through the origin is the cusp y**2 = -x**3. Gradient descent reaches the origin
    from a set of positive measure: every start with x > 0 small enough.

    Example:
        >>> cuspidal_saddle().stationary_points[0].eigenvalues
        array([0., 2.])
    """
    return surface(
        "cuspidal-saddle",
        lambda x, y: y * y + x**3,
        lambda x, _y: (6 * x, 0, 2),
        [(0.0, 0.0, "NON_STRICT_SADDLE", 0.0)],
        minimum_value=-math.inf,
        bounds=((-1, 1), (-1, 1)),
    )
