r"""Critics whose loss holds a gradient, with no, batch or weight normalization.

A critic f that is to tell digits from noise of the same mean and variance minimizes, as in
Gulrajani et al.,

    f(noise) - f(digit) + 10 (||grad f(x)|| - 1)^2,    x between noise and digit.

Training needs second derivatives of the network.

Gulrajani et al. (2017), https://arxiv.org/abs/1704.00028.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course.nn import (
    MLP,
    BatchNorm,
    FunctionalView,
    WeightNorm,
    data_dependent_init,
    functional_view,
)

from ..lab import data, progress, resumable
from ._config import Config

CRITICS = ("none", "batch", "weight")


@dataclasses.dataclass(frozen=True)
class Critic:
    """A network's difference between two examples, and its slope at a point between them.

    Attributes:
        network: The network as a pure function.
    """

    network: Callable[..., Any]

    def __call__(self, params, state, inputs, train=False):
        """Return `distance` and `slope` of every pair, and the network's new state."""
        real, fake, share = inputs
        outputs, state = self.network(params, state, jnp.concatenate([real, fake]), train=train)
        values = outputs[:, 0]
        between = share[:, None] * real + (1 - share[:, None]) * fake

        def total(x):
            return self.network(params, state, x, train=train)[0].sum()

        gradients = jax.grad(total)(between)
        slope = jnp.sqrt(jnp.sum(gradients**2, axis=1) + 1e-12)
        return {"distance": values[: len(real)] - values[len(real) :], "slope": slope}, state


def slope_error(outputs, _labels) -> jax.Array:
    """Return how far the slope of every pair is from 1."""
    return jnp.abs(outputs["slope"] - 1)


def _pairs(images: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return images, noise with each pixel's mean and variance, and shares to mix the two by."""
    real = images.reshape(len(images), -1)
    noise = generator.normal(size=real.shape).astype(np.float32)
    fake = real.mean(axis=0) + real.std(axis=0) * noise
    return real, fake, generator.random(len(real), np.float32)


def _build_critic(name: str, config: Config, images: np.ndarray, dtype, key) -> FunctionalView:
    """A critic normalized in the way of this name."""
    model = MLP(
        (images.shape[1], *config.critic_hidden, 1),
        # Smooth, so that the penalty's gradient has derivatives everywhere.
        activation=jax.nn.silu,
        normalization=BatchNorm if name == "batch" else None,
        wrapper=WeightNorm if name == "weight" else None,
        param_dtype=dtype,
        rngs=nnx.Rngs(key),
    )
    if name == "weight":
        data_dependent_init(model, jnp.asarray(images[:100], dtype))
    apply, params, state = functional_view(model)
    return FunctionalView(Critic(apply), params, state)  # pyrefly: ignore[bad-argument-type]


def _others_share(critic, params, state, images) -> jax.Array:
    """Return the share of the outputs' squared derivatives that is in other examples' inputs."""

    def outputs(x):
        return critic.network(params, state, x, train=True)[0][:, 0]

    squares = jnp.sum(jax.jacrev(outputs)(images) ** 2, axis=2)
    return 1 - jnp.trace(squares) / squares.sum()


def _product_error(build, pairs, penalty: float, key) -> jax.Array:
    """Return the relative error of a Hessian-vector product against a central difference."""
    critic, params, state = build(key)

    def loss(params):
        outputs, _ = critic(params, state, pairs, train=True)
        return jnp.mean(penalty * (outputs["slope"] - 1) ** 2 - outputs["distance"])

    direction = optax.tree.random_like(jax.random.fold_in(key, 1), params)
    product = jax.jvp(jax.grad(loss), (params,), (direction,))[1]
    ends = jax.lax.map(
        lambda step: jax.grad(loss)(optax.tree.add_scale(params, step, direction)),
        jnp.array([1e-5, -1e-5]),
    )
    difference = jax.tree.map(lambda end: (end[0] - end[1]) / 2e-5, ends)
    return optax.tree.norm(optax.tree.sub(product, difference)) / optax.tree.norm(product)


def train(config: Config, loaded: data.Dataset, keys: jax.Array) -> dict[str, Any]:
    """Train the critics.

    Args:
        config: That of the experiment `normalization`.
        loaded: Images.
        keys: One a seed.

    Returns:
        `slope_error`, `critic_loss` and the share of derivatives by `others` on test images, and
        `product_error` of weight normalization; with the names of the axes.
    """
    generator = np.random.default_rng(config.seed)
    train, test = (_pairs(split.images, generator) for split in (loaded.train, loaded.test))

    def loss(outputs, _labels):
        return config.penalty * (outputs["slope"] - 1) ** 2 - outputs["distance"]

    found = {"slope_error": [], "critic_loss": [], "others": []}
    for name in progress.track(CRITICS, "critics"):
        build = functools.partial(_build_critic, name, config, train[0], jnp.float32)
        fitted = resumable.fit(
            build,
            optax.adam(1e-3, b1=0.5),
            (train, loaded.train.labels),
            keys,
            epochs=config.critic_epochs,
            batch_size=50,
            loss=loss,
            metrics={"slope_error": slope_error},
            evaluation={"test": (test, loaded.test.labels)},
        )
        found["slope_error"].append(fitted.history["test_slope_error"][:, -1])
        found["critic_loss"].append(fitted.history["test_loss"][:, -1])
        others = functools.partial(_others_share, fitted.apply)
        measure = jax.jit(jax.vmap(others, in_axes=(0, 0, None)))
        found["others"].append(measure(fitted.runs.params, fitted.runs.state, test[0][:16]))
    with jax.enable_x64(True):
        pairs = tuple(np.asarray(part[:50], np.float64) for part in train)
        build = functools.partial(_build_critic, "weight", config, train[0], jnp.float64)
        measure = functools.partial(_product_error, build, pairs, config.penalty)
        product_errors = jax.device_get(jax.jit(jax.vmap(measure))(keys))
    measured = {name: (("critic", "seed"), np.array(values)) for name, values in found.items()}
    return measured | {"product_error": (("seed",), product_errors)}
