r"""Initial weights: functions of key, shape and dtype, and one method that looks at data.

    zeros                                      w = 0
    scaled_normal      w ~ N(0, stddev^2)
    xavier             Var w = gain^2 / ((fan_in + fan_out) / 2)
    kaiming            Var w = gain^2 / fan_in   or   gain^2 / fan_out
    lsuv               orthogonal w, then scaled such that each layer's outputs have variance 1

`gain` is the activation's (see `activations.gain`); fan_in and fan_out are the numbers of inputs
of an output and of outputs of an input, the positions of a convolution's window included. The
functions take `(key, shape, dtype)` as those of `jax.nn.initializers`, so that they go into any
flax layer.

Glorot and Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.html, equations 12 and 16;
He et al. (2015), https://arxiv.org/abs/1502.01852, equations 10 and 14;
Mishkin and Matas (2016), https://arxiv.org/abs/1511.06422, algorithm 1 (LSUV).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn.initializers import Initializer
from jax.typing import DTypeLike

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_callable,
    check_inexact_dtype,
    check_key,
    check_non_negative,
    check_one_of,
    to_sizes,
)
from jaxopt_course._reading import Reading, number, readable
from jaxopt_course._streams import stream
from jaxopt_course.nn._activations import Activation, check_activation, gain
from jaxopt_course.nn._arguments import check_axes, check_module
from jaxopt_course.nn._normalization._statistics import moments

Axes = int | Sequence[int]


def zeros(
    key: jax.Array, shape: Sequence[int], dtype: DTypeLike | None = None, out_sharding: Any = None
) -> jax.Array:
    """Weights of zero. All units of a layer that starts so stay equal under training.

    Args:
        key: Not used.
        shape: Shape of the weights.
        dtype: Their dtype; None for the default float.
        out_sharding: Their sharding.

    Returns:
        The weights.

    Example:
        >>> print(zeros(jax.random.key(0), (2,)))
        [0. 0.]
    """
    _check_shape(shape)
    check_inexact_dtype(dtype=dtype, optional=True)
    return jax.nn.initializers.zeros(key, shape, dtype, out_sharding)


def scaled_normal(stddev: float) -> Initializer:
    """Weights from a normal distribution whose width ignores the shape.

    Too small a width makes signals vanish with depth, too large a one makes them explode (or
    saturate).

    Args:
        stddev: Standard deviation.

    Returns:
        An initializer.

    Raises:
        ValueError: If `stddev` is negative.

    Example:
        >>> scaled_normal(0.01)(jax.random.key(0), (3, 2)).shape
        (3, 2)
    """
    check_non_negative(stddev=stddev)
    return _in_float32(jax.nn.initializers.normal(stddev))


def xavier_uniform(
    *,
    activation: str | Activation = "identity",
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
) -> Initializer:
    """Uniform weights with a variance between what outputs and what gradients ask for.

        w ~ U[-b, b],    b = gain sqrt(6 / (fan_in + fan_out))

    Args:
        activation: Name or function whose gain to apply; the paper's formula has gain 1.
        in_axis: Axis or axes of the inputs in the weights' shape.
        out_axis: Axis or axes of the outputs. The axes that are neither are the window's.
        batch_axis: Axis or axes that index independent sets of weights.

    Returns:
        An initializer.

    Example:
        >>> weights = xavier_uniform()(jax.random.key(0), (3, 3, 16, 32))  # a convolution
        >>> print(jnp.abs(weights).max() <= (6 / (9 * 16 + 9 * 32)) ** 0.5)
        True

    Reference:
        Glorot and Bengio (2010), equation 16.
    """
    return _scaled(activation, "forward", "fan_avg", "uniform", in_axis, out_axis, batch_axis)


def xavier_normal(
    *,
    activation: str | Activation = "identity",
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
) -> Initializer:
    """Normal weights of the variance of `xavier_uniform`.

    (`jax.nn.initializers.glorot_normal` cuts the normal off at two standard deviations.)

    Args:
        activation: As for `xavier_uniform`.
        in_axis: As for `xavier_uniform`.
        out_axis: As for `xavier_uniform`.
        batch_axis: As for `xavier_uniform`.

    Returns:
        An initializer.

    Example:
        >>> xavier_normal()(jax.random.key(0), (3, 2)).shape
        (3, 2)

    Reference:
        Glorot and Bengio (2010), equation 12.
    """
    return _scaled(activation, "forward", "fan_avg", "normal", in_axis, out_axis, batch_axis)


def kaiming_uniform(
    *,
    activation: str | Activation = "relu",
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
) -> Initializer:
    """Uniform weights that keep the size of outputs, or that of gradients.

        w ~ U[-b, b],    b = gain sqrt(3 / fan)

    Args:
        activation: Name or function of the activation between the layers.
        mode: `"fan_in"` keeps the second moment of outputs (with the activation's forward gain),
            `"fan_out"` that of gradients (with its backward gain; for ReLU the two are equal).
        in_axis: As for `xavier_uniform`.
        out_axis: As for `xavier_uniform`.
        batch_axis: As for `xavier_uniform`.

    Returns:
        An initializer.

    Raises:
        ValueError: If the mode or the activation is unknown.

    Example:
        >>> kaiming_uniform(mode="fan_out")(jax.random.key(0), (3, 2)).shape
        (3, 2)

    Reference:
        He et al. (2015), equations 10 and 14.
    """
    return _kaiming("uniform", activation, mode, in_axis, out_axis, batch_axis)


def kaiming_normal(
    *,
    activation: str | Activation = "relu",
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
) -> Initializer:
    """Normal weights of the variance of `kaiming_uniform`: `gain^2 / fan`.

    (`jax.nn.initializers.he_normal` cuts the normal off at two standard deviations.)

    Args:
        activation: As for `kaiming_uniform`.
        mode: As for `kaiming_uniform`.
        in_axis: As for `xavier_uniform`.
        out_axis: As for `xavier_uniform`.
        batch_axis: As for `xavier_uniform`.

    Returns:
        An initializer.

    Raises:
        ValueError: If the mode or the activation is unknown.

    Example:
        >>> kaiming_normal(activation="tanh")(jax.random.key(0), (3, 2)).shape
        (3, 2)

    Reference:
        He et al. (2015), equations 10 and 14.
    """
    return _kaiming("normal", activation, mode, in_axis, out_axis, batch_axis)


@readable
class LayerStart(NamedTuple):
    """What `lsuv` made of one layer.

    Attributes:
        path: Where the layer is in the model, such as `"blocks/0/linear"`.
        mean: Largest absolute mean over the batch among its outputs, afterwards.
        variance: Variance of its outputs, afterwards.
    """

    path: str
    mean: jax.Array
    variance: jax.Array

    def _reading(self) -> Reading | None:
        """Mean and variance of the layer's outputs."""
        if np.ndim(self.mean):
            return None
        told = f"largest mean {number(self.mean)}, variance {number(self.variance)}"
        return Reading(f"{self.path or 'the model'}: {told}", [])


def lsuv(
    model: nnx.Module,
    *inputs: Any,
    key: jax.Array | None,
    layer_filter: Callable[[nnx.Module], bool] | None = None,
) -> list[LayerStart]:
    """Scale each layer, in the order the data takes, to outputs of mean 0 and variance 1.

    One pass through the model: each layer with a kernel gets an orthogonal one and no bias when
    the batch reaches it, then the factor `1 / std` on the kernel and the bias `-mean / std`, and
    passes on what it computes then. Outputs are linear in the kernel, so that what the paper
    iterates is exact at once. A layer that is called several times is set at its first call.

    Args:
        model: Module to initialize, in place; the features of its layers' outputs are on the last
            axis. A `WeightNorm` is not linear in its kernel: see `data_dependent_init`.
        *inputs: One batch: what to call the model with.
        key: Typed key of the orthogonal kernels; None to scale the kernels that are there.
        layer_filter: Which modules to take, a function of module to bool; None for all that have
            a parameter `kernel`.

    Returns:
        What became of each layer, in the order of the calls. A layer without bias keeps a mean.

    Raises:
        ValueError: If the model calls no such layer.

    Example:
        >>> layer = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
        >>> x = 5 + jax.random.normal(jax.random.key(0), (100, 4))
        >>> (start,) = lsuv(layer, x, key=jax.random.key(1))
        >>> round(float(start.variance), 4), abs(float(layer(x).mean())) < 1e-5
        (1.0, True)

    Reference:
        Mishkin and Matas (2016), algorithm 1.
    """
    check_module(model)
    check_key(key=key, optional=True)
    check_callable(layer_filter=layer_filter, optional=True)
    wanted = layer_filter or (lambda module: isinstance(getattr(module, "kernel", None), nnx.Param))
    starts: list[LayerStart] = []
    own = None if key is None else stream(key, "lsuv")

    def initialize_and_call(layer, path, *args, **kwargs):
        bias = getattr(layer, "bias", None)
        if own is not None:
            shape, dtype = layer.kernel.shape, layer.kernel.dtype
            draw = _in_float32(jax.nn.initializers.orthogonal())
            layer.kernel.set_value(draw(jax.random.fold_in(own, len(starts)), shape, dtype))
        if bias is not None:
            bias.set_value(jnp.zeros_like(bias[...]))
        mean, variance = _output_moments(layer(*args, **kwargs), centred=bias is not None)
        varies = variance > 0
        factor = jnp.where(varies, jax.lax.rsqrt(jnp.where(varies, variance, 1)), 1)
        layer.kernel.set_value((layer.kernel[...] * factor).astype(layer.kernel.dtype))
        if bias is not None:
            bias.set_value((-mean * factor).reshape(bias.shape).astype(bias.dtype))
        output = layer(*args, **kwargs)
        mean, variance = _output_moments(output, centred=bias is not None)
        starts.append(LayerStart(path, jnp.max(jnp.abs(mean)), variance))
        return output

    observed = []
    try:
        for path, module in nnx.iter_modules(model):
            if wanted(module):
                observed.append((module, type(module)))
                _replace_next_call(module, "/".join(map(str, path)), initialize_and_call)
        model(*inputs)
    finally:
        for module, kind in observed:
            object.__setattr__(module, "__class__", kind)
    if not starts:
        raise ValueError("model must call at least one layer with a kernel, called none")
    return starts


def _output_moments(output, centred):
    """Mean of each output over the batch, and variance about it (or about the common mean)."""
    batch_axes = tuple(range(output.ndim - 1))
    mean = moments(output, batch_axes)
    if centred:
        return mean.mean, jnp.mean(mean.variance)
    return mean.mean, jnp.squeeze(moments(output, range(output.ndim)).variance)


def _replace_next_call(module, path, call):
    """Make the next call of `module` be `call(module, path, ...)`, and later ones its own."""
    kind = type(module)

    # Calls look at the class, not at the instance, hence a class for this one instance.
    class Observed(kind):
        def __call__(self, *args, **kwargs):
            object.__setattr__(self, "__class__", kind)
            return call(self, path, *args, **kwargs)

    object.__setattr__(module, "__class__", Observed)


def _kaiming(distribution, activation, mode, in_axis, out_axis, batch_axis):
    check_one_of(("fan_in", "fan_out"), mode=mode)
    direction = "forward" if mode == "fan_in" else "backward"
    return _scaled(activation, direction, mode, distribution, in_axis, out_axis, batch_axis)


def _scaled(activation, direction, mode, distribution, in_axis, out_axis, batch_axis):
    """An initializer whose variance is the squared gain of an activation over the fan."""
    check_activation(activation=activation)
    check_axes(in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
    factor = gain(activation, direction=direction)
    scaled = jax.nn.initializers.variance_scaling(
        factor**2, mode, distribution, in_axis, out_axis, batch_axis
    )

    def draw(key, shape, *args):
        try:
            return scaled(key, shape, *args)
        except (IndexError, ZeroDivisionError) as error:
            raise ValueError(f"in_axis, out_axis and batch_axis must fit shape {shape}") from error

    return _in_float32(draw)


def _check_shape(shape):
    """Raise unless `shape` is a sequence of sizes."""
    if any(size < 0 for size in to_sizes("shape", shape)):
        raise ValueError(f"shape must not hold negative sizes, got {brief(shape)}")


def _in_float32(initializer):
    """Round weights of half precision once: a small variance is subnormal in float16."""

    def initialize(key, shape, dtype=None, out_sharding=None):
        _check_shape(shape)
        check_inexact_dtype(dtype=dtype, optional=True)
        dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
        wide = jnp.promote_types(dtype, jnp.float32)
        if 0 in tuple(shape):  # nothing to draw, and fans of 0 to divide by
            return jnp.zeros(shape, dtype, out_sharding=out_sharding)
        if out_sharding is None:
            return initializer(key, shape, wide).astype(dtype)
        return initializer(key, shape, wide, out_sharding).astype(dtype)

    return initialize
