"""Orthogonal tensor decomposition on the sphere: exponentially many saddles, all of them strict.

One component, for orthonormal a_1, ..., a_d and weights w_i > 0, at order p >= 3:

    f(x) = -sum_i w_i (a_i^T u)**p,      u = x / |x|

The sphere is built in: f does not depend on |x|. Its stationary directions are, for every non-empty
set S of m components, `u_i = (mu / w_i)**(1 / (p - 2))` for i in S (any signs of the `u_i` for even
p, one common sign for odd p) with `mu = (sum_S w_i**(-2 / (p - 2)))**(-(p - 2) / 2)`. At |x| = 1
the Hessian's eigenvalues are

    -p (p - 2) mu    m - 1 times,        p mu    d - m times,        0    along x,

and f = -mu; for odd p the negative of all that at -u. So for even p the minima are the components,
each with m = 1, and all other points are strict saddles or, for m = d, maxima.

All components at once, for unit rows u_1, ..., u_d and w = 1, p = 4:

    f(U) = sum_{i != j} sum_k (a_k^T u_i)**2 (a_k^T u_j)**2

whose global minima, with value 0, are the a_k in any order and with any signs; the Hessian there
is 4, d (d - 1) times, and 0 along the d radial directions.

All components at once, with no constraint: the reconstruction error, for any rows u_1, ..., u_n,

    f(U) = |sum_k a_k^(x)4 - sum_i u_i^(x)4|_F**2

is stationary where every row is zero or the sum of the components of a set S_i, m of them, times
`m**(-3/4)`, the sets being disjoint. Then f is d less the sum of `1 / m**2`, and the Hessian has,
in units of `m**(-3/2)`, for each such row the eigenvalues 32 (along u_i), -16 (m - 1 times), and 8
(d - m times), and for each zero row d zeros. So where some rows are single components and others
zero, f falls in fourth order only, and gradient descent without noise stays for long.

Ge, Huang, Jin and Yuan (2015), "Escaping From Saddle Points - Online Stochastic Gradient for Tensor
Decomposition", https://arxiv.org/abs/1503.02101.
"""

import itertools
from collections.abc import Iterator, Sequence

import chex
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_integer, check_key, check_positive, to_doubles
from jaxopt_course._streams import stream
from jaxopt_course.problems._problem import (
    Kind,
    KnownPoint,
    Problem,
    check_shape,
    random_start,
)
from jaxopt_course.problems._quadratic import random_orthogonal
from jaxopt_course.problems._spectra import MAX_POINTS, known_subsets


