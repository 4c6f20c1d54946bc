"""Constants and iteration bounds of the methods that escape saddle points.

Throughout, f has a beta-Lipschitz gradient (`smoothness`) and a rho-Lipschitz Hessian
(`hessian_lipschitz`), starts `function_gap` above its infimum, and is to be brought to an
epsilon-second-order stationary point, `|g| <= epsilon` and `lambda_min >= -sqrt(rho epsilon)`,
with probability `1 - failure_probability`. That is possible without luck only for
`epsilon <= beta**2 / rho`; beyond, every point qualifies by its curvature alone.

The theorems hold for an unspecified absolute constant c (small without momentum, large with it),
and are pessimistic: practice uses far larger noise, far more often.
"""

from typing import NamedTuple

from jaxopt_course._checks import check_at_most, check_positive, is_concrete_number
from jaxopt_course._reading import readable
from jaxopt_course.theory._numbers import Numeric, in_doubles, namespace


@readable
class PerturbedGDParameters(NamedTuple):
    """Constants of perturbed gradient descent.

    Attributes:
        learning_rate: eta.
        radius: r of the ball from which the noise is drawn.
        gradient_threshold: g_thres, the gradient norm below which noise is added.
        function_threshold: f_thres, the decrease expected of a perturbation; less than that in
            `interval` steps, and the point before it is accepted as the answer.
        interval: t_thres, steps between two perturbations.
    """

    learning_rate: Numeric
    radius: Numeric
    gradient_threshold: Numeric
    function_threshold: Numeric
    interval: Numeric


@in_doubles
def perturbed_gd_parameters(
    *,
    smoothness: Numeric,
    hessian_lipschitz: Numeric,
    epsilon: Numeric,
    failure_probability: Numeric,
    function_gap: Numeric,
    dimension: Numeric,
    c: Numeric = 1.0,
) -> PerturbedGDParameters:
    """The constants of perturbed gradient descent for a guaranteed result.

        chi = 3 max(ln(d beta Delta / (c epsilon**2 delta)), 4)
        eta = c / beta                          r       = sqrt(c) / chi**2 * epsilon / beta
        g_thres = sqrt(c) / chi**2 * epsilon    f_thres = c / chi**3 * sqrt(epsilon**3 / rho)
        t_thres = chi / c**2 * beta / sqrt(rho epsilon), rounded up

    Args:
        smoothness: beta.
        hessian_lipschitz: rho.
        epsilon: Gradient norm wanted, at most beta**2 / rho.
        failure_probability: delta, in (0, 1].
        function_gap: Delta, value at the start minus the infimum (or a bound above it).
        dimension: d, the number of parameters.
        c: The theorem's absolute constant.

    Returns:
        The constants, in double precision for Python numbers, traced for traced ones.

    Raises:
        ValueError: an argument that is not positive, or epsilon or the probability too large.

    Example:
        >>> constants = perturbed_gd_parameters(
        ...     smoothness=1.0, hessian_lipschitz=1.0, epsilon=0.01, failure_probability=0.1,
        ...     function_gap=1.0, dimension=10)
        >>> constants.learning_rate, float(constants.interval)
        (1.0, 415.0)

    Reference:
        Jin, Ge, Netrapalli, Kakade and Jordan (2017), Algorithm 2 and Theorem 3,
        https://arxiv.org/abs/1703.00887.
    """
    np = namespace(
        smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension, c
    )
    _check(smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension, c)
    chi = _perturbed_gd_chi(
        np, smoothness, epsilon, failure_probability, function_gap, dimension, c
    )
    scale = np.sqrt(c) / chi**2
    return PerturbedGDParameters(
        learning_rate=c / smoothness,
        radius=scale * epsilon / smoothness,
        gradient_threshold=scale * epsilon,
        function_threshold=c / chi**3 * np.sqrt(epsilon**3 / hessian_lipschitz),
        interval=np.ceil(chi / c**2 * smoothness / np.sqrt(hessian_lipschitz * epsilon)),
    )


