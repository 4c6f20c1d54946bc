r"""What flows through a fully connected network: activations forward, gradients backward.

    s_l = W_l h_{l-1} + b_l,    h_l = f(s_l),    delta_l = dL / ds_l

with `L` the loss of one example. The gradient of the weights is `mean over examples of
h_{l-1} delta_l^T`. `nn.signals` has those of any network.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxopt_course import nn
from jaxopt_course.training import cross_entropy


class Signals(NamedTuple):
    """Signals of every layer, output layer last.

    Attributes:
        activations: `h_l`, arrays of shape (examples, width of the layer).
        gradients: `delta_l`, likewise.
        weight_gradient_norms: Frobenius norm of the gradient of the mean loss by `W_l`, shape
            (layers,).
    """

    activations: tuple[jax.Array, ...]
    gradients: tuple[jax.Array, ...]
    weight_gradient_norms: jax.Array


def signals(
    model: nn.MLP,
    inputs: ArrayLike,
    labels: ArrayLike,
    loss: Callable[..., jax.Array] = cross_entropy,
) -> Signals:
    """Send a batch through a network and its loss back.

    Args:
        model: The network, without normalization.
        inputs: Shape (examples, ...).
        labels: Shape (examples,).
        loss: Of outputs and labels, for every example.

    Returns:
        The signals.

    Example:
        >>> from flax import nnx
        >>> model = nn.MLP((4, 3, 2), rngs=nnx.Rngs(0))
        >>> flow = signals(model, jnp.ones((5, 4)), jnp.zeros(5, int))
        >>> [h.shape for h in flow.activations], flow.weight_gradient_norms.shape
        ([(5, 3), (5, 2)], (2,))
    """
    flow = nn.signals(model, inputs, loss=lambda outputs: loss(outputs, labels))
    output = dict(zip(flow.paths, flow.outputs, strict=True))
    gradient = dict(zip(flow.paths, flow.gradients, strict=True))
    numbers = range(len(model.blocks))
    activations = tuple(output[f"blocks/{index}"] for index in numbers)
    gradients = tuple(gradient[f"blocks/{index}/layer"] for index in numbers)
    flat = jnp.reshape(inputs, (jnp.shape(inputs)[0], -1))
    before = (flat, *activations[:-1])
    norms = [
        jnp.linalg.norm(h.T @ delta) / len(flat) for h, delta in zip(before, gradients, strict=True)
    ]
    return Signals(activations, gradients, jnp.stack(norms))
