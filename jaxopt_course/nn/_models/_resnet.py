"""Residual networks for CIFAR.

Depth 6 n + 2: a 3 x 3 convolution, three stages of n residual blocks of two 3 x 3 convolutions each
with w, 2 w, 4 w channels (w = 16), the mean over the image and a linear readout. The second and
third stage halve the image in their first block, whose shortcut is a 1 x 1 convolution with its own
normalization; all other shortcuts are the identity.

With batch normalization its scales and biases number 448 n + 224 at w = 16: 1,120, 8,288 and 64,736
for ResNet-14, -110 and -866, the counts of Frankle et al.

He et al. (2016), section 4.2, https://arxiv.org/abs/1512.03385; Frankle, Schwab & Morcos (2021),
https://arxiv.org/abs/2003.00152.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn import initializers
from jax.typing import DTypeLike

from jaxopt_course._checks import check_count, check_real_array
from jaxopt_course.nn._activations import identity
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
from jaxopt_course.nn._normalization import BatchNorm


class ResidualBlock(nnx.Module):
    """Two convolutions and the way around them.

    Attributes:
        first: Convolution, normalization, activation.
        second: Convolution, normalization.
        shortcut: 1 x 1 convolution and normalization where the shape changes, else None.
        activation: Applied to the sum.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        stride: int,
        *,
        activation: Activation,
        initial: dict[str, Any],
        **block_options: Any,
    ) -> None:
        """Build the block; `initial` goes to `convolution`, the options to `Block`."""

        def block(inputs: int, activation: Activation, **geometry: int) -> Block:
            layer = convolution(inputs, out_features, **geometry, **initial)
            return Block(layer, out_features, activation=activation, **block_options)

        self.first = block(in_features, activation, stride=stride)
        self.second = block(out_features, identity)
        changes = stride != 1 or in_features != out_features
        self.shortcut = block(in_features, identity, size=1, stride=stride) if changes else None
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply the block to images (N, H, W, C)."""
        around = x if self.shortcut is None else self.shortcut(x)
        return self.activation(self.second(self.first(x)) + around)


class ResNet(nnx.Module):
    """The residual network for CIFAR, of depth 6 n + 2.

    Attributes:
        stem: First convolution.
        blocks: The 3 n residual blocks in order.
        readout: Linear layer on the mean over the image's positions.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        width: int = 16,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = kaiming_normal,
        bias_init: Initializer = initializers.zeros,
        normalization: Normalization | None = BatchNorm,
        wrapper: Wrapper | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the network.

        Args:
            depth: Number of layers with weights, 6 n + 2 with n >= 1: 8, 14, 20, ..., 110, 866.
            in_channels: Channels of the image.
            num_classes: Size of the output.
            width: Channels of the first stage.
            activation: After each convolution and after each sum.
            kernel_init: Initializer of the weights.
            bias_init: Initializer of the biases.
            normalization: Factory such as `BatchNorm`, or None.
            wrapper: Factory of another parametrization such as `WeightNorm`, or None.
            param_dtype: Dtype of the parameters.
            rngs: Random streams.

        Raises:
            ValueError: If `depth` is not 6 n + 2.

        Example:
            >>> model = ResNet(8, 1, width=4, rngs=nnx.Rngs(0))
            >>> model(jnp.ones((5, 8, 8, 1))).shape
            (5, 10)
        """
        check_count(depth=depth, width=width, in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6 n + 2 with n >= 1 (8, 14, 20, ...), got {depth}")
        initial = {"kernel_init": kernel_init, "bias_init": bias_init}
        block_options = {
            "activation": activation,
            "normalization": normalization,
            "wrapper": wrapper,
            "param_dtype": param_dtype,
            "rngs": rngs,
        }
        self.stem = Block(convolution(in_channels, width, **initial), width, **block_options)
        blocks = []
        channels = width
        for stage in range(3):
            for index in range((depth - 2) // 6):
                outputs = width * 2**stage
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(
                    ResidualBlock(channels, outputs, stride, initial=initial, **block_options)
                )
                channels = outputs
        self.blocks = nnx.List(blocks)
        self.readout = linear(channels, num_classes, **initial)(param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs, shape (N, num_classes), for images of shape (N, H, W, C)."""
        check_real_array("x", x, rank=4, features=self.in_channels)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.readout(x.mean(axis=(1, 2)))
