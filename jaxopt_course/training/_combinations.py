"""Combinations of hyperparameters and keys."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_key, to_doubles
from jaxopt_course._reading import Reading, how_many, listed, readable


@readable
class Grid(NamedTuple):
    """Every combination of hyperparameters and keys, as one batch of runs.

    Attributes:
        keys: Shape `(runs,)`.
        hyperparams: Arrays of shape `(runs,)` by name.
        shape: Numbers of values of each hyperparameter, in the order given, then of keys; an array
            with leading axis `runs` can be reshaped to it.
    """

    keys: jax.Array
    hyperparams: dict[str, jax.Array]
    shape: tuple[int, ...]

    def _reading(self) -> Reading:
        """The values of each hyperparameter."""
        rows = [(name, listed(np.unique(values))) for name, values in self.hyperparams.items()]
        each = how_many(self.shape[-1], "key") + " each"
        return Reading(f"{how_many(np.size(self.keys), 'run')}: every combination, {each}", rows)


def grid(keys: jax.Array, **hyperparams: Sequence[float]) -> Grid:
    """Every value of every hyperparameter, combined with every key.

    Args:
        keys: Typed keys, shape `(n,)`.
        **hyperparams: Values by name.

    Returns:
        The batch of runs, for `fit(..., keys=grid.keys, hyperparams=grid.hyperparams)`.

    Example:
        >>> runs = grid(jax.random.split(jax.random.key(0), 2), learning_rate=[0.1, 0.2, 0.3])
        >>> runs.shape, runs.hyperparams["learning_rate"]
        ((3, 2), Array([0.1, 0.1, 0.2, 0.2, 0.3, 0.3], dtype=float32))
    """
    check_key(keys=keys)
    if keys.ndim != 1:
        raise ValueError(f"keys must have shape (n,), got {keys.shape}")
    for name, values in hyperparams.items():
        to_doubles(name, values)
    axes = [np.asarray(values) for values in hyperparams.values()]
    for name, axis in zip(hyperparams, axes, strict=True):
        if axis.ndim != 1 or not axis.size:
            raise ValueError(f"{name} must be a list of one number or more, got {brief(axis)}")
    shape = (*(len(axis) for axis in axes), keys.shape[0])
    indices = np.indices(shape).reshape(len(shape), -1)
    values = {
        name: jnp.asarray(axis[index])
        for name, axis, index in zip(hyperparams, axes, indices[:-1], strict=True)
    }
    return Grid(keys[indices[-1]], values, shape)
