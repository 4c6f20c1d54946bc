r"""The learning rate that grows exponentially, to which weight decay amounts under normalization.

A function of which only the directions of the weights matter, as with normalization behind every
layer, f(c w) = f(w), has gradients of size 1/|w|. SGD with momentum on it, with weight decay
lambda and a constant rate eta,

    m[t+1] = gamma m[t] + g(w[t]) + lambda w[t],    w[t+1] = w[t] - eta m[t+1],    m[0] = 0,

goes through the same functions as SGD without decay with

    eta[t] = eta alpha^(-2 t - 1),    m[0] = -(1 - alpha) w[0] / (eta alpha),

whose weights are `alpha^-t w[t]`. alpha is the larger root of
`x^2 - (1 + gamma - lambda eta) x + gamma = 0`; without momentum it is 1 - lambda eta.

Li and Arora (2020), https://arxiv.org/abs/1910.07454, theorem 2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_at_most,
    check_fraction,
    check_non_negative,
    check_positive,
    is_traced,
)
from jaxopt_course._reading import readable
from jaxopt_course.theory._numbers import Numeric, in_doubles, namespace


@readable
class ExponentialRate(NamedTuple):
    """A learning rate that grows by a factor a step, and the momentum to begin with.

    Attributes:
        learning_rate: Rate of step 0, eta / alpha.
        growth: Factor on the rate a step, alpha^-2.
        initial_momentum: Momentum before step 0 over the weights, -(1 - alpha) / (eta alpha).
        contraction: alpha; the weights are alpha^-t times those of the run with weight decay.
    """

    learning_rate: Numeric
    growth: Numeric
    initial_momentum: Numeric
    contraction: Numeric

    def schedule(self, count: jax.typing.ArrayLike) -> jax.Array:
        """The rate of a step, a schedule as optax takes it.

        Args:
            count: Number of steps taken, from 0.

        Returns:
            `learning_rate * growth**count` in JAX's default precision. It and the weights leave
            float32's range in the end: after ln(1e38) / (-2 ln alpha) steps, 83,000 at
            alpha = 0.99947.

        Example:
            >>> rate = exponential_rate(learning_rate=0.1, decay=0.0, weight_decay=5.0)
            >>> print(rate.schedule(2))
            3.2
        """
        # A power of a factor near 1 would multiply the factor's rounding by the count.
        exponent = namespace(self.growth).log(self.growth)
        return self.learning_rate * jnp.exp(count * exponent)


@in_doubles
def exponential_rate(
    *, learning_rate: Numeric, weight_decay: Numeric, decay: Numeric = 0.9
) -> ExponentialRate:
    """The exponential rate that replaces weight decay where only directions of weights matter.

    It replaces it exactly with the corrected momentum, which is put into the optimizer's state
    before the first step; from momentum 0 the runs differ from the first step on. The sum of
    gradients is outside the rate, as in `optax.sgd`, `optax.trace` and, with the opposite sign,
    `transforms.heavy_ball`:

        rate = theory.exponential_rate(learning_rate=0.1, weight_decay=5e-4)
        optimizer = optax.sgd(rate.schedule, momentum=0.9)
        momentum = jax.tree.map(lambda w: rate.initial_momentum * w, params)
        state = optax.tree.set(optimizer.init(params), trace=momentum)

    Normalization must be exact: without scales and biases that are trained, and with an epsilon
    that is negligible beside the variances of both runs.

    Args:
        learning_rate: eta, the constant rate of the run with weight decay, positive.
        weight_decay: lambda, the multiple of the weights that is added to the gradient, >= 0.
        decay: gamma, the share of the momentum that survives a step, in [0, 1).

    Returns:
        The rate of step 0, its growth, the momentum over the weights at the start, and alpha.

    Raises:
        ValueError: if an argument is out of its range, or `learning_rate * weight_decay` exceeds
            (1 - sqrt(decay))^2, where alpha is not real; for `decay=0` it must be below 1.

    Example:
        >>> rate = exponential_rate(learning_rate=0.1, weight_decay=5e-3)
        >>> round(rate.contraction, 4), round(rate.growth, 4), round(rate.initial_momentum, 4)
        (0.9948, 1.0106, -0.0528)
    """
    check_positive(learning_rate=learning_rate, arrays=True)
    check_non_negative(weight_decay=weight_decay, arrays=True)
    check_fraction(decay=decay, arrays=True)
    np = namespace(learning_rate, weight_decay, decay)
    shrinkage = learning_rate * weight_decay
    limit = (1 - np.sqrt(decay)) ** 2
    product = {"learning_rate * weight_decay": shrinkage}
    check_at_most(limit, "(1 - sqrt(decay))^2", **product)
    # Without momentum the limit is 1, and there all of the weights is lost.
    if not is_traced(shrinkage) and np.any(shrinkage >= 1):
        raise ValueError(f"learning_rate * weight_decay must be below 1, got {brief(shrinkage)}")
    # 1 - alpha is the smaller root of y^2 - (1 - gamma + lambda eta) y + lambda eta, in the form
    # in which nothing cancels.
    b = 1 - decay + shrinkage
    lost = 2 * shrinkage / (b + np.sqrt(np.maximum(b**2 - 4 * shrinkage, 0)))
    alpha = 1 - lost
    return ExponentialRate(
        learning_rate=learning_rate / alpha,
        growth=alpha**-2.0,
        initial_momentum=-lost / (learning_rate * alpha),
        contraction=alpha,
    )
