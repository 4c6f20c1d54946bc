"""Perturbed gradient descent as one writes it first: noise drawn at every step, used where due."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def perturbed_gradient_descent(learning_rate, radius, threshold, interval, key):
    def init(params):
        del params
        return key, jnp.int32(np.iinfo(np.int32).max // 2)

    def update(updates, state, params=None, *, grad, **extra_args):
        del params, extra_args
        key, since_last = state
        key, drawn = jax.random.split(key)
        normal = jax.random.normal(drawn, (grad.size + 2,))
        noise = radius * normal[: grad.size] / jnp.linalg.norm(normal)
        due = (jnp.linalg.norm(grad) <= threshold) & (since_last > interval)
        return updates + jnp.where(due, noise, 0), (key, jnp.where(due, 1, since_last + 1))

    perturb = optax.GradientTransformationExtraArgs(init, update)
    return optax.chain(optax.sgd(learning_rate), perturb)
