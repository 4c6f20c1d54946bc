"""Networks with one hidden layer and a local minimum that is not global, for any unit.

Smooth units. Three points, x = (1, 0), (0, 1), (1/2, 1/2), with targets 0, 0, 1, no bias, two
hidden units:

    f(W, u) = 1/2 sum_n (sum_j u_j h(w_j^T x_n) - y_n)**2

Where both inputs of unit j have the same weight v_j, it answers h(v_j) to all three points; where
these answers add up to 1/3, the mean target, f = 1/3 and the gradient is zero, whatever h is.
The Hessian has rank 3; it is positive semidefinite, and the point a minimum, if

    diag(u_j h''(v_j) / 12) + q q^T,         q_j = u_j h'(v_j) / 2,

is positive definite, as the zero directions are those along which f stays 1/3. Elsewhere f comes
arbitrarily close to 0.

ReLU and leaky ReLU, with bias, for any data that no linear map fits; here x = -1, 0, 1 with targets
1, 0, 1 and

    f(w, b, u, c) = 1/2 sum_n (sum_j u_j h(w_j x_n + b_j) + c - y_n)**2

One unit answers the least-squares fit plus 1, which is positive on all data, the second is active
with weight u_2 = 0, and c = -1. As long as no unit changes its side, the network is linear in
x, so f cannot be below the least-squares error: 1/3. But two units that each answer one of the
outer points reach 0.

Yun, Sra and Jadbabaie (2019), "Small nonlinearities in activation functions create bad local minima
in neural networks", Theorem 2 (smooth units) and Theorem 1 (ReLU-like),
https://arxiv.org/abs/1802.03487.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import check_like, check_one_of, check_positive, check_real_floating
from jaxopt_course.problems._problem import Problem
from jaxopt_course.problems._spectra import minimum_with_hessian

_INPUTS = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
_TARGETS = np.array([0.0, 0.0, 1.0])


def _sigmoid(z):
    s = 1 / (1 + math.exp(-z))
    return s, s * (1 - s), s * (1 - s) * (1 - 2 * s)


def _tanh(z):
    t = math.tanh(z)
    return t, 1 - t * t, -2 * t * (1 - t * t)


def _softplus(z):
    s, ds, _ = _sigmoid(z)
    return math.log1p(math.exp(z)), s, ds


def bad_minimum(*, activation: str = "sigmoid", init_scale: float = 1.0) -> Problem:
    """The loss on three points, with one of its bad minima.

    Args:
        activation: `"sigmoid"`, `"tanh"`, `"softplus"`, `"relu"` or `"leaky_relu"`.
        init_scale: Standard deviation of the starts, which are normal.

    Returns:
        The problem, on dictionaries. Smooth units: `"hidden"`, shape (2, 2), one unit a row, and
        `"output"`, shape (2,); the infimum is `minimum_value` = 0. ReLU and leaky ReLU: `"hidden"`,
        `"hidden_bias"` and `"output"`, shape (2,), and `"output_bias"`, a scalar. The first of
        `stationary_points` is a minimum with value 1/3, one of a manifold of them; for ReLU and
        leaky ReLU the second is a global minimum with value 0.

    Raises:
        ValueError: an unknown activation, or a scale that is not positive.

    Example:
        >>> point = bad_minimum(activation="tanh").stationary_points[0]
        >>> point.kind, round(point.value, 6), point.nullity
        ('MINIMUM', 0.333333, 3)
    """
    check_positive(init_scale=init_scale)
    options = ("sigmoid", "tanh", "softplus", "relu", "leaky_relu")
    check_one_of(options, activation=activation)
    if activation in ("relu", "leaky_relu"):
        return _piecewise_linear(activation, init_scale)
    # h, h with its first two derivatives, the preactivations v of the two units, and how much of
    # the answer 1/3 is the second unit's.
    apply, derivatives, v, second = {
        "sigmoid": (jax.nn.sigmoid, _sigmoid, (-1.0, -2.0), 1 / 6),
        "tanh": (jnp.tanh, _tanh, (0.1, -1.0), 0.5 * math.tanh(-1.0)),
        "softplus": (jax.nn.softplus, _softplus, (0.0, -1.0), 1 / 6),
    }[activation]

    def fun(params):
        check_like("the parameters of bad-minimum", params, "a start", like)
        check_real_floating("the parameters of bad-minimum", params)
        dtype = jnp.result_type(params["hidden"])
        hidden = apply(params["hidden"] @ jnp.asarray(_INPUTS, dtype))
        residuals = params["output"] @ hidden - jnp.asarray(_TARGETS, dtype)
        return jnp.sum(jnp.square(residuals)) / 2

    def init(key):
        hidden, output = jax.random.split(key)
        return {
            "hidden": init_scale * jax.random.normal(hidden, (2, 2)),
            "output": init_scale * jax.random.normal(output, (2,)),
        }

    like = jax.eval_shape(init, jax.random.key(0))
    h, dh, ddh = np.array([derivatives(z) for z in v]).T
    u = np.array([1 / 3 - second, second]) / h
    # Gauss-Newton term, then residuals (1/3, 1/3, -2/3) times second derivatives of the answers.
    slopes = np.stack([_INPUTS * (u * dh)[0], _INPUTS * (u * dh)[1]]).reshape(4, 3)
    jacobian = np.concatenate([slopes, np.tile(h[:, None], (1, 3))])
    hessian = jacobian @ jacobian.T
    residuals = 1 / 3 - _TARGETS
    bend = _INPUTS * residuals @ _INPUTS.T
    hessian[:4, :4] += np.kron(np.diag(u * ddh), bend)
    params = {"hidden": np.array([[z, z] for z in v]), "output": u}
    return Problem(
        name=f"bad-minimum-{activation}",
        fun=fun,
        init=init,
        minimum_value=0.0,
        stationary_points=(minimum_with_hessian(params, hessian, value=1 / 3),),
    )


def _piecewise_linear(activation: str, init_scale: float) -> Problem:
    """Return the problem for ReLU, or leaky ReLU with slope 1/100 on the negative side."""
    slope = 0.01 if activation == "leaky_relu" else 0.0
    inputs, targets = np.array([-1.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0])

    def fun(params):
        dtype = jnp.result_type(params["hidden"])
        preactivations = params["hidden"][:, None] * jnp.asarray(inputs, dtype)[None, :]
        hidden = jax.nn.leaky_relu(preactivations + params["hidden_bias"][:, None], slope)
        answers = params["output"] @ hidden + params["output_bias"]
        return jnp.sum(jnp.square(answers - jnp.asarray(targets, dtype))) / 2

    def init(key):
        keys = jax.random.split(key, 4)
        names = ("hidden", "hidden_bias", "output", "output_bias")
        return {
            name: init_scale * jax.random.normal(k, () if name == "output_bias" else (2,))
            for name, k in zip(names, keys, strict=True)
        }

    def gauss_newton(params):
        """Return J^T J, in the order of the dictionary's sorted names."""
        preactivations = np.outer(params["hidden"], inputs) + params["hidden_bias"][:, None]
        slopes = np.where(preactivations > 0, 1.0, slope)
        arriving = params["output"][:, None] * slopes
        jacobian = np.concatenate(
            [arriving * inputs, arriving, slopes * preactivations, np.ones((1, 3))]
        )
        return jacobian @ jacobian.T

    bad = {
        "hidden": np.zeros(2),
        "hidden_bias": np.array([2 / 3 + 1, 1.0]),
        "output": np.array([1.0, 0.0]),
        "output_bias": np.array(-1.0),
    }
    # Kinks at x = +-1/2, between the data.
    best = {
        "hidden": np.array([1.0, -1.0]),
        "hidden_bias": np.full(2, -0.5),
        "output": np.full(2, 2 / (1 - slope)),
        "output_bias": np.array(2 * slope / (1 - slope)),
    }
    # The residuals of a least-squares fit are orthogonal to 1 and x: at the bad minimum, too, the
    # second derivatives of the answers cancel.
    return Problem(
        name=f"bad-minimum-{activation.replace('_', '-')}",
        fun=fun,
        init=init,
        minimum_value=0.0,
        stationary_points=(
            minimum_with_hessian(bad, gauss_newton(bad), value=1 / 3),
            minimum_with_hessian(best, gauss_newton(best)),
        ),
    )