def tensor_component(
    weights: Sequence[float] | np.ndarray,
    *,
    order: int = 4,
    key: chex.PRNGKey | None = None,
) -> Problem:
    """The objective `-sum_i w_i (a_i^T x / |x|)**order`, whose minima are the components.

    Args:
        weights: w, d positive numbers.
        order: p of the tensor, at least 3.
        key: Typed key that draws the a_i; without one they are the axes.

    Returns:
        The problem, on arrays of shape (d,) other than zero; starts are normal, hence uniform in
        direction. `stationary_points` are unit vectors, one for each S and, at odd orders, its
        negative; 1,024 sets at most, the largest first. A component of less than the largest
        weight is a minimum too, though not the global one.

    Raises:
        ValueError: weights that are not positive, or an order below 3.
        TypeError: `key` is not a typed key.

    Example:
        >>> kinds = [point.kind for point in tensor_component([1.0, 1.0, 1.0]).stationary_points]
        >>> [kinds.count(kind) for kind in ("MAXIMUM", "STRICT_SADDLE", "MINIMUM")]
        [1, 3, 3]
    """
    w = to_doubles("weights", weights)
    if w.ndim != 1 or not w.size or not np.all(np.isfinite(w) & (w > 0)):
        raise ValueError(f"weights must be positive numbers, got {brief(weights)}")
    check_integer(order=order)
    if order < 3:
        raise ValueError(f"order must be at least 3, got {brief(order)}")
    dimension = w.size
    basis = _components(key, dimension)
    shape = (dimension,)
    name = f"tensor-component-{dimension}-{order}"

    def fun(x):
        check_shape(x, shape, name)
        u = jnp.asarray(basis.T, x.dtype) @ (x / jnp.linalg.norm(x))
        return -jnp.sum(jnp.asarray(w, x.dtype) * u**order)

    # A stationary point for every subset of the components, up to signs.
    def known(subset, sign=1):
        inside = np.array(subset, int)
        size = inside.size
        mu = np.sum(w[inside] ** (-2 / (order - 2))) ** (-(order - 2) / 2)
        u = np.zeros(dimension)
        u[inside] = sign * (mu / w[inside]) ** (1 / (order - 2))
        eigenvalues = np.array(
            [-sign * order * (order - 2) * mu] * (size - 1)
            + [sign * order * mu] * (dimension - size)
            + [0.0]
        )
        kind: Kind = "STRICT_SADDLE"
        if np.all(eigenvalues >= 0):
            kind = "MINIMUM"
        elif np.all(eigenvalues <= 0):
            kind = "MAXIMUM"
        return KnownPoint(
            params=basis @ u,
            kind=kind,
            value=-sign * mu,
            index=int(np.sum(eigenvalues < 0)),
            nullity=1,
            eigenvalues=np.sort(eigenvalues),
        )

    # At odd orders -u is another point than u, with the opposite value.
    points = known_subsets(known, dimension, dimension, smallest=1)
    if order % 2:
        points += known_subsets(lambda s: known(s, sign=-1), dimension, dimension, smallest=1)
    return Problem(
        name=name,
        fun=fun,
        init=random_start(shape, distribution="normal", scale=1.0),
        minimum_value=-float(np.max(w)),
        stationary_points=points,
    )


def tensor_decomposition(*, dimension: int, key: chex.PRNGKey | None = None) -> Problem:
    """The sum of `T(u_i, u_i, u_j, u_j)` over pairs, zero where U holds all components.

    Args:
        dimension: d, at least 2.
        key: Typed key that draws the a_k; without one they are the axes.

    Returns:
        The problem, on arrays of shape (d, d) whose rows are normalised in f; starts are normal.
        `stationary_points` holds one of the `2**d d!` global minima.

    Raises:
        ValueError: a dimension below 2.
        TypeError: `key` is not a typed key.

    Example:
        >>> point = tensor_decomposition(dimension=3).stationary_points[0]
        >>> point.kind, point.nullity
        ('MINIMUM', 3)
    """
    check_integer(dimension=dimension)
    if dimension < 2:
        raise ValueError(f"dimension must be at least 2, got {dimension}")
    basis = _components(key, dimension)
    shape = (dimension, dimension)
    name = f"tensor-decomposition-{dimension}"

    def fun(x):
        check_shape(x, shape, name)
        unit = x / jnp.linalg.norm(x, axis=1, keepdims=True)
        squares = jnp.square(unit @ jnp.asarray(basis, x.dtype))
        # All pairs at once, less those of a row with itself.
        return jnp.sum(jnp.square(jnp.sum(squares, axis=0))) - jnp.sum(jnp.square(squares))

    minimum = KnownPoint(
        params=basis.T,
        kind="MINIMUM",
        value=0.0,
        index=0,
        nullity=dimension,
        eigenvalues=np.array([0.0] * dimension + [4.0] * (dimension * (dimension - 1))),
    )
    return Problem(
        name=name,
        fun=fun,
        init=random_start(shape, distribution="normal", scale=1.0),
        minimum_value=0.0,
        stationary_points=(minimum,),
    )


