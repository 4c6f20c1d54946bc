r"""What flows through a fully connected network: activations forward, gradients backward.

    s_l = W_l h_{l-1} + b_l,    h_l = f(s_l),    delta_l = dL / ds_l

with `L` the loss of one example. The gradient of the weights is `mean over examples of
h_{l-1} delta_l^T`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxopt_course.nn import MLP
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
    model: MLP,
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
        >>> model = MLP((4, 3, 2), rngs=nnx.Rngs(0))
        >>> flow = signals(model, jnp.ones((5, 4)), jnp.zeros(5, int))
        >>> [h.shape for h in flow.activations], flow.weight_gradient_norms.shape
        ([(5, 3), (5, 2)], (2,))
    """
    inputs = jnp.reshape(inputs, (jnp.shape(inputs)[0], -1))

    def total_loss(offsets):
        # The gradient by an offset added to s_l is delta_l.
        x, activations = inputs, []
        for block, offset in zip(model.blocks, offsets, strict=True):
            x = block.activation(block.layer(x) + offset)
            activations.append(x)
        return loss(x, labels).sum(), tuple(activations)

    shapes = jax.eval_shape(
        lambda: total_loss([jnp.zeros((), inputs.dtype)] * len(model.blocks))[1]
    )
    offsets = tuple(jnp.zeros(shape.shape, shape.dtype) for shape in shapes)
    gradients, activations = jax.grad(total_loss, has_aux=True)(offsets)
    before = (inputs, *activations[:-1])
    norms = [
        jnp.linalg.norm(h.T @ delta) / len(inputs)
        for h, delta in zip(before, gradients, strict=True)
    ]
    return Signals(activations, gradients, jnp.stack(norms))
