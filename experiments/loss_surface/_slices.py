r"""Slices through a loss surface: directions, values along them, and a path seen in them.

A network with batch normalization does not change when a filter (the weights into one unit) is
multiplied by a positive number, so a step of length 1 may be large or nothing. Filter
normalization measures steps in units of the filters: a random direction d gets

    d[filter] <- d[filter] |w[filter]| / |d[filter]|

once, and is zero at biases and at the normalization's own parameters, whose norms may be zero and
say nothing about scale.

Li, Xu, Taylor, Studer and Goldstein (2018), section 4, https://arxiv.org/abs/1712.09913.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Objective = Callable[[Any], jax.Array]


def filter_normalized(direction: Any, params: Any) -> Any:
    """Give each filter of a direction the norm of the same filter of the parameters.

    Args:
        direction: A pytree like `params`.
        params: Parameters; the last axis of an array of two axes or more counts its filters.

    Returns:
        The direction, zero at arrays of fewer than two axes.

    Example:
        >>> kernel = jnp.array([[3.0, 0.0], [4.0, 2.0]])
        >>> filter_normalized({"k": jnp.ones((2, 2))}, {"k": kernel})["k"].round(2).tolist()
        [[3.5399999618530273, 1.409999966621399], [3.5399999618530273, 1.409999966621399]]
    """

    def scaled(direction, weights):
        if weights.ndim < 2:
            return jnp.zeros_like(weights)
        axes = tuple(range(weights.ndim - 1))
        own = jnp.sqrt(jnp.sum(direction**2, axes, keepdims=True))
        wanted = jnp.sqrt(jnp.sum(weights**2, axes, keepdims=True))
        return direction * wanted / jnp.where(own > 0, own, 1)

    return jax.tree.map(scaled, direction, params)


def random_direction(key: jax.Array, params: Any) -> Any:
    """Draw a filter-normalised direction from a normal distribution."""
    return filter_normalized(optax.tree.random_like(key, params), params)


def along(fun: Objective, origin: Any, direction: Any, steps: jax.Array) -> jax.Array:
    """Return the values at `origin + step * direction` for each step."""
    return jax.lax.map(
        lambda step: fun(optax.tree.add_scale(origin, step, direction)), steps, batch_size=8
    )


def plane(
    fun: Objective, origin: Any, first: Any, second: Any, rows: jax.Array, columns: jax.Array
) -> jax.Array:
    """Return the values at `origin + row * first + column * second`, rows x columns of them."""
    return jax.lax.map(
        lambda row: along(fun, optax.tree.add_scale(origin, row, first), second, columns), rows
    )


def principal_directions(path: np.ndarray) -> np.ndarray:
    """Return the two orthonormal directions that hold most of a path's way to its end.

    Args:
        path: Points in order, shape (points, parameters).

    Returns:
        Shape (2, parameters): the leading right singular vectors of `path - path[-1]`.
    """
    return np.linalg.svd(path - path[-1], full_matrices=False)[2][:2]


def coordinates(
    path: np.ndarray, origin: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project a path on the plane through a point.

    Args:
        path: Shape (points, parameters).
        origin: The plane's point, shape (parameters,).
        directions: Orthonormal, shape (k, parameters).

    Returns:
        Coordinates, shape (points, k), and the share of each point's squared distance from the
        origin that they show, shape (points,); NaN at the origin itself.
    """
    offsets = path - origin
    seen = offsets @ directions.T
    squares = np.sum(offsets**2, axis=1)
    with np.errstate(invalid="ignore"):
        return seen, np.sum(seen**2, axis=1) / squares
