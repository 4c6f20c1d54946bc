"""Linear networks of any depth: convex in the map, anything but convex in the weights.

    f(W_1, ..., W_N) = 1/2 |W_N ... W_1 - M|_F**2,        M = sum_i sigma_i u_i v_i^T

Every local minimum is global. At a stationary point the product is M restricted to a set S of its
singular pairs. With balanced weights (singular values a_i = sigma_i**(1/N) in every layer)
the Hessian's eigenvalues are, and this covers N = 2, matrix factorization, too:

    sum_k a_i**(2 (N - k)) a_p**(2 (k - 1))         for each ordered pair (i, p) in S
    sigma_i**(1 - 2/N) (sigma_i +- sigma_p)         for each i in S and p outside
    sigma_i**(2 - 2/N)                              |rows - columns of M| times for each i in S
    +- sigma_p                                      N = 2 only: h - |S| times for each p outside
    0                                               otherwise

where h is the hidden width. So a saddle with two layers always has a way down at second order;
with three or more it has one only if S skips a singular value for a smaller one, and the
origin, where the Hessian is zero, never.

Kawaguchi (2016), Theorem 2.3 and Corollary 2.4, https://arxiv.org/abs/1605.07110; Baldi and Hornik
(1989), https://doi.org/10.1016/0893-6080(89)90014-2.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_arrays,
    check_key,
    check_positive,
    check_real_floating,
    to_sizes,
)
from jaxopt_course._streams import stream
from jaxopt_course.problems._problem import Kind, KnownPoint, Problem
from jaxopt_course.problems._quadratic import random_orthogonal
from jaxopt_course.problems._spectra import check_spectrum, known_subsets


def linear_network(
    singular_values: Sequence[float] | np.ndarray,
    *,
    widths: Sequence[int],
    key: chex.PRNGKey | None = None,
    init_scale: float = 1.0,
) -> Problem:
    """The loss of a linear network that is to learn a matrix.

    Args:
        singular_values: Of the target M: min(widths[0], widths[-1]) distinct positive numbers.
        widths: Inputs, hidden layers, outputs: N + 1 positive integers for N layers.
        key: Typed key that draws the singular vectors of M; without one M is diagonal.
        init_scale: Starts are normal, with variance init_scale**2 / (inputs of the layer).

    Returns:
        The problem, on tuples of N weights, `W_k` of shape (widths[k], widths[k - 1]).
        `stationary_points` are the balanced ones, one for each set S, from the largest sets and
        singular values down, 1,024 at most; the minimum is the first. Unbalanced weights with the
        same product are stationary too.

    Raises:
        ValueError: singular values that are not distinct and positive or are too few or too many,
            or fewer than two layers.
        TypeError: `key` is not a typed key.

    Example:
        >>> chain = linear_network([1.0], widths=(1, 1, 1, 1))
        >>> [point.kind for point in chain.stationary_points]
        ['MINIMUM', 'NON_STRICT_SADDLE']
    """
    sizes = to_sizes("widths", widths)
    if len(sizes) < 3 or min(sizes) < 1:
        raise ValueError(f"widths must be at least three positive integers, got {brief(widths)}")
    check_positive(init_scale=init_scale)
    sigma = check_spectrum("singular_values", singular_values)
    smaller = min(sizes[0], sizes[-1])
    if sigma.size != smaller:
        raise ValueError(
            f"singular_values must be {smaller} numbers for a target of shape "
            f"{(sizes[-1], sizes[0])}, got {sigma.size}"
        )
    left, right = _singular_vectors(key, sizes[-1], sizes[0])
    target = (left * sigma) @ right.T
    name = "linear-network-" + "-".join(map(str, sizes))

    def fun(weights):
        product = product_of(weights, sizes, name)
        return jnp.sum(jnp.square(product - jnp.asarray(target, product.dtype))) / 2

    return Problem(
        name=name,
        fun=fun,
        init=weights_start(sizes, init_scale),
        minimum_value=float(np.sum(sigma[min(sizes) :] ** 2)) / 2,
        stationary_points=balanced_points(left, sigma, right, sizes),
    )


def product_of(weights: Sequence[jax.Array], sizes: tuple[int, ...], name: str) -> jax.Array:
    """Return `W_N ... W_1`, the matrix that the network applies.

    Raises:
        ValueError: weights that are not of these sizes.
    """
    shapes = tuple((after, before) for before, after in itertools.pairwise(sizes))
    where = f"the parameters of {name}"
    check_real_floating(where, weights)
    check_arrays(where, weights)
    listed = weights if isinstance(weights, list | tuple) else [weights]
    got = tuple(getattr(weight, "shape", None) for weight in listed)
    if got != shapes:
        raise ValueError(f"{where} must be weights of shapes {shapes}, got {brief(got)}")
    return functools.reduce(lambda product, weight: weight @ product, weights)


def weights_start(
    sizes: tuple[int, ...], scale: float
) -> Callable[[chex.PRNGKey], tuple[jax.Array, ...]]:
    """Return an `init` that draws normal weights, of variance scale**2 / (inputs of the layer)."""

    def init(key):
        keys = jax.random.split(key, len(sizes) - 1)
        return tuple(
            jax.random.normal(k, (after, before)) * (scale / before**0.5)
            for k, (before, after) in zip(keys, itertools.pairwise(sizes), strict=True)
        )

    return init


def balanced_points(
    left: np.ndarray, sigma: np.ndarray, right: np.ndarray, sizes: tuple[int, ...]
) -> tuple[KnownPoint, ...]:
    """Return the stationary points of balanced weights, one for each set S of singular values.

    Args:
        left: Left singular vectors of the target, as columns.
        sigma: Its singular values, descending.
        right: Its right singular vectors.
        sizes: Inputs, hidden layers, outputs.
    """
    depth, rank = len(sizes) - 1, min(sizes)

    def known(subset):
        inside = np.array(subset, int)
        outside = np.setdiff1d(np.arange(sigma.size), inside)
        # Hidden layers carry the pairs of S along their first axes.
        bases = [right[:, inside]]
        bases += [np.eye(hidden)[:, : inside.size] for hidden in sizes[1:-1]]
        bases += [left[:, inside]]
        roots = sigma[inside] ** (1 / depth)
        eigenvalues = _balanced_spectrum(sigma[inside], sigma[outside], sizes)
        kind: Kind = "NON_STRICT_SADDLE"
        if eigenvalues[0] < 0:
            kind = "STRICT_SADDLE"
        elif subset == tuple(range(rank)):
            kind = "MINIMUM"
        return KnownPoint(
            params=tuple((after * roots) @ before.T for before, after in itertools.pairwise(bases)),
            kind=kind,
            value=float(np.sum(sigma[outside] ** 2)) / 2,
            index=int(np.sum(eigenvalues < 0)),
            nullity=int(np.sum(eigenvalues == 0)),
            eigenvalues=eigenvalues,
        )

    return known_subsets(known, sigma.size, rank)


def _singular_vectors(
    key: chex.PRNGKey | None, rows: int, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return min(rows, columns) orthonormal columns of either length."""
    smaller = min(rows, columns)
    if key is None:
        return np.eye(rows)[:, :smaller], np.eye(columns)[:, :smaller]
    check_key(key=key)
    left_key, right_key = jax.random.split(stream(key, "problem"))
    left, right = random_orthogonal(left_key, rows), random_orthogonal(right_key, columns)
    return left[:, :smaller], right[:, :smaller]


def _balanced_spectrum(
    inside: np.ndarray, outside: np.ndarray, sizes: tuple[int, ...]
) -> np.ndarray:
    """Return the module's eigenvalues, ascending, for singular values inside and outside S."""
    depth = len(sizes) - 1
    squares = inside ** (2 / depth)
    ranks = np.arange(depth)
    powers = squares[:, None] ** ranks
    eigenvalues = [
        *(powers[:, ::-1] @ powers.T).ravel(),
        *(inside[:, None] ** (1 - 2 / depth) * (inside[:, None] + outside)).ravel(),
        *(inside[:, None] ** (1 - 2 / depth) * (inside[:, None] - outside)).ravel(),
        *np.repeat(inside ** (2 - 2 / depth), abs(sizes[0] - sizes[-1])),
    ]
    if depth == 2:
        idle = sizes[1] - inside.size
        eigenvalues += [*np.repeat(outside, idle), *np.repeat(-outside, idle)]
    num_parameters = sum(a * b for a, b in itertools.pairwise(sizes))
    return np.sort(eigenvalues + [0.0] * (num_parameters - len(eigenvalues)))
