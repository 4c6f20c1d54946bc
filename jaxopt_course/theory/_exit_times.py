"""How long gradient descent stays near a saddle, exactly, where the function is quadratic.

Along curvature -g a step multiplies the distance by 1 + eta g; along curvature +g by 1 - eta g.
Everything here follows from these two factors.

Lee, Simchowitz, Jordan and Recht (2016), https://arxiv.org/abs/1602.04915, begin with this example.
"""

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_positive, is_concrete_number
from jaxopt_course.theory._numbers import Numeric, in_doubles, namespace


@in_doubles
def quadratic_escape_steps(
    *,
    learning_rate: Numeric,
    curvature: Numeric,
    start: Numeric,
    end: Numeric,
) -> Numeric:
    """The steps in which a distance along negative curvature grows from start to end.

    Args:
        learning_rate: eta.
        curvature: g > 0, where the Hessian's eigenvalue is -g.
        start: Distance from the saddle along the eigenvector, positive.
        end: Distance to reach.

    Returns:
        `ceil(ln(end / start) / ln(1 + eta g))`, and 0 where start is beyond end. In arrays a
        curvature g <= 0 or a start of 0 gives inf: the distance never grows.

    Raises:
        ValueError: an argument that is not positive.

    Example:
        >>> float(quadratic_escape_steps(learning_rate=0.25, curvature=1.0, start=1e-6, end=1.0))
        62.0
    """
    check_positive(
        learning_rate=learning_rate, curvature=curvature, start=start, end=end, arrays=True
    )
    np = namespace(learning_rate, curvature, start, end)
    growth = np.log1p(learning_rate * curvature)
    grows = ~(growth <= 0)  # NaN stays NaN.
    steps = np.where(grows, np.log(end / start) / np.where(grows, growth, 1), np.inf)
    return np.where(start >= end, 0.0, np.ceil(steps))[()]


@in_doubles
def octopus_exit_ratio(
    *, learning_rate: Numeric, attraction: Numeric, repulsion: Numeric
) -> Numeric:
    """How many times longer gradient descent needs for each next saddle of the octopus.

    A coordinate that waits shrinks by 1 - 2 eta L a step until its turn comes, after T steps, and
    must then grow back by 1 + 2 eta gamma, which takes `T ln(1 - 2 eta L) / -ln(1 + 2 eta gamma)`
    more. So the exit times grow geometrically, by

        1 - ln(1 - 2 eta L) / ln(1 + 2 eta gamma)  ->  (L + gamma) / gamma    as eta -> 0.

    Args:
        learning_rate: eta, less than 1 / (2 L).
        attraction: L of `problems.octopus`.
        repulsion: gamma of `problems.octopus`.

    Returns:
        The limit of the ratio of successive exit times.

    Raises:
        ValueError: an argument that is not positive, or a learning rate of 1 / (2 L) or more.

    Example:
        >>> f"{octopus_exit_ratio(learning_rate=1 / 6, attraction=1.5, repulsion=1.0):.3f}"
        '3.409'

    Reference:
        Du et al. (2017), proof of Theorem 4.1 for the limit, https://arxiv.org/abs/1705.10412.
    """
    check_positive(
        learning_rate=learning_rate, attraction=attraction, repulsion=repulsion, arrays=True
    )
    if (
        is_concrete_number(learning_rate)
        and is_concrete_number(attraction)
        and 2 * learning_rate * attraction >= 1
    ):
        raise ValueError(
            f"learning_rate must be less than 1 / (2 attraction) = {1 / (2 * attraction)}, "
            f"got {brief(learning_rate)}"
        )
    np = namespace(learning_rate, attraction, repulsion)
    shrink = np.log1p(-2 * learning_rate * attraction)
    return 1 - shrink / np.log1p(2 * learning_rate * repulsion)


@in_doubles
def octopus_exit_ratio_bound(*, attraction: Numeric, repulsion: Numeric) -> Numeric:
    """The bound `(L + gamma) / gamma`, below which by the theorem no ratio of exit times falls.

    Args:
        attraction: L of `problems.octopus`.
        repulsion: gamma of `problems.octopus`.

    Returns:
        The bound, whatever the learning rate.

    Raises:
        ValueError: a number that is not positive.

    Example:
        >>> octopus_exit_ratio_bound(attraction=1.5, repulsion=1.0)
        2.5

    Reference:
        Du et al. (2017), proof of Theorem 4.1, https://arxiv.org/abs/1705.10412.
    """
    check_positive(attraction=attraction, repulsion=repulsion, arrays=True)
    return (attraction + repulsion) / repulsion
