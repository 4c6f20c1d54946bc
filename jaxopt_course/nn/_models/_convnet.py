"""A small convolutional network for small images."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn import initializers
from jax.typing import DTypeLike

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_count, check_real_array, to_sizes
from jaxopt_course.nn._models._blocks import (
    Activation,
    Block,
    Initializer,
    Normalization,
    Wrapper,
    convolution,
    kaiming_normal,
    linear,
)


def max_pool(x: jax.Array) -> jax.Array:
    """Return the maximum of every 2 x 2 window of images (N, H, W, C).

    A window that the image's edge cuts counts what is left of it, so that an image of size 1 stays
    one. Written with a reshape instead of `lax.reduce_window`, which is slow inside a CPU loop.

    Example:
        >>> max_pool(jnp.arange(9.0).reshape(1, 3, 3, 1))[0, ..., 0].tolist()
        [[4.0, 5.0], [7.0, 8.0]]
    """
    batch, height, width, channels = x.shape
    ragged = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    if height % 2 or width % 2:
        x = jnp.pad(x, ragged, constant_values=-jnp.inf)
    windows = x.reshape(batch, -(-height // 2), 2, -(-width // 2), 2, channels)
    return windows.max(axis=(2, 4))


class ConvNet(nnx.Module):
    """A network of 3 x 3 convolutions, each before a 2 x 2 maximum, then a linear readout.

    Attributes:
        blocks: The convolutional layers in order.
        readout: Linear layer on the mean over the image's positions.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int] = (16, 32),
        num_classes: int = 10,
        *,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = kaiming_normal,
        bias_init: Initializer = initializers.zeros,
        normalization: Normalization | None = None,
        dropout_rate: float = 0.0,
        wrapper: Wrapper | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the network.

        Args:
            in_channels: Channels of the image.
            widths: Channels of each convolution.
            num_classes: Size of the output.
            activation: After each convolution.
            kernel_init: Initializer of the weights.
            bias_init: Initializer of the biases.
            normalization: Factory such as `BatchNorm`, or None.
            dropout_rate: After each convolution.
            wrapper: Factory of another parametrization such as `WeightNorm`, or None.
            param_dtype: Dtype of the parameters.
            rngs: Random streams: `params`, and `dropout` if there is any.

        Raises:
            ValueError: If `widths` is empty.

        Example:
            >>> model = ConvNet(1, (4, 8), rngs=nnx.Rngs(0))
            >>> model(jnp.ones((5, 8, 8, 1))).shape
            (5, 10)
        """
        widths = to_sizes("widths", widths)
        check_count(in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        if not widths or min(widths) < 1:
            raise ValueError(
                "widths must name at least one convolution by a positive integer, "
                f"got {brief(widths)}"
            )
        initial = {"kernel_init": kernel_init, "bias_init": bias_init}
        self.blocks = nnx.List(
            [
                Block(
                    convolution(inputs, outputs, **initial),
                    outputs,
                    activation=activation,
                    normalization=normalization,
                    dropout_rate=dropout_rate,
                    wrapper=wrapper,
                    param_dtype=param_dtype,
                    rngs=rngs,
                )
                for inputs, outputs in zip((in_channels, *widths[:-1]), widths, strict=True)
            ]
        )
        self.readout = linear(widths[-1], num_classes, **initial)(
            param_dtype=param_dtype, rngs=rngs
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs, shape (N, num_classes), for images of shape (N, H, W, C)."""
        check_real_array("x", x, rank=4, features=self.in_channels)
        for block in self.blocks:
            x = max_pool(block(x))
        return self.readout(x.mean(axis=(1, 2)))
