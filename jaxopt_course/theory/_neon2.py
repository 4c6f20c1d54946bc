"""Constants of Neon2, which finds negative curvature from gradients alone.

Allen-Zhu and Li (2018), https://arxiv.org/abs/1711.06673.
"""

from typing import NamedTuple

from jaxopt_course._checks import check_at_most, check_positive
from jaxopt_course._reading import readable
from jaxopt_course.theory._numbers import Numeric, in_doubles, namespace


@readable
class Neon2Parameters(NamedTuple):
    """Constants of Neon2's search for negative curvature.

    Attributes:
        start_radius: sigma, the norm of the random first step.
        end_radius: r, the distance at which the direction is accepted.
        num_steps: T, after which there is no curvature below -delta, very probably.
    """

    start_radius: Numeric
    end_radius: Numeric
    num_steps: Numeric


@in_doubles
def neon2_parameters(
    *,
    smoothness: Numeric,
    hessian_lipschitz: Numeric,
    curvature: Numeric,
    failure_probability: Numeric,
    dimension: Numeric,
    c: Numeric = 2.5,
) -> Neon2Parameters:
    """The constants of deterministic Neon2, which finds curvature by gradients alone.

        T     = c**2 ln(d / p) sqrt(beta / delta), rounded up
        sigma = (d / p)**(-2 c) delta / (T**3 rho)
        r     = (d / p)**c sigma

    If the smallest eigenvalue is at most -delta, then with probability 1 - p a direction with
    curvature at most -delta / 2 is found within T steps. The radii are tiny: float64 needs
    `sigma` well above 1e-16 of the parameters' size, and float32 is out of the question.

    Args:
        smoothness: beta.
        hessian_lipschitz: rho.
        curvature: delta, the size of negative curvature to be found, positive, at most beta.
        failure_probability: p, in (0, 1].
        dimension: d.
        c: The theorem's "sufficiently large" constant. 2.5 suffices on a quadratic, where T steps
            of the recursion, each a growth by `exp(sqrt(delta / (2 beta)))`, reach r from any
            first step but the share p that starts nearest to orthogonal.

    Returns:
        The constants, named as `transforms.neon2` takes them.

    Raises:
        ValueError: an argument that is not positive, or one too large.

    Example:
        >>> float(neon2_parameters(smoothness=1.0, hessian_lipschitz=1.0, curvature=0.25,
        ...     failure_probability=0.1, dimension=10).num_steps)
        58.0

    Reference:
        Allen-Zhu and Li (2018), Algorithm 3 and Theorem 3.
    """
    check_positive(
        smoothness=smoothness,
        hessian_lipschitz=hessian_lipschitz,
        curvature=curvature,
        failure_probability=failure_probability,
        dimension=dimension,
        c=c,
        arrays=True,
    )
    check_at_most(1, failure_probability=failure_probability)
    check_at_most(smoothness, "smoothness", curvature=curvature)
    np = namespace(smoothness, hessian_lipschitz, curvature, failure_probability, dimension, c)
    odds = dimension / failure_probability
    num_steps = np.ceil(c**2 * np.log(odds) * np.sqrt(smoothness / curvature))
    start = odds ** (-2.0 * c) * curvature / (num_steps**3 * hessian_lipschitz)
    return Neon2Parameters(start, odds**c * start, num_steps)
