r"""Directions to cut along, and where points lie on a plane of two of them.

A network with batch normalization does not change when a filter (the weights into one unit) is
multiplied by a positive number, so that a step of length 1 may be large or nothing. Filter
normalization measures steps in units of the filters: a random direction d gets

    d[filter] <- d[filter] |w[filter]| / |d[filter]|                        (Li et al., equation 1)

once, and is zero at biases and at the normalization's own parameters, whose norms may be zero and
say nothing about scale. Three points w1, w2, w3 span the plane

    u = w2 - w1,    v = (w3 - w1) - <w3 - w1, u> u / |u|^2          (Garipov et al., footnote 1)

of which the unit vectors are taken.

Li, Xu, Taylor, Studer and Goldstein (2018), https://arxiv.org/abs/1712.09913, sections 4 and 7;
Garipov, Izmailov, Podoprikhin, Vetrov and Wilson (2018), https://arxiv.org/abs/1802.10026.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxopt_course import saddle
from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_batch,
    check_callable,
    check_flag,
    check_key,
    check_like,
    check_not_empty,
    check_one_of,
    check_positive,
    check_real_floating,
    is_traced,
)
from jaxopt_course._reading import LISTED, Reading, how_many, number, readable, spread
from jaxopt_course.landscape._slices import Objective, directions_of

FilterAxes = Callable[[str, jax.Array], Sequence[int] | None]


@readable
class EigenDirections(NamedTuple):
    """Two eigenvectors of a Hessian, with the evidence for them.

    Attributes:
        directions: First and second, unit vectors as pytrees like the parameters.
        eigenvalues: Of each, shape `(2,)`.
        residual_norms: Some eigenvalue lies within this distance of each, shape `(2,)`.
    """

    directions: tuple[Any, Any]
    eigenvalues: jax.Array
    residual_norms: jax.Array

    def _reading(self) -> Reading | None:
        """The two eigenvalues."""
        if np.ndim(self.eigenvalues) != 1:
            return None
        pairs = zip(self.eigenvalues, self.residual_norms, strict=True)
        rows = [
            (name, f"eigenvalue {number(value)}, within {float(error):.2g}")
            for name, (value, error) in zip(("first", "second"), pairs, strict=True)
        ]
        rows.append(("more", ".directions, for landscape.plane"))
        return Reading("two eigenvectors of a Hessian", rows)


@readable
class ThroughPoints(NamedTuple):
    """The plane through three points.

    Attributes:
        center: The first of them.
        directions: Two orthogonal unit vectors, as pytrees like it: towards the second point, and
            across. Zero where points coincide, or lie on one line.
        coordinates: Of the three points in this plane, shape `(3, 2)`.
    """

    center: Any
    directions: tuple[Any, Any]
    coordinates: jax.Array

    def _reading(self) -> Reading | None:
        """Where the points are in the plane."""
        if np.ndim(self.coordinates) != 2:
            return None
        rows = [
            (f"point {i}", f"at {number(first)}, {number(second)}")
            for i, (first, second) in enumerate(np.asarray(self.coordinates))
        ]
        rows.append(("more", ".center and .directions, for landscape.plane"))
        return Reading("the plane through three points", rows)


@readable
class Projection(NamedTuple):
    """Points as they are seen in a plane, or in the space of some directions.

    Attributes:
        coordinates: Steps along the directions to the nearest point of the plane, shape
            `(points, directions)`.
        share: Of each point's squared distance from the center, what the plane shows, shape
            `(points,)`; 1 at the center itself.
    """

    coordinates: jax.Array
    share: jax.Array

    def _reading(self) -> Reading | None:
        """How much of the points the directions show."""
        if np.ndim(self.coordinates) != 2:
            return None
        points, directions = np.shape(self.coordinates)
        rows = [
            (f"direction {i}", f"steps {spread(steps)}")
            for i, steps in enumerate(np.asarray(self.coordinates).T[:LISTED])
        ]
        rows.append(("share shown", f"{spread(self.share)} of the squared distance"))
        seen = how_many(directions, "direction")
        return Reading(f"{how_many(points, 'point')} as seen along {seen}", rows)


def filter_normalized(
    direction: chex.ArrayTree,
    params: chex.ArrayTree,
    *,
    vectors: bool = False,
    filter_axes: FilterAxes | None = None,
) -> Any:
    """A direction of which each filter has the norm of the same filter of the parameters.

        d[filter] |w[filter]| / |d[filter]|

    By default the **last axis of an array with two axes or more counts its filters**: a filter is
    the weights into one unit of a flax `Linear` (kernel `(in, out)`) or `Conv` (kernel `(*window,
    in, out)`), linen or nnx. Say otherwise by `filter_axes` for kernels of another layout, such as
    attention's `(in, heads, head_dim)`, whose units are counted by the last two.

    Args:
        direction: A pytree like `params`.
        params: Parameters, of real floating dtype.
        vectors: Whether arrays of fewer than two axes (biases, and the parameters of
            normalizations) are moved, too, each as one filter. By default the direction is zero
            there, as in the paper.
        filter_axes: In place of both rules: from a leaf's path (its keys joined by slashes) and the
            leaf to the axes that count its filters; `()` for the whole array as one (all arrays so:
            layer normalization), None for zero.

    Returns:
        The direction, a pytree like `params`. A filter of the direction that is zero stays zero.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> kernel = jnp.array([[3.0, 0.0], [4.0, 2.0]])
        >>> filter_normalized({"k": jnp.ones((2, 2))}, {"k": kernel})["k"].round(2).tolist()
        [[3.5399999618530273, 1.409999966621399], [3.5399999618530273, 1.409999966621399]]

    Reference:
        Li et al. (2018), equation 1.
    """
    check_not_empty("params", params)
    check_real_floating("params", params)
    check_real_floating("direction", direction)
    check_like("direction", direction, "params", params)
    check_flag(vectors=vectors)
    check_callable(filter_axes=filter_axes, optional=True)

    def default(_, leaf):
        return (leaf.ndim - 1,) if leaf.ndim >= 2 else () if vectors else None

    def scaled(keys, weights, moved):
        weights, moved = jnp.asarray(weights), jnp.asarray(moved)
        path = jax.tree_util.keystr(keys, simple=True, separator="/")
        axes = _axes(path, (filter_axes or default)(path, weights), weights)
        if axes is None:
            return jnp.zeros_like(weights)
        others = tuple(axis for axis in range(weights.ndim) if axis not in axes)
        own, wanted = (_norm_over(array, others) for array in (moved, weights))
        return moved / jnp.where(own > 0, own, 1) * wanted  # The product may be out of range.

    return jax.tree.map_with_path(scaled, params, direction)


def random_direction(
    key: jax.Array,
    params: chex.ArrayTree,
    *,
    vectors: bool = False,
    filter_axes: FilterAxes | None = None,
) -> Any:
    """A filter-normalized direction drawn from a normal distribution.

    Args:
        key: Typed key.
        params: Parameters, of real floating dtype.
        vectors: As for `filter_normalized`.
        filter_axes: As for `filter_normalized`.

    Returns:
        A pytree like `params`.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> params = {"kernel": jnp.eye(3), "bias": jnp.ones(3)}
        >>> direction = random_direction(jax.random.key(0), params)
        >>> jnp.linalg.norm(direction["kernel"], axis=0).round(4).tolist(), direction["bias"]
        ([1.0, 1.0, 1.0], Array([0., 0., 0.], dtype=float32))

    Reference:
        Li et al. (2018), equation 1.
    """
    check_key(key=key)
    check_not_empty("params", params)
    check_real_floating("params", params)
    params = jax.tree.map(jnp.asarray, params)
    drawn: Any = optax.tree.random_like(key, params)
    return filter_normalized(drawn, params, vectors=vectors, filter_axes=filter_axes)


def eigen_directions(
    fun: Objective,
    params: chex.ArrayTree,
    *,
    which: Literal["largest", "smallest", "both"] = "largest",
    key: jax.Array,
    tolerance: float | None = None,
) -> EigenDirections:
    """Two eigenvectors at the ends of the Hessian's spectrum, to cut along.

    Args:
        fun: The objective, twice differentiable.
        params: Its parameters.
        which: The two `"largest"` (first the largest) or `"smallest"` (first the smallest), or of
            `"both"` ends one: first the smallest.
        key: Typed key, of the search.
        tolerance: As for `saddle.extreme_eigenpairs`.

    Returns:
        The directions with eigenvalues and residuals. Of a multiple eigenvalue any vectors of its
        eigenspace.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> fun = lambda x: x[0] ** 2 - 2 * x[1] ** 2 + 3 * x[2] ** 2
        >>> found = eigen_directions(fun, jnp.zeros(3), which="both", key=jax.random.key(0))
        >>> found.eigenvalues.round().tolist()
        [-4.0, 6.0]
    """
    check_key(key=key)
    check_not_empty("params", params)
    check_real_floating("params", params)
    check_one_of(("largest", "smallest", "both"), which=which)
    check_positive(tolerance=tolerance, optional=True)
    k = 1 if which == "both" else 2
    found = saddle.extreme_eigenpairs(fun, params, k=k, which=which, key=key, tolerance=tolerance)
    order = (1, 0) if which == "largest" else (0, 1)
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], found.eigenvectors) for i in order)
    taken = jnp.array(order)
    return EigenDirections((first, second), found.eigenvalues[taken], found.residual_norms[taken])


def through(first: chex.ArrayTree, second: chex.ArrayTree, third: chex.ArrayTree) -> ThroughPoints:
    """The plane through three points, to cut along: `plane(fun, found.center, found.directions)`.

    Args:
        first: A point, of real floating dtype; the plane's center.
        second: Another; the first direction leads to it.
        third: A third one, to the side of both.

    Returns:
        Center, orthogonal unit directions, and the coordinates of the points.

    Raises:
        TypeError: for points other than described.
        ValueError: If the points lie on one line, which is said of known numbers only.

    Example:
        >>> through(jnp.zeros(2), jnp.array([3.0, 0.0]), jnp.array([1.0, 2.0])).coordinates.tolist()
        [[0.0, 0.0], [3.0, 0.0], [1.0, 2.0]]

    Reference:
        Garipov et al. (2018), footnote 1.
    """
    check_not_empty("first", first)
    for name, point in (("first", first), ("second", second), ("third", third)):
        check_real_floating(name, point)
        check_like(name, point, "first", first)
    ahead, aside = (
        jax.tree.map(lambda a, b: jnp.asarray(b) - jnp.asarray(a), first, point)
        for point in (second, third)
    )
    along, width = _unit(ahead)
    shadow = _inner(aside, along)
    # Twice, because what the first subtraction leaves is a difference of large numbers.
    rest = optax.tree.add_scale(aside, -shadow, along)
    rest = optax.tree.add_scale(rest, -_inner(rest, along), along)
    across, height = _unit(rest)
    if not is_traced((width, height)):
        rounding = 100 * float(jnp.finfo(height.dtype).eps)
        if width == 0 or height <= rounding * max(width, abs(shadow)):
            raise ValueError("third must lie to the side of first and second, got points on a line")
    zero = jnp.zeros_like(width)
    coordinates = jnp.stack(
        [jnp.stack([zero, zero]), jnp.stack([width, zero]), jnp.stack([shadow, height])]
    )
    return ThroughPoints(first, (along, across), coordinates)


def principal_directions(path: chex.ArrayTree) -> tuple[Any, Any]:
    """The two orthonormal directions that hold most of a path's way to its end.

    Args:
        path: Points in order, such as `run.observed["params"]`: a pytree whose leaves have the
            points as leading axis, three or more.

    Returns:
        First and second, pytrees like a point: the leading right singular vectors of the matrix of
        `point - last point`.

    Raises:
        TypeError, ValueError: for a path other than described.

    Example:
        >>> path = jnp.array([[2.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
        >>> jnp.abs(principal_directions(path)[0]).round(3).tolist()
        [1.0, 0.0, 0.0]

    Reference:
        Li et al. (2018), section 7.2.
    """
    check_not_empty("path", path)
    check_real_floating("path", path)
    if check_batch("path", path) < 3:
        raise ValueError(f"path must have at least three points, got {check_batch('path', path)}")
    path = jax.tree.map(jnp.asarray, path)
    offsets = jax.tree.map(lambda leaf: leaf - leaf[-1:], path)
    flat, unravel = _rows(offsets)
    if flat.shape[1] < 2:
        raise ValueError(f"path must be of at least two parameters, got {flat.shape[1]}")
    directions = jnp.linalg.svd(flat, full_matrices=False)[2]
    return unravel(directions[0]), unravel(directions[1])


def project(points: chex.ArrayTree, center: chex.ArrayTree, directions: Any) -> Projection:
    """Where points lie as seen in a plane, and how much of their way from its center it shows.

    The directions need not be orthogonal: the nearest point of the plane is meant.

    Args:
        points: A pytree like `center` whose leaves have the points as leading axis.
        center: The plane's center.
        directions: Two pytrees like `center` or any number, linearly independent, or one pytree
            with a leading axis of them, as for `plane`.

    Returns:
        Coordinates and shares; NaN where one direction is, to working precision, a combination of
        those before it.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> seen = project(jnp.array([[1.0, 4.0, 1.0]]), jnp.zeros(3), jnp.eye(3)[:2])
        >>> seen.coordinates.round().tolist(), (17 / 18 - seen.share).round(5).tolist()
        ([[1.0, 4.0]], [0.0])
    """
    check_not_empty("center", center)
    check_real_floating("center", center)
    check_real_floating("points", points)
    check_batch("points", points)
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], points)
    check_like("points", one, "center", center)
    several = directions_of("directions", directions, "center", center)
    points, center = jax.tree.map(jnp.asarray, (points, center))
    offsets, _ = _rows(jax.tree.map(lambda leaf, here: leaf - here[None], points, center))
    basis, _ = _rows(jax.tree.map(lambda *leaves: jnp.stack(leaves), *several))
    # By an orthonormal basis of the space: the normal equations would lose half the digits.
    orthonormal, triangle = jnp.linalg.qr(basis.T)
    inside = jnp.matmul(offsets, orthonormal, precision=jax.lax.Precision.HIGHEST)
    coordinates = jax.scipy.linalg.solve_triangular(triangle, inside.T).T
    squares = jnp.sum(offsets**2, axis=1)
    share = jnp.sum(inside**2, axis=1) / jnp.where(squares > 0, squares, 1)
    share = jnp.where(squares > 0, share, 1)
    # A direction that lies in the space of those before it leaves nothing but rounding here.
    left = jnp.abs(jnp.diagonal(triangle)) / jnp.linalg.norm(triangle, axis=0)
    spanned = jnp.all(left > 10 * len(several) * jnp.finfo(left.dtype).eps)
    return Projection(jnp.where(spanned, coordinates, jnp.nan), jnp.where(spanned, share, jnp.nan))


def _axes(path: str, axes: Any, leaf: jax.Array) -> tuple[int, ...] | None:
    """Return the axes that count a leaf's filters as numbers from 0.

    Raises:
        ValueError: for what are none of its axes.
    """
    if axes is None:
        return None
    try:
        wanted = tuple(axes)
        return tuple(range(leaf.ndim)[axis] for axis in wanted)
    except (TypeError, IndexError) as error:
        raise ValueError(
            f"filter_axes must give axes of an array of shape {leaf.shape}, or None, "
            f"got {brief(axes)} for {path}"
        ) from error


def _norm_over(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the norms over some axes, with a derivative also where they are 0.

    In units of the largest entry, whose square may be out of range.
    """
    unit = _regular(jnp.max(jnp.abs(array), axes, keepdims=True, initial=0))
    squares = jnp.sum((array / unit) ** 2, axes, keepdims=True)
    return jnp.where(squares > 0, unit * jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def _regular(largest: jax.Array) -> jax.Array:
    """Return a unit of length: the largest entry, or 1 where that is 0 or no finite number."""
    largest = jax.lax.stop_gradient(largest)
    return jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)


def _inner(one: Any, other: Any) -> jax.Array:
    return jnp.asarray(optax.tree.vdot(one, other))


def _unit(tree: Any) -> tuple[Any, jax.Array]:
    """Return a tree divided by its norm, and the norm."""
    largest = [jnp.max(jnp.abs(leaf), initial=0) for leaf in jax.tree.leaves(tree)]
    unit = _regular(functools.reduce(jnp.maximum, largest))
    scaled = jax.tree.map(lambda leaf: leaf / unit.astype(leaf.dtype), tree)
    squares = _inner(scaled, scaled)
    norm = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    return optax.tree.scale(1 / jnp.where(norm > 0, norm, 1), scaled), unit * norm


def _rows(tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """Return a tree with a leading axis as a matrix, and what makes a tree of one of its rows."""
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], tree))[1]
    return jax.vmap(lambda one: ravel_pytree(one)[0])(tree), unravel
