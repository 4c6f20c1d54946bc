"""Multilayer perceptron."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn import initializers
from jax.typing import DTypeLike

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_flag, check_real_array, to_sizes
from jaxopt_course.nn._activations import identity
from jaxopt_course.nn._models._blocks import (
    Activation,
    Block,
    Initializer,
    Normalization,
    Wrapper,
    kaiming_normal,
    linear,
)


class MLP(nnx.Module):
    """A fully connected network: linear, normalization, activation, dropout; the last layer linear.

    Attributes:
        blocks: The layers in order, so that a caller can walk through them and look at each
            `block(x)`.
    """

    def __init__(
        self,
        features: Sequence[int],
        *,
        activation: Activation = jax.nn.relu,
        kernel_init: Initializer = kaiming_normal,
        bias_init: Initializer = initializers.zeros,
        normalization: Normalization | None = None,
        normalize_output: bool = False,
        dropout_rate: float = 0.0,
        wrapper: Wrapper | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the network.

        Args:
            features: Sizes of input, hidden layers and output; at least two.
            activation: After each hidden layer.
            kernel_init: Initializer of the weights.
            bias_init: Initializer of the biases.
            normalization: Factory such as `BatchNorm`, or None.
            normalize_output: Whether the output is normalized too (the whole network is then
                invariant to the scale of every weight matrix).
            dropout_rate: After each hidden layer.
            wrapper: Factory of another parametrization such as `WeightNorm`, or None.
            param_dtype: Dtype of the parameters.
            rngs: Random streams: `params`, and `dropout` if there is any.

        Raises:
            ValueError: If `features` has fewer than two sizes or one below 1.

        Example:
            >>> model = MLP((64, 100, 10), rngs=nnx.Rngs(0))
            >>> model(jnp.ones((5, 8, 8))).shape
            (5, 10)
        """
        check_flag(normalize_output=normalize_output)
        features = to_sizes("features", features)
        if len(features) < 2 or min(features) < 1:
            raise ValueError(
                f"features must be the positive sizes of input, hidden layers and output, "
                f"got {brief(features)}"
            )
        self.num_inputs = features[0]
        blocks = []
        for index, (inputs, outputs) in enumerate(itertools.pairwise(features)):
            last = index == len(features) - 2
            blocks.append(
                Block(
                    linear(inputs, outputs, kernel_init=kernel_init, bias_init=bias_init),
                    outputs,
                    activation=identity if last else activation,
                    normalization=None if last and not normalize_output else normalization,
                    dropout_rate=0.0 if last else dropout_rate,
                    wrapper=wrapper,
                    param_dtype=param_dtype,
                    rngs=rngs,
                )
            )
        self.blocks = nnx.List(blocks)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return the outputs, shape (N, features[-1]); each input is flattened."""
        check_real_array("x", x)
        if x.ndim < 1 or math.prod(x.shape[1:]) != self.num_inputs:
            raise ValueError(f"x must hold inputs of size {self.num_inputs}, got shape {x.shape}")
        x = x.reshape(x.shape[0], self.num_inputs)
        for block in self.blocks:
            x = block(x)
        return x
