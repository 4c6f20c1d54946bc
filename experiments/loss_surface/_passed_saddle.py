"""A saddle that gradient descent passes on its way down a small network's loss.

Where the gradient norm of a path has a local minimum a stationary point is near. Newton's search
from those places finds it, and `saddle.classify` says what it is.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxopt_course import saddle

from ..lab import resumable
from ..lab.digit_network import Network, descend, slow_places


@dataclasses.dataclass(frozen=True)
class Passed:
    """A strict saddle and the path that passes it.

    Attributes:
        fun: The objective.
        saddle: Parameters of the saddle.
        index: Its number of negative eigenvalues.
        gradient_norm: Gradient norm there.
        path: Parameters along the path as vectors, shape (steps, parameters).
        values: Values along the path.
        unravel: From a vector to parameters.
    """

    fun: Any
    saddle: Any
    index: int
    gradient_norm: float
    path: np.ndarray
    values: np.ndarray
    unravel: Any


def find_passed(
    network: Network, key: jax.Array, *, paths: int, steps: int, learning_rate: float, scale: float
) -> Passed:
    """Descend from small weights and return the strict saddle that a path comes nearest to.

    Args:
        network: What is trained.
        key: Typed key of the starts.
        paths: Number of starts.
        steps: Steps of gradient descent.
        learning_rate: Its rate.
        scale: Factor of the initial weights; the smaller, the nearer the paths pass by saddles.

    Returns:
        The saddle, and the path that passes it.

    Raises:
        ValueError: If no search ended at a strict saddle.
    """
    problem = network.problem()
    fun = network.objective(problem)
    starts = jax.vmap(problem.init)(jax.random.split(key, paths))
    params, values, norms = descend(fun, optax.tree.scale(scale, starts), learning_rate, steps)
    path, step = slow_places(np.asarray(norms), most=4)
    if not path.size:
        raise ValueError(f"steps must lead past a saddle, got {steps} without any slow place")
    slow = jax.tree.map(lambda leaf: leaf[path, step], params)
    census = resumable.find(fun, slow, method="newton", max_steps=30)
    strict = np.flatnonzero(np.asarray(census.point.kind) == saddle.Kind.STRICT_SADDLE)
    if not strict.size:
        raise ValueError(f"scale must let paths pass a saddle; none was found at {scale}")
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], starts))[1]
    vectors = np.asarray(jax.vmap(jax.vmap(lambda p: ravel_pytree(p)[0]))(params))
    points = np.asarray(jax.vmap(lambda p: ravel_pytree(p)[0])(census.params))[strict]
    distances = np.linalg.norm(vectors - points[:, None, None], axis=-1).min(axis=-1)
    point, which = np.unravel_index(distances.argmin(), distances.shape)
    return Passed(
        fun=fun,
        saddle=unravel(jnp.asarray(points[point])),
        index=int(census.point.index[strict[point]]),
        gradient_norm=float(census.point.gradient_norm[strict[point]]),
        path=vectors[which],
        values=np.asarray(values[which]),
        unravel=unravel,
    )
