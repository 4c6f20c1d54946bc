"""What one gradient step, and many, achieve on a smooth function.

    f(x - eta g) <= f(x) - eta (1 - eta beta / 2) |g|**2,       g = grad f(x)

if the gradient is beta-Lipschitz on the segment between the two points: the descent lemma. Summed
over T steps it bounds the smallest gradient norm, and so the steps to an epsilon-stationary point.

Nesterov (2004), Introductory Lectures on Convex Optimization, section 1.2.3.
"""

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_non_negative, check_positive, is_concrete_number
from jaxopt_course.theory._numbers import Numeric, in_doubles, namespace


@in_doubles
def guaranteed_decrease(
    gradient_norm: Numeric, *, learning_rate: Numeric, smoothness: Numeric
) -> Numeric:
    """The decrease `eta (1 - eta beta / 2) |g|**2`, which a gradient step reaches at least.

    Args:
        gradient_norm: |g| where the step starts.
        learning_rate: eta; the guarantee is largest, `|g|**2 / (2 beta)`, at 1 / beta, and negative
            (a bound on the increase) beyond 2 / beta.
        smoothness: beta.

    Returns:
        The decrease, of the shape that the arguments broadcast to.

    Raises:
        ValueError: a rate or smoothness that is not positive.

    Example:
        >>> guaranteed_decrease(2.0, learning_rate=0.5, smoothness=2.0)
        1.0
    """
    check_positive(learning_rate=learning_rate, smoothness=smoothness, arrays=True)
    return learning_rate * (1 - learning_rate * smoothness / 2) * gradient_norm**2


@in_doubles
def descent_lemma_gap(
    value: Numeric,
    next_value: Numeric,
    gradient_norm: Numeric,
    *,
    learning_rate: Numeric,
    smoothness: Numeric,
) -> Numeric:
    """How much better a gradient step did than the descent lemma promises.

    Args:
        value: f(x).
        next_value: f(x - eta g).
        gradient_norm: |g|.
        learning_rate: eta.
        smoothness: beta.

    Returns:
        `f(x) - f(x - eta g) - eta (1 - eta beta / 2) |g|**2`: never negative where beta is a
        Lipschitz constant of the gradient, and zero on a quadratic along its top eigenvector.

    Raises:
        ValueError: as `guaranteed_decrease`.

    Example:
        >>> descent_lemma_gap(1.0, 0.0, 2.0, learning_rate=0.5, smoothness=2.0)  # f(x) = x**2
        0.0
    """
    promised = guaranteed_decrease(
        gradient_norm, learning_rate=learning_rate, smoothness=smoothness
    )
    return value - next_value - promised


@in_doubles
def stationarity_iterations(
    *,
    smoothness: Numeric,
    function_gap: Numeric,
    epsilon: Numeric,
    learning_rate: Numeric | None = None,
) -> Numeric:
    """The steps after which some gradient norm was at most epsilon.

    Args:
        smoothness: beta.
        function_gap: Delta, the value at the start minus the infimum.
        epsilon: Gradient norm wanted.
        learning_rate: eta in (0, 2 / beta); 1 / beta by default.

    Returns:
        `T = Delta / (eta (1 - eta beta / 2) epsilon**2)`, not rounded; `2 beta Delta / epsilon**2`
        at eta = 1 / beta. In arrays a rate of 2 / beta or more, which guarantees nothing, gives
        inf.

    Raises:
        ValueError: an argument out of its range.

    Example:
        >>> stationarity_iterations(smoothness=2.0, function_gap=1.0, epsilon=0.25)
        64.0
    """
    rate = 1 / smoothness if learning_rate is None else learning_rate
    check_positive(smoothness=smoothness, epsilon=epsilon, learning_rate=rate, arrays=True)
    check_non_negative(function_gap=function_gap, arrays=True)
    if is_concrete_number(rate) and is_concrete_number(smoothness) and rate * smoothness >= 2:
        raise ValueError(f"learning_rate must be less than 2 / smoothness, got {brief(rate)}")
    slope = guaranteed_decrease(epsilon, learning_rate=rate, smoothness=smoothness)
    np = namespace(function_gap, slope)
    never = slope <= 0
    return np.where(never, np.inf, function_gap / np.where(never, 1, slope))[()]


@in_doubles
def gradient_norm_bound(
    num_steps: Numeric, *, smoothness: Numeric, function_gap: Numeric
) -> Numeric:
    """The bound `sqrt(2 beta Delta / T)`, which the smallest of T gradient norms cannot exceed.

    Args:
        num_steps: T, steps of gradient descent with rate 1 / beta.
        smoothness: beta.
        function_gap: Delta, the value at the start minus the infimum.

    Returns:
        The bound on `min |g_t|` over t < T.

    Raises:
        ValueError: a number of steps or smoothness that is not positive, or a negative gap.

    Example:
        >>> float(gradient_norm_bound(400, smoothness=2.0, function_gap=1.0))
        0.1
    """
    check_positive(num_steps=num_steps, smoothness=smoothness, arrays=True)
    check_non_negative(function_gap=function_gap, arrays=True)
    np = namespace(num_steps, smoothness, function_gap)
    return np.sqrt(2 * smoothness * function_gap / num_steps)


@in_doubles
def convex_value_bound(num_steps: Numeric, *, smoothness: Numeric, distance: Numeric) -> Numeric:
    """The worst gap of gradient descent on a convex function, `beta R**2 / (4 N + 2)`.

    The bound is tight: a Huber function attains it.

    Args:
        num_steps: N, steps with rate 1 / beta.
        smoothness: beta.
        distance: R, from the start to a minimiser.

    Returns:
        The bound on `f(x_N) - f*`.

    Raises:
        ValueError: a smoothness that is not positive, or a negative number.

    Example:
        >>> convex_value_bound(2, smoothness=1.0, distance=10.0)
        10.0

    Reference:
        Drori and Teboulle (2014), Theorem 3.1, https://arxiv.org/abs/1206.3209.
    """
    check_positive(smoothness=smoothness, arrays=True)
    check_non_negative(num_steps=num_steps, distance=distance, arrays=True)
    return smoothness * distance**2 / (4 * num_steps + 2)


@in_doubles
def second_order_threshold(*, hessian_lipschitz: Numeric, epsilon: Numeric) -> Numeric:
    """The threshold `-sqrt(rho epsilon)`, above which curvature counts as not negative.

    A point with `|g| <= epsilon` and no Hessian eigenvalue below this is an epsilon-second-order
    stationary point.

    Args:
        hessian_lipschitz: rho.
        epsilon: The gradient norm allowed.

    Returns:
        The threshold on the smallest eigenvalue.

    Raises:
        ValueError: a negative number.

    Example:
        >>> float(second_order_threshold(hessian_lipschitz=4.0, epsilon=0.01))
        -0.2

    Reference:
        Nesterov and Polyak (2006), https://doi.org/10.1007/s10107-006-0706-8; Jin et al. (2017),
        Definition 3, https://arxiv.org/abs/1703.00887.
    """
    check_non_negative(hessian_lipschitz=hessian_lipschitz, epsilon=epsilon, arrays=True)
    np = namespace(hessian_lipschitz, epsilon)
    return -np.sqrt(hessian_lipschitz * epsilon)
