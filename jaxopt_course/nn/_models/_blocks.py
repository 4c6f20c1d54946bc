"""The layer sequence that every network here repeats, and what its arguments may be.

    block(x) = dropout(activation(normalization(layer(x))))

`activation`, `kernel_init` and `normalization` are arguments of every model:

- an activation is a function of an array;
- an initializer has the `(key, shape, dtype)` convention of `jax.nn.initializers`;
- a normalization is called as `normalization(num_features, param_dtype=..., rngs=rngs)` and gives
  a module: `BatchNorm`, `LayerNorm`, `functools.partial(GroupNorm, num_groups=4)`, flax's or those
  of `nn.normalization`; None leaves it out;
- a wrapper is called as `wrapper(layer, rngs=rngs)` and gives the layer in another
  parametrization: `WeightNorm`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn import initializers
from jax.typing import DTypeLike

from jaxopt_course._checks import check_callable, check_count, check_fraction, check_inexact_dtype
from jaxopt_course._refused import check_truncated
from jaxopt_course.nn._arguments import check_rngs
from jaxopt_course.nn._convolution import conv_general_dilated

Activation = Callable[[jax.Array], jax.Array]
Initializer = Callable[..., jax.Array]
Normalization = Callable[..., Callable[[jax.Array], jax.Array]]
Wrapper = Callable[..., Callable[[jax.Array], jax.Array]]

# He et al. (2015): variance 2 / fan_in keeps the second moment of ReLU activations.
_truncated = initializers.he_normal()


def kaiming_normal(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> Any:
    """Draw weights by `jax.nn.initializers.he_normal`, for which a TPU has no float64."""
    check_truncated("param_dtype", jnp.result_type(float) if dtype is None else dtype)
    return _truncated(key, shape, dtype, out_sharding)


class Block(nnx.Module):
    """A layer, its normalization, its activation and dropout.

    Attributes:
        layer: Linear map or convolution, wrapped where a wrapper was given.
        normalization: Module, or None.
        activation: Function of an array.
        dropout: Module, or None where the rate is 0.
    """

    def __init__(
        self,
        layer: Callable[..., Any],
        num_features: int,
        *,
        activation: Activation,
        normalization: Normalization | None,
        dropout_rate: float = 0.0,
        wrapper: Wrapper | None = None,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        """Build the block.

        Args:
            layer: Called as `layer(use_bias=..., param_dtype=..., rngs=rngs)`. It has a bias only
                without a normalization, which would subtract it or adds its own.
            num_features: Size of the layer's output along the last axis.
            activation: Function of an array.
            normalization: Factory of the normalization, or None.
            dropout_rate: Probability that an output is set to 0 in training.
            wrapper: Other parametrization of the layer, or None.
            param_dtype: Dtype of the parameters.
            rngs: Random streams.
        """
        check_rngs(rngs)
        check_callable(activation=activation)
        check_callable(normalization=normalization, wrapper=wrapper, optional=True)
        check_inexact_dtype(param_dtype=param_dtype)
        check_fraction(dropout_rate=dropout_rate)
        built = layer(use_bias=normalization is None, param_dtype=param_dtype, rngs=rngs)
        self.layer = built if wrapper is None else wrapper(built, rngs=rngs)
        self.normalization = (
            None
            if normalization is None
            else normalization(num_features, param_dtype=param_dtype, rngs=rngs)
        )
        self.activation = activation
        self.dropout = nnx.Dropout(dropout_rate, rngs=rngs) if dropout_rate > 0 else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply layer, normalization, activation, dropout."""
        x = self.layer(x)
        if self.normalization is not None:
            x = self.normalization(x)
        x = self.activation(x)
        return x if self.dropout is None else self.dropout(x)


def linear(in_features: int, out_features: int, **options: Any) -> Callable[..., nnx.Linear]:
    """Return the factory of a linear layer that `Block` takes."""
    check_count(in_features=in_features, out_features=out_features)
    check_callable(**options)
    return functools.partial(nnx.Linear, in_features, out_features, **options)


def convolution(
    in_features: int, out_features: int, *, size: int = 3, stride: int = 1, **options: Any
) -> Callable[..., nnx.Conv]:
    """Return the factory of a convolution that keeps the image's size at stride 1.

    The padding is `size // 2` on every side, as in PyTorch. XLA's "SAME" pads a strided
    convolution on the far side only and so looks at other pixels.
    """
    check_count(in_channels=in_features, width=out_features)
    check_callable(**options)
    return functools.partial(
        nnx.Conv,
        in_features,
        out_features,
        kernel_size=(size, size),
        strides=stride,
        padding=((size // 2, size // 2),) * 2,
        conv_general_dilated=conv_general_dilated,
        **options,
    )
