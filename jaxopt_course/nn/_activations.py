r"""Activation functions whose values and slopes stay right far from zero, and their gains.

    sigmoid     1 / (1 + exp(-x))
    tanh        (exp(x) - exp(-x)) / (exp(x) + exp(-x))
    relu        max(x, 0)
    leaky_relu  x for x >= 0, alpha x below
    elu         x for x > theta, theta + alpha (exp(x - theta) - 1) below
    gelu        x P(z <= x), z standard normal
    silu        x sigmoid(x)

Half-precision inputs are computed in float32 and rounded once, at the end. Slopes are formed
without cancellation: that of the sigmoid is `sigmoid(x) sigmoid(-x)`, where the usual `y (1 - y)`
is zero as soon as y rounds to one (from x = 8 in float16, x = 17 in float32).

Clevert et al. (2016), https://arxiv.org/abs/1511.07289 (ELU);
Hendrycks and Gimpel (2016), https://arxiv.org/abs/1606.08415 (GELU, SiLU);
He et al. (2015), https://arxiv.org/abs/1502.01852, equations 10 and 15 (gains).
"""

import difflib
import functools
import inspect
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_callable, check_flag, check_one_of, check_real

Activation = Callable[[jax.Array], jax.Array]


def _rounded_once(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Compute `function` in float32 where its first argument is float16 or bfloat16."""
    checks = {
        name: check_flag if isinstance(parameter.default, bool) else check_real
        for name, parameter in list(inspect.signature(function).parameters.items())[1:]
    }

    @functools.wraps(function)
    def computed_wide(x, *args, **kwargs):
        check_real(x=x)
        for name, value in (dict(zip(checks, args, strict=False)) | kwargs).items():
            if name in checks:
                checks[name](**{name: value})
        x = jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jnp.integer):
            x = x.astype(float)
        if jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4:
            return function(x.astype(jnp.float32), *args, **kwargs).astype(x.dtype)
        return function(x, *args, **kwargs)

    return computed_wide


@jax.custom_jvp
def _logistic(x):
    return jax.lax.logistic(x)


_logistic.defjvps(lambda tangent, y, x: tangent * (y * _logistic(-x)))


@jax.custom_jvp
def _tanh(x):
    return jnp.tanh(x)


_tanh.defjvps(lambda tangent, _, x: tangent * (4 * _logistic(2 * x) * _logistic(-2 * x)))


def _expm1(x):
    # The slope of jnp.expm1 is computed as y + 1, which cancels once y is near -1.
    far = x < -1
    return jnp.where(far, jnp.exp(x) - 1, jnp.expm1(jnp.where(far, 0, x)))


def _rectified_beyond(bound: float, function: Activation, x: jax.Array) -> jax.Array:
    """Apply `function` where |x| < bound and ReLU, its limit to rounding, elsewhere.

    Products such as x * exp(-x^2) are 0 there, but computed as inf * 0; the inner `where` keeps
    that NaN out of derivatives too.
    """
    inside = jnp.abs(x) < bound
    return jnp.where(inside, function(jnp.where(inside, x, 0)), jax.nn.relu(x))


def identity(x: jax.Array) -> jax.Array:
    """The activation of a linear layer: `x` itself.

    Args:
        x: Array of any shape.

    Returns:
        `x` itself.

    Example:
        >>> identity(-2.0)
        -2.0
    """
    check_real(x=x)
    return x


@_rounded_once
def sigmoid(x: jax.Array) -> jax.Array:
    """The logistic function, between 0 and 1.

    Args:
        x: Array of any shape.

    Returns:
        `1 / (1 + exp(-x))`, in the dtype of `x`.

    Example:
        >>> round(float(sigmoid(2.0)), 4)
        0.8808
    """
    return _logistic(x)


@_rounded_once
def tanh(x: jax.Array) -> jax.Array:
    """The hyperbolic tangent, between -1 and 1, antisymmetric.

    Args:
        x: Array of any shape.

    Returns:
        The hyperbolic tangent, in the dtype of `x`.

    Example:
        >>> round(float(tanh(2.0)), 4)
        0.964
    """
    return _tanh(x)


def relu(x: jax.Array) -> jax.Array:
    """The rectifier, zero below zero. The slope at zero is taken as 0.

    Args:
        x: Array of any shape.

    Returns:
        `max(x, 0)`, in the dtype of `x`.

    Example:
        >>> print(relu(jnp.array([-1.0, 0.0, 1.0])))
        [0. 0. 1.]
    """
    check_real(x=x)
    return jax.nn.relu(x)


@_rounded_once
def leaky_relu(x: jax.Array, alpha: float | jax.Array = 0.01) -> jax.Array:
    """The rectifier with slope `alpha` below zero. The slope at zero is taken as 1.

    Args:
        x: Array of any shape.
        alpha: Slope below zero; an array (a learnt one, as in PReLU) must have a shape that
            broadcasts with that of `x`.

    Returns:
        `x` where `x >= 0`, `alpha * x` elsewhere, in the dtype of `x`.

    Example:
        >>> print(leaky_relu(jnp.array([-1.0, 0.0, 1.0]), alpha=0.1))
        [-0.1 0. 1. ]
    """
    return jnp.where(x >= 0, x, jnp.asarray(alpha, x.dtype) * x)


@_rounded_once
def elu(
    x: jax.Array,
    alpha: float | jax.Array = 1.0,
    theta: float | jax.Array = 0.0,
    *,
    continuous: bool = True,
) -> jax.Array:
    """The exponential linear unit, which saturates below a threshold.

    Args:
        x: Array of any shape.
        alpha: Scale of the exponential part: the values lie above `theta - alpha`, and the slope
            just below the threshold is `alpha`.
        theta: Threshold, 0 in Clevert et al.
        continuous: Whether the exponential part starts at the threshold. False gives the lecture's
            form, which jumps there by `theta - alpha * (exp(theta) - 1)`; at `theta = 0` the two
            are one.

    Returns:
        `x` where `x > theta`; elsewhere `theta + alpha * (exp(x - theta) - 1)`, or
        `alpha * (exp(x) - 1)` unless `continuous`; in the dtype of `x`.

    Example:
        >>> round(float(elu(-2.0)), 4)
        -0.8647
    """
    alpha, theta = jnp.asarray(alpha, x.dtype), jnp.asarray(theta, x.dtype)
    linear = x > theta
    start = theta if continuous else jnp.zeros_like(theta)
    return jnp.where(linear, x, start + alpha * _expm1(jnp.where(linear, 0, x - start)))


@_rounded_once
def gelu(x: jax.Array, approximate: bool = True) -> jax.Array:
    """The Gaussian error linear unit: x times the probability that a normal number is smaller.

    Args:
        x: Array of any shape.
        approximate: Whether to use Hendrycks and Gimpel's closed form,
            `x sigmoid(sqrt(8 / pi) (x + 0.044715 x^3))` (within 5e-4 of the definition), as
            `jax.nn.gelu` does by default; False for the definition itself.

    Returns:
        `x P(z <= x)`, in the dtype of `x`.

    Example:
        >>> round(float(gelu(2.0, approximate=False)), 4)
        1.9545
    """

    def normal_cdf(x):
        if approximate:
            return _logistic(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))
        # erfc of a negated argument: 1 + erf would cancel for negative x.
        return 0.5 * jax.lax.erfc(-math.sqrt(0.5) * x)

    # P(z <= -40) is below the smallest float64.
    return _rectified_beyond(40.0, lambda x: x * normal_cdf(x), x)


@_rounded_once
def silu(x: jax.Array) -> jax.Array:
    """The input times its sigmoid (also called swish).

    Args:
        x: Array of any shape.

    Returns:
        `x sigmoid(x)`, in the dtype of `x`.

    Example:
        >>> round(float(silu(2.0)), 4)
        1.7616
    """
    # sigmoid(-1000) is below the smallest float64.
    return _rectified_beyond(1000.0, lambda x: x * _logistic(x), x)


ACTIVATIONS = MappingProxyType(
    {
        function.__name__: function
        for function in (identity, sigmoid, tanh, relu, leaky_relu, elu, gelu, silu)
    }
)


def activation(name: str | Activation, **parameters: Any) -> Activation:
    """An activation by its name, with its parameters filled in.

    Args:
        name: One of `ACTIVATIONS`, or a function of one array, which is taken as it is.
        **parameters: What the function takes besides its input, such as `alpha`.

    Returns:
        A function of one array.

    Raises:
        ValueError: If there is no such name; the message offers the nearest one.
        TypeError: If the function has no such parameter; the message lists those it has.

    Example:
        >>> print(activation("leaky_relu", alpha=0.2)(jnp.array([-1.0, 1.0])))
        [-0.2 1. ]
    """
    check_activation(name=name)
    function = ACTIVATIONS[name] if isinstance(name, str) else name
    if not parameters:
        return function
    known = list(inspect.signature(function).parameters)[1:]
    for parameter in parameters:
        if parameter not in known:
            raise TypeError(
                f"activation {name!r} takes {', '.join(known) or 'no parameters'}; "
                f"got {brief(parameter)}"
            )
    return functools.partial(function, **parameters)


def check_activation(**arguments: Any) -> None:
    """Raise unless every argument is the name of an activation or a function.

    Raises:
        TypeError: for what is neither text nor a function.
        ValueError: for another name; the message offers the nearest one.
    """
    for name, value in arguments.items():
        if not isinstance(value, str):
            check_callable(**{name: value})
        elif value not in ACTIVATIONS:
            nearest = difflib.get_close_matches(value.lower(), ACTIVATIONS, n=1, cutoff=0.4)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            listed = ", ".join(ACTIVATIONS)
            raise ValueError(f"{name} must be one of {listed}; got {brief(value)}{hint}")


@functools.cache  # It takes a tenth of a second, and initializers ask for it once a layer.
def _half_normal_rule(num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature for the standard normal restricted to positive numbers.

    The half-range Gauss-Hermite rule: nodes and weights are the eigenvalues and squared first
    components of the Jacobi matrix (Golub and Welsch, 1969), which Lanczos draws from the measure
    discretised on a finer grid.
    """
    grid, weights = np.polynomial.legendre.leggauss(5 * num_nodes)
    grid = 15 * (grid + 1)  # [0, 30]; the normal density is below 1e-195 beyond.
    basis = [np.sqrt(weights * np.exp(-(grid**2) / 2))]
    basis[0] /= np.linalg.norm(basis[0])
    jacobi = np.zeros((num_nodes, num_nodes))
    for i in range(num_nodes):
        following = grid * basis[i]
        for _ in range(2):  # Once leaves a loss of orthogonality that grows with i.
            overlaps = np.stack(basis) @ following
            jacobi[i, max(i - 1, 0) : i + 1] += overlaps[-2:]
            following = following - overlaps @ np.stack(basis)
        basis.append(following / np.linalg.norm(following))
    nodes, vectors = np.linalg.eigh(jacobi)  # Reads the lower triangle.
    shares = vectors[0] ** 2
    for kept in (nodes, shares):
        kept.setflags(write=False)
    return nodes, shares


def gain(function: str | Activation, *, direction: str = "forward", **parameters: Any) -> float:
    """The factor on the weights that keeps a signal's size through an activation.

        forward:   1 / sqrt(E[f(z)^2])       backward:   1 / sqrt(E[f'(z)^2])

    with z standard normal. Weights of variance `gain^2 / fan_in` (forward gain) keep the second
    moment of the pre-activations from layer to layer; `gain^2 / fan_out` (backward gain) that of
    the gradients. For ReLU and leaky ReLU the two are one number, `sqrt(2 / (1 + alpha^2))`.

    Computed at each call, at trace time under `jit`, by Gauss-Hermite quadrature with 48 nodes on
    either side of zero, where ReLU, leaky ReLU and ELU bend (across the bend the error would fall
    with the number of nodes only, not exponentially): exact to the
    default float precision. An ELU that bends elsewhere than zero costs a relative 1e-4.

    Args:
        function: A name in `ACTIVATIONS` or a differentiable function of one array, elementwise.
        direction: `"forward"` or `"backward"`.
        **parameters: As for `activation`; plain numbers.

    Returns:
        The gain, a Python number.

    Raises:
        ValueError: If the direction is unknown, or the expectation is zero or not finite, so that
            no weights keep the signal.

    Example:
        >>> round(gain("relu") ** 2, 6), round(gain("tanh"), 4)
        (2.0, 1.5925)

    Reference:
        He et al. (2015), https://arxiv.org/abs/1502.01852, equations 10, 14 and 15.
    """
    check_one_of(("forward", "backward"), direction=direction)
    check_activation(function=function)
    elementwise = activation(function, **parameters)
    if direction == "backward":
        elementwise = jax.vmap(jax.grad(elementwise))
    half, weights = _half_normal_rule(48)
    nodes = np.concatenate([-half, half]).astype(jnp.result_type(float))
    # Compiled beforehand, it runs on numbers even where the caller is being traced.
    values = np.asarray(jax.jit(elementwise).lower(nodes).compile()(nodes), np.float64)
    second_moment = float(np.tile(weights / 2, 2) @ values**2)
    if not (0 < second_moment < math.inf):
        raise ValueError(
            f"function must have a positive finite second moment, got {brief(second_moment)} "
            f"for {function!r}"
        )
    return second_moment**-0.5
