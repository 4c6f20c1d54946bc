"""Linear networks that learn from examples: the landscape of Baldi, Hornik and Kawaguchi.

For inputs X and targets Y, one example a column,

    f(W_1, ..., W_N) = 1/2 |W_N ... W_1 X - Y|_F**2

With `W_1' = W_1 (X X^T)**(1/2)` it is the f of `linear_network` for the target

    M = Y X^T (X X^T)**(-1/2),         plus the constant 1/2 (|Y|_F**2 - |M|_F**2)

So there is a stationary point for each set S of singular values of M, whose squares are the
eigenvalues of Baldi and Hornik's `Sigma = Y X^T (X X^T)**-1 X Y^T`; it has the value
`1/2 (|Y|_F**2 - sum_S sigma_i**2)`. By Sylvester's law the change of W_1 leaves the numbers of
negative and zero eigenvalues of the Hessian as they are, and with them every statement about strict
and non-strict saddles; the eigenvalues themselves do change. With layers k < l, `A_k = W_N ...
W_(k+1)`, `B_k = W_(k-1) ... W_1` and residuals R, the Hessian is the quadratic form

    |sum_k A_k dW_k B_k X|_F**2 + 2 sum_(k<l) <R X^T, A_l dW_l (W_(l-1) ... W_(k+1)) dW_k B_k>

Kawaguchi (2016), Theorem 2.3, https://arxiv.org/abs/1605.07110; Baldi and Hornik (1989),
https://doi.org/10.1016/0893-6080(89)90014-2.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_finite, check_positive, to_doubles, to_sizes
from jaxopt_course.problems._networks import balanced_points, product_of, weights_start
from jaxopt_course.problems._problem import KnownPoint, Problem

# The Hessian of each of up to 1,024 points is decomposed, no larger than this.
_MAX_PARAMETERS = 200


def linear_network_on_data(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    hidden_widths: Sequence[int],
    init_scale: float = 1.0,
) -> Problem:
    """The squared error of a linear network on examples, `1/2 |W_N ... W_1 X - Y|_F**2`.

    Args:
        inputs: X^T, of shape (n, d_x), one example a row; its columns linearly independent.
        targets: Y^T, of shape (n, d_y). M must have min(d_x, d_y) distinct positive singular
            values, as for almost all data it has.
        hidden_widths: Of the N - 1 hidden layers, at least one.
        init_scale: Starts are normal, with variance init_scale**2 / (inputs of the layer).

    Returns:
        The problem, on tuples of N weights, `W_k` of shape (outputs, inputs) of the layer.
        `stationary_points` are those that are balanced, as in `linear_network`, for the target M:
        one for each set S, from the largest sets and singular values down, 1,024 at most; the
        minimum is the first. `eigenvalues` is None for networks of more than 200 parameters. `fun`
        is a `jax.tree_util.Partial` that holds the examples, so it can be an argument of a compiled
        function.

    Raises:
        ValueError: shapes that do not fit, inputs that are linearly dependent, or singular values
            that coincide.

    Example:
        >>> inputs = jnp.array([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
        >>> problem = linear_network_on_data(inputs, inputs**2, hidden_widths=(2,))
        >>> [point.kind for point in problem.stationary_points]
        ['MINIMUM', 'STRICT_SADDLE', 'STRICT_SADDLE', 'STRICT_SADDLE']
    """
    x, y = to_doubles("inputs", inputs).T, to_doubles("targets", targets).T
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or not x.size or not y.size:
        raise ValueError(
            "inputs and targets must have shapes (n, d_x) and (n, d_y), "
            f"got {x.T.shape} and {y.T.shape}"
        )
    check_finite(inputs=x, targets=y, arrays=True)
    check_positive(init_scale=init_scale)
    hidden_widths = to_sizes("hidden_widths", hidden_widths)
    sizes = (x.shape[0], *hidden_widths, y.shape[0])
    if len(sizes) < 3 or min(sizes) < 1:
        raise ValueError(f"hidden_widths must be positive integers, got {tuple(hidden_widths)}")
    # For whitened inputs, X X^T = I, the problem is to factorize one matrix; these are its singular
    # values.
    variances, axes = np.linalg.eigh(x @ x.T)
    if variances[0] <= 1e-12 * variances[-1]:
        raise ValueError(
            "inputs must have linearly independent columns; the eigenvalues of X X^T range from "
            f"{variances[0]:g} to {variances[-1]:g}"
        )
    whitening = (axes / np.sqrt(variances)) @ axes.T
    left, sigma, right = np.linalg.svd(y @ x.T @ whitening, full_matrices=False)
    if np.min(-np.diff(sigma, append=0)) <= 1e-10 * sigma[0]:
        raise ValueError(
            "inputs and targets must give Y X^T (X X^T)^(-1/2) distinct positive singular values, "
            f"got {brief(sigma)}"
        )
    # What no linear map explains of the targets is part of every value.
    unexplained = float(np.sum(y**2) - np.sum(sigma**2)) / 2
    name = "linear-network-on-data-" + "-".join(map(str, sizes))
    num_parameters = sum(a * b for a, b in itertools.pairwise(sizes))

    def fun(weights, *, inputs, targets):
        product = product_of(weights, sizes, name)
        answers = jnp.asarray(inputs, product.dtype) @ product.T
        return jnp.sum(jnp.square(answers - jnp.asarray(targets, product.dtype))) / 2

    def on_data(point: KnownPoint) -> KnownPoint:
        weights = (point.params[0] @ whitening, *point.params[1:])
        eigenvalues = None
        if num_parameters <= _MAX_PARAMETERS:
            eigenvalues = np.linalg.eigvalsh(_hessian(weights, x, y))
            # How many are zero is known: those that rounding has left the smallest.
            eigenvalues[np.argsort(np.abs(eigenvalues))[: point.nullity]] = 0.0
            eigenvalues = np.sort(eigenvalues)
        return dataclasses.replace(
            point, params=weights, value=point.value + unexplained, eigenvalues=eigenvalues
        )

    # The points for whitened inputs, taken back to the inputs as they are.
    points = balanced_points(left, sigma, right.T, sizes)
    return Problem(
        name=name,
        fun=jax.tree_util.Partial(fun, inputs=jnp.asarray(x.T), targets=jnp.asarray(y.T)),
        init=weights_start(sizes, init_scale),
        minimum_value=unexplained + float(np.sum(sigma[min(sizes) :] ** 2)) / 2,
        stationary_points=tuple(map(on_data, points)),
    )


def _hessian(weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the module's quadratic form as a matrix, for weights flattened row by row."""
    depth = len(weights)

    def product(begin, end):
        """Return `W_(end-1) ... W_begin`, counted from 0."""
        size = weights[begin].shape[1] if begin < depth else weights[-1].shape[0]
        return functools.reduce(lambda so_far, w: w @ so_far, weights[begin:end], np.eye(size))

    above = [product(k + 1, depth) for k in range(depth)]
    below = [product(0, k) for k in range(depth)]
    correlations = (product(0, depth) @ x - y) @ x.T
    jacobian = np.concatenate([np.kron(a, (b @ x).T) for a, b in zip(above, below, strict=True)], 1)
    hessian = jacobian.T @ jacobian
    begins = np.cumsum([0, *(weight.size for weight in weights)])
    for first, last in itertools.combinations(range(depth), 2):
        outer = above[last].T @ correlations @ below[first].T
        block = np.einsum("ad,bc->abcd", outer, product(first + 1, last))
        block = block.reshape(weights[last].size, weights[first].size)
        of_first = slice(begins[first], begins[first + 1])
        of_last = slice(begins[last], begins[last + 1])
        hessian[of_last, of_first] += block
        hessian[of_first, of_last] += block.T
    return hessian
