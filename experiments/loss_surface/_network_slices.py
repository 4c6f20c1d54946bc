"""Networks with and without batch normalization, trained on digits, and slices of their loss."""

import functools
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from flax import nnx
from jax.flatten_util import ravel_pytree

from jaxopt_course import landscape, problems
from jaxopt_course.nn import MLP, BatchNorm

from ..lab import data
from ._config import Config

KINDS = ("no normalization", "batch normalization")
DIRECTIONS = ("filter-normalised", "plain")


def _of_data(problem: problems.Problem) -> jax.tree_util.Partial:
    """Return the objective with its data as keywords, which an empirical loss is."""
    assert isinstance(problem.fun, jax.tree_util.Partial)
    return problem.fun


def _train(config: Config, problem: problems.Problem, few: Any, key: jax.Array):
    """Return the parameters after each epoch, the start included; at the target loss they stay.

    Args:
        config: Of the experiment.
        problem: The loss of all images.
        few: That of the images whose slices are taken.
        key: Of start and order.
    """
    whole = _of_data(problem)
    inputs, labels = whole.keywords["inputs"], whole.keywords["labels"]
    loss = functools.partial(whole.func, state=whole.keywords["state"])
    optimizer = optax.sgd(config.learning_rate, momentum=0.9)
    steps = len(labels) // config.batch_size

    def step(carry, chosen):
        params, state = carry
        gradient = jax.grad(loss)(params, inputs=inputs[chosen], labels=labels[chosen])
        updates, state = optimizer.update(gradient, state, params)
        # Minima are compared at one loss: the lower the loss of a network, the wider it is.
        going = few(params) > config.target
        moved = optax.apply_updates(params, updates)
        return (optax.tree.where(going, moved, params), state), None

    def epoch(carry, key):
        order = jax.random.permutation(key, len(labels))[: steps * config.batch_size]
        return jax.lax.scan(step, carry, order.reshape(steps, -1))[0], carry[0]

    params = problem.init(key)
    keys = jax.random.split(jax.random.fold_in(key, 1), config.epochs)
    (end, _), path = jax.lax.scan(epoch, (params, optimizer.init(params)), keys)
    return jax.tree.map(lambda leaf, last: jnp.concatenate([leaf, last[None]]), path, end)


def rescaled(key: jax.Array, params):
    """Multiply each filter in front of a normalization by a factor from 1/4 to 4."""
    blocks = dict(params["blocks"])
    for index, name in enumerate(blocks):
        if "normalization" not in blocks[name]:
            continue
        kernel = blocks[name]["layer"]["kernel"]
        drawn = jax.random.uniform(jax.random.fold_in(key, index), kernel.shape[-1:])
        factors = 4 ** (2 * drawn - 1)
        layer = blocks[name]["layer"] | {"kernel": kernel * factors[None]}
        blocks[name] = blocks[name] | {"layer": layer}
    return params | {"blocks": blocks}


def _directions(name: str, key: jax.Array, params):
    """Draw a direction, filter-normalised or as long as all the weights together."""
    drawn = landscape.random_direction(key, params)
    if name == "filter-normalised":
        return drawn
    kernels = landscape.filter_normalized(params, params)
    plain = jax.tree.map(
        lambda leaf, noise: noise * (leaf.ndim > 1), params, optax.tree.random_like(key, params)
    )
    return optax.tree.scale(optax.tree.norm(kernels) / optax.tree.norm(plain), plain)