def tensor_reconstruction(
    *,
    dimension: int,
    num_components: int | None = None,
    key: chex.PRNGKey | None = None,
    init_scale: float | None = None,
) -> Problem:
    """The error `|sum_k a_k^(x)4 - sum_i u_i^(x)4|_F**2`, on rows of any length.

    Args:
        dimension: d, the number of the a_k, at least 2.
        num_components: n, rows of U; d if not given.
        key: Typed key that draws the a_k; without one they are the axes.
        init_scale: Standard deviation of the starts' entries, which are normal; 1 / sqrt(d), which
            gives rows of about length one, if not given.

    Returns:
        The problem, on arrays of shape (n, d). `stationary_points` holds, for each way to cut the
        first 0, 1, ... components into sets of decreasing sizes, one point, 1,024 at most: all
        others of the kind described above are these with components, rows and signs exchanged.

    Raises:
        ValueError: a dimension below 2, or a number that is not positive.
        TypeError: a number of components that is not an integer, or `key` is not a typed key.

    Example:
        >>> problem = tensor_reconstruction(dimension=2)
        >>> for point in problem.stationary_points:
        ...     print(point.kind, round(point.value, 2), point.index, point.nullity)
        MINIMUM 0.0 0 0
        STRICT_SADDLE 1.75 1 2
        NON_STRICT_SADDLE 1.0 0 2
        NON_STRICT_SADDLE 2.0 0 4
    """
    check_integer(dimension=dimension)
    if dimension < 2:
        raise ValueError(f"dimension must be at least 2, got {dimension}")
    check_integer(num_components=num_components, optional=True)
    rows = dimension if num_components is None else num_components
    scale = dimension**-0.5 if init_scale is None else init_scale
    check_positive(num_components=rows, init_scale=scale)
    basis = _components(key, dimension)
    shape = (rows, dimension)
    name = f"tensor-reconstruction-{rows}-{dimension}"

    def fun(x):
        check_shape(x, shape, name)
        # <u^(x)4, v^(x)4> = (u^T v)**4, so the tensors themselves are never made.
        cross = jnp.sum((x @ jnp.asarray(basis, x.dtype)) ** 4)
        return dimension - 2 * cross + jnp.sum((x @ x.T) ** 4)

    # A stationary point for every way to divide components among the rows.
    def known(sizes):
        ends = np.cumsum(sizes, dtype=int)
        params = np.zeros(shape)
        eigenvalues = [0.0] * (dimension * (rows - len(sizes)))
        for row, (end, size) in enumerate(zip(ends, sizes, strict=True)):
            params[row] = size**-0.75 * basis[:, end - size : end].sum(axis=1)
            in_units = [32.0] + [-16.0] * (size - 1) + [8.0] * (dimension - size)
            eigenvalues += [size**-1.5 * value for value in in_units]
        kind: Kind = "NON_STRICT_SADDLE"
        if min(eigenvalues) < 0:
            kind = "STRICT_SADDLE"
        elif len(sizes) == min(rows, dimension):
            kind = "MINIMUM"
        return KnownPoint(
            params=params,
            kind=kind,
            value=dimension - sum((1 / size**2 for size in sizes), start=0.0),
            index=sum(value < 0 for value in eigenvalues),
            nullity=eigenvalues.count(0.0),
            eigenvalues=np.sort(eigenvalues),
        )

    cuts = itertools.chain.from_iterable(
        _partitions(total, rows, total) for total in range(dimension, -1, -1)
    )
    return Problem(
        name=name,
        fun=fun,
        init=random_start(shape, distribution="normal", scale=scale),
        minimum_value=0.0 if rows >= dimension else None,
        stationary_points=tuple(map(known, itertools.islice(cuts, MAX_POINTS))),
    )


def _partitions(total: int, most: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yield `total` as sums of at most `most` numbers, descending, none above `largest`.

    Sums whose first number is smaller come first.
    """
    if total == 0:
        yield ()
        return
    if most == 0:
        return
    for first in range(1, min(total, largest) + 1):
        for rest in _partitions(total - first, most - 1, first):
            yield (first, *rest)


def _components(key: chex.PRNGKey | None, dimension: int) -> np.ndarray:
    """Return a_1, ..., a_d as columns."""
    if key is None:
        return np.eye(dimension)
    check_key(key=key)
    return random_orthogonal(stream(key, "problem"), dimension)
