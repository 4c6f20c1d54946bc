r"""Noise at every step, with which gradient descent leaves saddle points.

    x[t+1] = x[t] - learning_rate * (g[t] + scale * n[t]),   n[t] uniform on the unit sphere

Ge, Huang, Jin and Yuan (2015), "Escaping From Saddle Points: Online Stochastic Gradient for Tensor
Decomposition", Algorithm 1, https://arxiv.org/abs/1503.02101.
"""

from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course._checks import (
    check_arrays,
    check_key,
    check_non_negative,
    check_one_of,
    check_real_floating,
)
from jaxopt_course._streams import stream
from jaxopt_course.transforms._few_normals import normals
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate


class InjectNoiseState(NamedTuple):
    """What noise at every step remembers.

    Attributes:
        key: The noise's own stream of the key that was given; step t draws from `fold_in(key, t)`.
        count: Steps taken, int32 scalar.
    """

    key: jax.Array
    count: jax.typing.ArrayLike


def inject_noise(
    scale: chex.Numeric,
    key: jax.Array,
    *,
    distribution: Literal["sphere", "ball", "gaussian"] = "sphere",
) -> optax.GradientTransformation:
    """Fresh noise on the updates at every step.

    Args:
        scale: Length of the noise: its norm ("sphere"), its largest norm ("ball") or its standard
            deviation in every coordinate ("gaussian"); the norm is that over all leaves together.
        key: A typed key; a batch of keys under `vmap` gives independent noise.
        distribution: Uniform on the sphere (Ge et al. 2015), uniform in the ball, or normal.

    Returns:
        An `optax.GradientTransformation` with `InjectNoiseState`.

    Raises:
        ValueError: for a negative scale or an unknown distribution.
        TypeError: for a key that is not a typed key.

    Example:
        >>> noisy = inject_noise(0.1, jax.random.key(0))
        >>> updates, _ = noisy.update(jnp.zeros(3), noisy.init(jnp.zeros(3)))
        >>> print(f"{jnp.linalg.norm(updates):.3f}")
        0.100

    Reference:
        Ge et al. (2015), Algorithm 1.
    """
    check_non_negative(scale=scale)
    check_key(key=key)
    check_one_of(("sphere", "ball", "gaussian"), distribution=distribution)

    def init(params):
        check_real_floating("params", params)
        check_arrays("params", params)
        return InjectNoiseState(key=stream(key, "noise"), count=jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        check_real_floating("updates", updates)
        check_arrays("updates", updates)
        noise = draw_noise(state.key, state.count, updates, distribution)
        updates = add_scaled(updates, scale, noise)
        return updates, InjectNoiseState(state.key, optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def noisy_gradient_descent(
    learning_rate: optax.ScalarOrSchedule,
    scale: chex.Numeric,
    key: jax.Array,
    *,
    distribution: Literal["sphere", "ball", "gaussian"] = "sphere",
) -> optax.GradientTransformationExtraArgs:
    """Noisy gradient descent: `x - learning_rate * (gradient + scale * noise)` at every step.

    Args:
        learning_rate: A number or a schedule.
        scale: Length of the noise in units of the gradient, see `inject_noise`.
        key: A typed key.
        distribution: See `inject_noise`.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: for a negative rate or scale, or an unknown distribution.
        TypeError: for a key that is not a typed key.

    Example:
        >>> optimizer = noisy_gradient_descent(0.1, 0.01, jax.random.key(0))
        >>> updates, _ = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
        >>> bool(jnp.all(updates < 0))
        True

    Reference:
        Ge et al. (2015), Algorithm 1.
    """
    return optax.chain(
        inject_noise(scale, key, distribution=distribution),
        scale_by_learning_rate(learning_rate),
    )


def draw_noise(key: jax.Array, number: jax.Array, like: optax.Updates, distribution: str):
    """Draw the noise with this number: unit scale, and structure, shapes and dtypes of `like`."""
    leaves, treedef = jax.tree.flatten(like)
    size = sum(leaf.size for leaf in leaves)
    # Lengths are computed in float32 at least, whatever the leaves are stored in.
    dtype = jnp.result_type(jnp.float32, *leaves)
    # The first n coordinates of a point uniform on the sphere in n + 2 dimensions are uniform in
    # the ball in n dimensions (Archimedes' hat-box theorem), which saves drawing a radius.
    size, unit = size + 2 * (distribution == "ball"), distribution != "gaussian"
    flat = normals(key, number, size=size, dtype=dtype, unit=unit)
    noise, start = [], 0
    for leaf in leaves:
        piece = flat[start : start + leaf.size]
        noise.append(piece.reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(treedef, noise)


def add_scaled(updates: optax.Updates, scale: chex.Numeric, noise: optax.Updates) -> optax.Updates:
    """Return `updates + scale * noise` in the dtypes of `updates`."""
    return jax.tree.map(lambda u, n: u + jnp.asarray(scale, u.dtype) * n, updates, noise)
