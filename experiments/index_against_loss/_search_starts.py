"""Where the search for stationary points of a small network starts, and for which index."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..lab.digit_network import descend, slow_places
from ._config import Config

FAMILIES = ("random weights", "along training", "slow places", "units at zero")
LEARNING_RATE = 0.5


def _scaled(params: Any, factors: jax.Array) -> Any:
    """Multiply each member of a batch of parameters by its own factor."""
    return jax.tree.map(
        lambda leaf: leaf * factors.reshape(-1, *[1] * (leaf.ndim - 1)).astype(leaf.dtype), params
    )


def without_units(params: Any, alive: jax.Array) -> Any:
    """Set the weights into and out of some hidden units to zero.

    Args:
        params: Parameters of a `Network`, a batch.
        alive: Shape (batch, hidden), 1 for the units that are kept, else 0.

    Returns:
        The parameters.
    """
    first, last = (params["blocks"][name]["layer"] for name in sorted(params["blocks"]))
    first = {"kernel": first["kernel"] * alive[:, None], "bias": first["bias"] * alive}
    last = last | {"kernel": last["kernel"] * alive[..., None]}
    names = sorted(params["blocks"])
    return {"blocks": {names[0]: {"layer": first}, names[1]: {"layer": last}}}


def starting_points(
    config: Config, problem, fun, key: jax.Array
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return where searches start, a batch of parameters, and family and wanted index of each."""
    count = config.starts
    keys = jax.random.split(key, 2)
    drawn = jax.vmap(problem.init)(jax.random.split(keys[0], count))
    scales = jnp.repeat(jnp.array(config.scales), count // len(config.scales))
    paths = max(count // 6, 1)
    few = jax.tree.map(lambda leaf: leaf[:paths], drawn)

    # Along training: where each path first falls to values that are evenly spaced.
    plain, values, _ = descend(fun, few, LEARNING_RATE, config.steps)
    values = np.asarray(values)
    levels = np.linspace(values[:, 0], values[:, -1], count // paths, axis=1)
    # With small steps values fall along a path, so that the first one below a level is near it.
    step = np.argmax(values[:, None] <= levels[..., None], axis=-1)
    path = np.repeat(np.arange(paths)[:, None], step.shape[1], axis=1)
    along = jax.tree.map(lambda leaf: leaf[path.ravel(), step.ravel()], plain)

    # Slow places: from small weights paths pass near saddles, where the gradient is small.
    small = _scaled(few, jnp.full(paths, 0.03))
    slow, _, norms = descend(fun, small, LEARNING_RATE, config.steps)
    path, step = slow_places(np.asarray(norms), most=count)
    slow = jax.tree.map(lambda leaf: leaf[path, step], slow)

    # Units at zero: 0, 1, ..., hidden - 1 of them are used, and again; descent leaves the rest so.
    alive = np.arange(config.hidden) < (np.arange(count) % config.hidden)[:, None]
    crippled = without_units(drawn, jnp.asarray(alive, float))
    ends = descend(fun, crippled, LEARNING_RATE, config.steps, every=config.steps)[0]
    ends = jax.tree.map(lambda leaf: leaf[:, 0], ends)

    # Every index in turn is wanted; where units are at zero, that which they give the saddle.
    families = (_scaled(drawn, scales), along, slow, ends)
    sizes = [jax.tree.leaves(family)[0].shape[0] for family in families]
    starts = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *families)
    family = np.repeat(np.arange(len(families)), sizes)
    wanted = np.arange(family.size) % (config.hidden * (config.classes - 1) + 1)
    wanted[family == 3] = (config.hidden - alive.sum(axis=1)) * (config.classes - 1)
    return starts, family, wanted