def cut_networks(config: Config, kind: str, train: data.Split, key: jax.Array) -> xr.Dataset:
    """Train the networks of one kind and take slices of their loss."""

    def build(key):
        return MLP(
            (train.images[0].size, *[config.width] * config.layers, 10),
            normalization=None if kind == KINDS[0] else BatchNorm,
            rngs=nnx.Rngs(key),
        )

    # The loss over all images, and that over the few images whose slices are taken.
    images = train.images.reshape(len(train.labels), -1)
    batch = kind != KINDS[0]
    with warnings.catch_warnings():
        # With batch statistics the loss is no mean over examples, which is intended here.
        warnings.simplefilter("ignore", UserWarning)
        problem = problems.empirical_loss(build, images, train.labels, train=batch)
    whole = _of_data(problem)
    few = jax.tree_util.Partial(
        whole.func,
        **whole.keywords
        | {"inputs": images[: config.images], "labels": train.labels[: config.images]},
    )
    # Paths of training, and their ends.
    steps = jnp.linspace(-1, 1, config.points)
    keys = jax.random.split(key, config.seeds)
    paths = jax.jit(jax.vmap(lambda key: _train(config, problem, few, key)))(keys)
    ends = jax.tree.map(lambda leaf: leaf[:, -1], paths)

    # Lines through every end; with batch statistics, also after a rescaling that changes no output.
    @functools.partial(jax.jit, static_argnums=0)
    def lines(name, fun, params, keys):
        def line(key):
            direction = _directions(name, key, params)
            return landscape.line(fun, params, direction=direction, steps=steps).value

        return jax.lax.map(line, keys)

    line_keys = jax.random.split(jax.random.fold_in(key, 1), config.directions)
    values, changes = [], []
    for seed in range(config.seeds):
        params = jax.tree.map(lambda leaf, seed=seed: leaf[seed], ends)
        values.append(lines(DIRECTIONS[0], few, params, line_keys))
        if batch:
            other = rescaled(jax.random.fold_in(key, seed), params)
            plain = lines(DIRECTIONS[1], few, params, line_keys)
            moved = [lines(name, few, other, line_keys) for name in DIRECTIONS]
            pairs = zip((values[-1], plain), moved, strict=True)
            changes.append([float(jnp.max(jnp.abs(b - a) / a)) for a, b in pairs])

    # The planes in which the paths lie.
    flat = np.asarray(jax.vmap(jax.vmap(lambda p: ravel_pytree(p)[0]))(paths))
    found = {
        "line": (("seed", "direction", "step"), np.array(values)),
        "train_loss": ("seed", jax.vmap(few)(ends)),
        **_path_in_planes(config, few, paths, flat, line_keys),
    }
    if batch:
        found["rescaled_change"] = (("seed", "normalised"), np.array(changes))
    return xr.Dataset(found, coords={"step": steps, "normalised": list(DIRECTIONS)})


def _path_in_planes(config: Config, fun, paths, flat: np.ndarray, keys: jax.Array) -> dict:
    """Planes through the first network, random and principal, and the paths projected."""
    # How much of a path's squared distances to its end two directions hold, principal and random.
    shares, random_shares = [], []
    rng = np.random.default_rng(config.seed)
    for path in flat:
        squares = np.sum((path - path[-1]) ** 2)
        pair = np.linalg.qr(rng.normal(size=(path.shape[1], 2)))[0].T.astype(path.dtype)
        for kept, directions in (
            (shares, landscape.principal_directions(path)), (random_shares, pair)
        ):  # fmt: skip
            seen = landscape.project(path, path[-1], directions)
            kept.append(np.sum(np.asarray(seen.coordinates) ** 2) / squares)
    # The surface around the first network's end, in both planes, and its path in the second.
    end = jax.tree.map(lambda leaf: leaf[0, -1], paths)
    steps = jnp.linspace(-1, 1, config.points)
    pair = [landscape.random_direction(key, end) for key in keys[:2]]
    path = jax.tree.map(lambda leaf: leaf[0], paths)
    principal = landscape.principal_directions(path)
    seen = np.asarray(landscape.project(path, end, principal).coordinates)
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = 0.15 * max(high - low)
    axes = np.linspace(low - margin, high + margin, config.points)
    random = landscape.plane(fun, end, pair, rows=steps, columns=steps)
    around = landscape.plane(fun, end, principal, rows=axes[:, 0], columns=axes[:, 1])
    return {
        "surface": (("row", "column"), random.value),
        "path_surface": (("row", "column"), around.value),
        "path_axes": (("row", "axis"), axes),
        "path": (("epoch", "axis"), seen),
        "path_loss": ("epoch", jax.vmap(fun)(path)),
        "path_share": ("seed", np.array(shares)),
        "random_share": ("seed", np.array(random_shares)),
    }
