"""VGG-16 with batch normalization and dropout, the CIFAR-10 network of Wilson et al.

    64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M, 512, 10

Numbers are the channels of 3 x 3 convolutions, M halves the image by a 2 x 2 maximum, the last two
are linear. Every layer but the last is followed by normalization and activation. Dropout of rate
0.3 follows the first convolution, 0.4 every other one that no M follows, and 0.5 stands before each
of the two linear layers.

Wilson et al. (2017), section 4 and appendix D, https://arxiv.org/abs/1705.08292, who took the
network from the Torch model vgg_bn_drop of Zagoruyko's cifar.torch. There the kernels are drawn
with variance 2 / fan_out and batch normalization has epsilon 1e-3; the linear layers are drawn by
the same initializer here, which the paper leaves open.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn import initializers
from jax.typing import DTypeLike

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_count, check_real_array, to_doubles
from jaxopt_course.nn._models._blocks import (
    Activation,
    Block,
    Initializer,
    Normalization,
    Wrapper,
    convolution,
    linear,
)
from jaxopt_course.nn._models._convnet import max_pool
from jaxopt_course.nn._normalization import BatchNorm

# Channels of each convolution in units of the first one's, a tuple a resolution.
STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))

kaiming_normal_fan_out = initializers.variance_scaling(2.0, "fan_out", "normal")
batch_norm = functools.partial(BatchNorm, epsilon=1e-3)


class VGG16(nnx.Module):
    """The VGG-16 network, for small images.

    Attributes:
        stages: The convolutional blocks, a list a resolution.
        head: Linear block with dropout.
        readout: Last linear layer.
        input_dropout: Dropout before the head.
    """

    def __init__(
        self,
        in_channels: int = 3,
        num_classes: int = 10,
        *,
        width: int = 64,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = kaiming_normal_fan_out,
        bias_init: Initializer = initializers.zeros,
        normalization: Normalization | None = batch_norm,
        dropout_rates: tuple[float, float, float] = (0.3, 0.4, 0.5),
        wrapper: Wrapper | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the network.

        Args:
            in_channels: Channels of the image.
            num_classes: Size of the output.
            width: Channels of the first convolution; the published network has 64.
            activation: After each layer but the last.
            kernel_init: Initializer of the weights.
            bias_init: Initializer of the biases.
            normalization: Factory such as `BatchNorm`, or None.
            dropout_rates: After the first convolution, after the others, around the head.
            wrapper: Factory of another parametrization such as `WeightNorm`, or None.
            param_dtype: Dtype of the parameters.
            rngs: Random streams `params` and `dropout`.

        Example:
            >>> model = VGG16(1, width=2, rngs=nnx.Rngs(0))
            >>> model(jnp.ones((5, 8, 8, 1))).shape
            (5, 10)
        """
        check_count(width=width, in_channels=in_channels, num_classes=num_classes)
        self.in_channels = in_channels
        rates = to_doubles("dropout_rates", dropout_rates)
        if rates.shape != (3,) or not np.all((rates >= 0) & (rates < 1)):
            raise ValueError(
                f"dropout_rates must be three numbers in [0, 1), got {brief(dropout_rates)}"
            )
        first_rate, convolution_rate, head_rate = dropout_rates
        initial = {"kernel_init": kernel_init, "bias_init": bias_init}
        block_options = {
            "activation": activation,
            "normalization": normalization,
            "wrapper": wrapper,
            "param_dtype": param_dtype,
            "rngs": rngs,
        }
        stages = []
        channels = in_channels
        for stage, multiples in enumerate(STAGES):
            blocks = []
            for index, multiple in enumerate(multiples):
                before_pool = index == len(multiples) - 1
                first = stage == 0 and index == 0
                rate = 0.0 if before_pool else first_rate if first else convolution_rate
                layer = convolution(channels, multiple * width, **initial)
                channels = multiple * width
                blocks.append(Block(layer, channels, dropout_rate=rate, **block_options))
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)
        self.input_dropout = nnx.Dropout(head_rate, rngs=rngs) if head_rate > 0 else None
        self.head = Block(
            linear(channels, channels, **initial),
            channels,
            dropout_rate=head_rate,
            **block_options,
        )
        self.readout = linear(channels, num_classes, **initial)(param_dtype=param_dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs, shape (N, num_classes), for images of shape (N, H, W, C).

        Images of 32 x 32 reach the head as one position, as published. What is left of larger ones
        is averaged.
        """
        check_real_array("x", x, rank=4, features=self.in_channels)
        for stage in self.stages:
            for block in stage:
                x = block(x)
            x = max_pool(x)
        x = x.mean(axis=(1, 2))
        x = x if self.input_dropout is None else self.input_dropout(x)
        return self.readout(self.head(x))