@in_doubles
def perturbed_gd_iterations(
    *,
    smoothness: Numeric,
    hessian_lipschitz: Numeric,
    epsilon: Numeric,
    failure_probability: Numeric,
    function_gap: Numeric,
    dimension: Numeric,
    c: Numeric = 1.0,
) -> Numeric:
    """The most steps that perturbed GD needs: `chi**4 / c**3 * beta Delta / epsilon**2`.

    Every `interval` steps after a perturbation lower f by `function_threshold`, and every step with
    a large gradient by more than its share of that, so Delta is used up after this many. rho
    does not appear: it shortens the interval as it shrinks the decrease.

    Args:
        smoothness: beta.
        hessian_lipschitz: rho.
        epsilon: Gradient norm wanted, at most beta**2 / rho.
        failure_probability: delta, in (0, 1].
        function_gap: Delta.
        dimension: d.
        c: The theorem's absolute constant, at most 1/2 for this count.

    Returns:
        The bound, not rounded.

    Raises:
        ValueError: as `perturbed_gd_parameters`.

    Example:
        >>> bound = perturbed_gd_iterations(
        ...     smoothness=1.0, hessian_lipschitz=1.0, epsilon=0.01, failure_probability=0.1,
        ...     function_gap=1.0, dimension=10, c=0.5)
        >>> print(f"{bound:.2g}")
        2.9e+11

    Reference:
        Jin et al. (2017), Theorem 3 and its proof, https://arxiv.org/abs/1703.00887.
    """
    np = namespace(smoothness, epsilon, failure_probability, function_gap, dimension, c)
    _check(smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension, c)
    chi = _perturbed_gd_chi(
        np, smoothness, epsilon, failure_probability, function_gap, dimension, c
    )
    return chi**4 / c**3 * smoothness * function_gap / epsilon**2


@readable
class PerturbedAGDParameters(NamedTuple):
    """Constants of perturbed accelerated gradient descent.

    Attributes:
        learning_rate: eta.
        momentum: theta, the share of the velocity that is LOST at each step.
        gamma: Non-convexity along the velocity beyond which it is exploited.
        nce_radius: s, the step of negative-curvature exploitation.
        radius: r of the ball from which the noise is drawn.
        gradient_threshold: epsilon, the gradient norm below which noise is added.
        interval: Steps between two perturbations.
    """

    learning_rate: Numeric
    momentum: Numeric
    gamma: Numeric
    nce_radius: Numeric
    radius: Numeric
    gradient_threshold: Numeric
    interval: Numeric


@in_doubles
def perturbed_agd_parameters(
    *,
    smoothness: Numeric,
    hessian_lipschitz: Numeric,
    epsilon: Numeric,
    failure_probability: Numeric,
    function_gap: Numeric,
    dimension: Numeric,
    c: Numeric = 1.0,
) -> PerturbedAGDParameters:
    """The constants of perturbed accelerated gradient descent for a guaranteed result.

        kappa = beta / sqrt(rho epsilon)     chi = max(1, ln(d beta Delta / (rho epsilon delta)))
        eta   = 1 / (4 beta)                 theta = 1 / (4 sqrt(kappa))
        gamma = theta**2 / eta               s = gamma / (4 rho)
        r     = eta epsilon / (chi**5 c**8)  interval = sqrt(kappa) chi c, rounded up

    Args:
        smoothness: beta.
        hessian_lipschitz: rho.
        epsilon: Gradient norm wanted, at most beta**2 / rho.
        failure_probability: delta, in (0, 1].
        function_gap: Delta, value at the start minus the infimum (or a bound above it).
        dimension: d, the number of parameters.
        c: The theorem's absolute constant; "large enough".

    Returns:
        The constants, named as `transforms.perturbed_accelerated_gradient_descent` takes them.

    Raises:
        ValueError: as `perturbed_gd_parameters`.

    Example:
        >>> constants = perturbed_agd_parameters(
        ...     smoothness=1.0, hessian_lipschitz=1.0, epsilon=0.0001, failure_probability=0.1,
        ...     function_gap=1.0, dimension=10)
        >>> float(constants.momentum), constants.learning_rate
        (0.025, 0.25)

    Reference:
        Jin, Netrapalli and Jordan (2018), Algorithm 2 and equation 3,
        https://arxiv.org/abs/1711.10456.
    """
    np = namespace(
        smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension, c
    )
    _check(smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension, c)
    kappa = smoothness / np.sqrt(hessian_lipschitz * epsilon)
    chi = _perturbed_agd_chi(
        np, smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension
    )
    learning_rate = 1 / (4 * smoothness)
    momentum = 1 / (4 * np.sqrt(kappa))
    gamma = momentum**2 / learning_rate
    return PerturbedAGDParameters(
        learning_rate=learning_rate,
        momentum=momentum,
        gamma=gamma,
        nce_radius=gamma / (4 * hessian_lipschitz),
        radius=learning_rate * epsilon / (chi**5 * c**8),
        gradient_threshold=epsilon,
        interval=np.ceil(np.sqrt(kappa) * chi * c),
    )


