"""A network with one hidden layer of squares: a factorization in disguise.

`|W x|**2 = x^T W^T W x` for W of shape (h, d) is to answer `x^T M x`, M = sum_i lambda_i q_i q_i^T.
For x ~ N(0, I), with D = W^T W - M,

    f(W) = 1/4 E (|W x|**2 - x^T M x)**2 = 1/2 |D|_F**2 + 1/4 tr(D)**2

Up to rotations W -> Q W, the stationary points are `W_S`, whose rows are `sqrt(mu_i) q_i` for i in
a set S of s <= h eigenvectors, `mu_i = lambda_i + L / (2 + s)` where L is the sum of the
eigenvalues outside: in the trace, which f also counts, those inside make up for them. There the
Hessian's eigenvalues are

    2 (lambda_i - lambda_j)                         for each i in S, j outside
    -2 (lambda_j + L / (2 + s))                     h - s times for each j outside
    2 (mu_i + mu_j), 0                              for each pair i < j in S
    those of 4 diag(mu) + 2 sqrt(mu) sqrt(mu)^T     one for each i in S
    0                                               s (h - s) times

so only the leading h eigenvectors are a minimum.

On n examples, with weight decay c,

    f(W) = 1/(4 n) sum_k (|W x_k|**2 - y_k)**2 + c/2 |W|_F**2

is convex in W^T W. Therefore it has no bad minima if h >= d, and none, after a random perturbation
`<C, W^T W>` however small, if h >= sqrt(2 n).

Du and Lee (2018), "On the Power of Over-parametrization in Neural Networks with Quadratic
Activation", https://arxiv.org/abs/1803.01206; Soltanolkotabi, Javanmard and Lee (2019),
https://arxiv.org/abs/1707.04926.
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import (
    check_count,
    check_finite,
    check_key,
    check_non_negative,
    to_doubles,
)
from jaxopt_course._streams import stream
from jaxopt_course.problems._problem import (
    Kind,
    KnownPoint,
    Problem,
    check_shape,
    random_start,
)
from jaxopt_course.problems._quadratic import random_orthogonal
from jaxopt_course.problems._spectra import check_spectrum, known_subsets, origin


def quadratic_network(
    eigenvalues: Sequence[float] | np.ndarray,
    *,
    num_hidden: int,
    key: chex.PRNGKey | None = None,
    init_distribution: str = "normal",
    init_scale: float = 1.0,
) -> Problem:
    """The population loss for Gaussian inputs, `1/2 |D|_F**2 + 1/4 tr(D)**2`.

    Args:
        eigenvalues: Of M: d distinct positive numbers.
        num_hidden: Rows h of W.
        key: Typed key that draws the eigenvectors; without one M is diagonal.
        init_distribution: `"normal"` or `"uniform"`.
        init_scale: Standard deviation or half-width of the starts' entries.

    Returns:
        The problem, on arrays of shape (h, d). `stationary_points` holds `W_S` for each S, from the
        largest sets and eigenvalues down, 1,024 at most; the minimum is the first.
        `smoothness` and `hessian_lipschitz` hold where `|W|_F**2 <= 2 tr(M)`, twice what any
        stationary point has.

    Raises:
        ValueError: eigenvalues that are not distinct and positive, or no hidden unit.
        TypeError: a number of units that is not an integer, or `key` is not a typed key.

    Example:
        >>> problem = quadratic_network([3.0, 2.0, 1.0], num_hidden=2)
        >>> point = problem.stationary_points[0]  # mu = (3.25, 2.25)
        >>> point.kind, point.value
        ('MINIMUM', 0.625)
    """
    check_count(num_hidden=num_hidden)
    spectrum = check_spectrum("eigenvalues", eigenvalues)
    dimension = spectrum.size
    # The matrix to be learned, in random coordinates if there is a key.
    basis = np.eye(dimension)
    if key is not None:
        check_key(key=key)
        basis = random_orthogonal(stream(key, "problem"), dimension)
    matrix = (basis * spectrum) @ basis.T
    shape = (num_hidden, dimension)
    rank = min(shape)
    name = f"quadratic-network-{num_hidden}-{dimension}"

    def fun(w):
        check_shape(w, shape, name)
        difference = w.T @ w - jnp.asarray(matrix, w.dtype)
        return jnp.sum(jnp.square(difference)) / 2 + jnp.trace(difference) ** 2 / 4

    # A stationary point for every subset of its eigenvectors.
    def known(subset):
        inside = np.array(subset, int)
        outside = np.setdiff1d(np.arange(dimension), inside)
        share = np.sum(spectrum[outside]) / (2 + inside.size)
        mu = spectrum[inside] + share
        params = np.zeros(shape)
        params[: inside.size] = (basis[:, inside] * np.sqrt(mu)).T
        eigenvalues = _spectrum(spectrum[inside], spectrum[outside], mu, share, num_hidden)
        kind: Kind = "STRICT_SADDLE"
        if not subset:
            kind = "MAXIMUM"
        elif eigenvalues[0] >= 0:
            kind = "MINIMUM"
        return KnownPoint(
            params=params,
            kind=kind,
            value=_value(spectrum[outside], inside.size),
            index=int(np.sum(eigenvalues < 0)),
            nullity=int(np.sum(eigenvalues == 0)),
            eigenvalues=eigenvalues,
        )

    # The constants hold for |W|_F**2 <= 2 tr(M).
    trace = float(np.sum(spectrum))
    return Problem(
        name=name,
        fun=fun,
        init=random_start(shape, distribution=init_distribution, scale=init_scale),
        minimum_value=_value(spectrum[rank:], rank),
        stationary_points=known_subsets(known, dimension, rank),
        smoothness=18 * trace,
        hessian_lipschitz=18 * (2 * trace) ** 0.5,
    )


def quadratic_network_on_data(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    num_hidden: int,
    weight_decay: float = 0.0,
    init_distribution: str = "normal",
    init_scale: float = 1.0,
) -> Problem:
    """The loss on examples, `1/(4 n) sum_k (|W x_k|**2 - y_k)**2 + c/2 |W|_F**2`.

    Args:
        inputs: x, of shape (n, d).
        targets: y, of shape (n,); negative ones cannot be fitted.
        num_hidden: Rows h of W.
        weight_decay: c.
        init_distribution: `"normal"` or `"uniform"`.
        init_scale: Standard deviation or half-width of the starts' entries.

    Returns:
        The problem, on arrays of shape (h, d). `stationary_points` holds the origin, whose Hessian
        is `c I - 1/n sum_k y_k x_k x_k^T` for each row. Where that is positive semidefinite, the
        origin is a global minimum; otherwise `minimum_value` is None. `fun` is a
        `jax.tree_util.Partial` that holds the examples, so it can be an argument of a compiled
        function.

    Raises:
        ValueError: shapes that do not fit, or a number out of range.
        TypeError: a number of units that is not an integer.

    Example:
        >>> problem = quadratic_network_on_data(jnp.eye(3), jnp.ones(3), num_hidden=2)
        >>> problem.stationary_points[0].kind, problem.stationary_points[0].index
        ('MAXIMUM', 6)
    """
    check_count(num_hidden=num_hidden)
    check_non_negative(weight_decay=weight_decay)
    x, y = to_doubles("inputs", inputs), to_doubles("targets", targets)
    if x.ndim != 2 or y.shape != x.shape[:1] or not x.size:
        raise ValueError(
            f"inputs and targets must have shapes (n, d) and (n,), got {x.shape} and {y.shape}"
        )
    check_finite(inputs=x, targets=y, arrays=True)
    shape = (num_hidden, x.shape[1])
    name = f"quadratic-network-on-data-{num_hidden}-{x.shape[1]}"

    def fun(w, *, inputs, targets):
        check_shape(w, shape, name)
        answers = jnp.sum(jnp.square(jnp.asarray(inputs, w.dtype) @ w.T), axis=1)
        residuals = answers - jnp.asarray(targets, w.dtype)
        return jnp.mean(jnp.square(residuals)) / 4 + weight_decay / 2 * jnp.sum(jnp.square(w))

    zero = origin(
        shape,
        weight_decay * np.eye(x.shape[1]) - (x.T * y) @ x / y.size,
        float(np.mean(y**2)) / 4,
        if_semidefinite="MINIMUM",
    )
    return Problem(
        name=name,
        fun=jax.tree_util.Partial(fun, inputs=jnp.asarray(x), targets=jnp.asarray(y)),
        init=random_start(shape, distribution=init_distribution, scale=init_scale),
        minimum_value=zero.value if zero.kind == "MINIMUM" else None,
        stationary_points=(zero,),
    )


def _value(outside: np.ndarray, size: int) -> float:
    """Return f at `W_S` for the eigenvalues outside S and the size of S."""
    return float(np.sum(outside**2) / 2 + np.sum(outside) ** 2 / (2 * (2 + size)))


def _spectrum(
    inside: np.ndarray, outside: np.ndarray, mu: np.ndarray, share: float, num_hidden: int
) -> np.ndarray:
    """Return the module's eigenvalues, ascending; `share` is L / (2 + s)."""
    size = inside.size
    first, second = np.triu_indices(size, k=1)
    roots = np.sqrt(mu)
    return np.sort(
        [
            *(2 * (inside[:, None] - outside)).ravel(),
            *np.repeat(-2 * (outside + share), num_hidden - size),
            *(2 * (mu[first] + mu[second])),
            *np.linalg.eigvalsh(4 * np.diag(mu) + 2 * np.outer(roots, roots)),
            *np.zeros(first.size + size * (num_hidden - size)),
        ]
    )