@in_doubles
def perturbed_agd_iterations(
    *,
    smoothness: Numeric,
    hessian_lipschitz: Numeric,
    epsilon: Numeric,
    failure_probability: Numeric,
    function_gap: Numeric,
    dimension: Numeric,
    c: Numeric = 1.0,
) -> Numeric:
    """The most steps: `chi**6 c**8 beta**(1/2) rho**(1/4) Delta / epsilon**(7/4)`.

    In every `interval` the Hamiltonian falls by `sqrt(epsilon**3 / rho) / (chi**5 c**7)`.

    Args:
        smoothness: beta.
        hessian_lipschitz: rho.
        epsilon: Gradient norm wanted, at most beta**2 / rho.
        failure_probability: delta, in (0, 1].
        function_gap: Delta.
        dimension: d.
        c: The theorem's absolute constant.

    Returns:
        The bound, not rounded.

    Raises:
        ValueError: as `perturbed_gd_parameters`.

    Example:
        >>> bound = perturbed_agd_iterations(
        ...     smoothness=1.0, hessian_lipschitz=1.0, epsilon=0.01, failure_probability=0.1,
        ...     function_gap=1.0, dimension=10)
        >>> print(f"{bound:.2g}")
        1.9e+09

    Reference:
        Jin, Netrapalli and Jordan (2018), Theorem 3, https://arxiv.org/abs/1711.10456.
    """
    np = namespace(
        smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension
    )
    _check(smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension, c)
    chi = _perturbed_agd_chi(
        np, smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension
    )
    rate = smoothness**0.5 * hessian_lipschitz**0.25 * function_gap / epsilon**1.75
    return chi**6 * c**8 * rate


def _perturbed_gd_chi(np, smoothness, epsilon, failure_probability, function_gap, dimension, c):
    odds = dimension * smoothness * function_gap / (c * epsilon**2 * failure_probability)
    return 3 * np.maximum(np.log(odds), 4)


def _perturbed_agd_chi(
    np, smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension
):
    scale = hessian_lipschitz * epsilon * failure_probability
    return np.maximum(1, np.log(dimension * smoothness * function_gap / scale))


def _check(smoothness, hessian_lipschitz, epsilon, failure_probability, function_gap, dimension, c):
    """Raise unless the numbers of the theorem are in range."""
    check_positive(
        smoothness=smoothness,
        hessian_lipschitz=hessian_lipschitz,
        epsilon=epsilon,
        failure_probability=failure_probability,
        function_gap=function_gap,
        dimension=dimension,
        c=c,
        arrays=True,
    )
    check_at_most(1, failure_probability=failure_probability)
    if is_concrete_number(smoothness) and is_concrete_number(hessian_lipschitz):
        largest = smoothness**2 / hessian_lipschitz
        check_at_most(largest, "smoothness**2 / hessian_lipschitz", epsilon=epsilon)
