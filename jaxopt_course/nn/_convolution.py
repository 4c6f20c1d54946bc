r"""Convolution as one matrix product, for backends whose own convolution is slow.

    y[n, i, j, o] = sum_{a, b, c} x[n, s i + d a, s j + d b, c] w[a, b, c, o]

With the shifted copies of the padded image side by side (`im2col`) the sum over (a, b, c) is one
matrix product. That is the same mathematics in another order of additions, so the result agrees
with `jax.lax.conv_general_dilated` to rounding, and it is made of slices, pads and a product alone:
derivatives of every order, forward and reverse, exist and are as fast.

On CPU, XLA runs a convolution inside `jax.lax.scan` or any other loop 4 to 100 times slower than
outside, where it can use its multithreaded kernels (google/jax issue 12868); matrix products do not
suffer. `benchmarks/training.py` measures both. The copies cost kernel-size times the memory of the
input, which is why accelerators keep their own convolution.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_count, check_real_array, to_sizes

CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
    lhs: jax.Array, rhs: jax.Array, *args: Any, platform: str | None = None, **kwargs: Any
) -> jax.Array:
    """The convolution, in the form that is faster on the backend.

    A drop-in for `jax.lax.conv_general_dilated`, made for `flax.nnx.Conv(conv_general_dilated=)`.

    Args:
        lhs: Images, as for `jax.lax.conv_general_dilated`.
        rhs: Kernel.
        *args: Further arguments of `jax.lax.conv_general_dilated`.
        platform: "cpu" takes the matrix product, anything else XLA's convolution; None asks JAX
            for its default backend when the function is traced.
        **kwargs: Further arguments of `jax.lax.conv_general_dilated`.

    Returns:
        The convolution.

    Example:
        >>> image, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))
        >>> numbers = ("NHWC", "HWIO", "NHWC")
        >>> conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=numbers).shape
        (1, 4, 4, 2)
    """
    if (platform or jax.default_backend()) == "cpu":
        return im2col_conv_general_dilated(lhs, rhs, *args, **kwargs)
    return lax.conv_general_dilated(lhs, rhs, *args, **kwargs)


def im2col_conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    **kwargs: Any,
) -> jax.Array:
    """The convolution of images as one matrix product over shifted copies.

    What the matrix form does not cover (other layouts than channels last, groups, dilated images)
    goes to `jax.lax.conv_general_dilated`.

    Args:
        lhs: Images, shape (N, H, W, C).
        rhs: Kernel, shape (K, L, C, O).
        window_strides: Strides along H and W.
        padding: "SAME", "VALID" or the zeros before and after, for H and W.
        lhs_dilation: Dilation of the images.
        rhs_dilation: Dilation of the kernel.
        dimension_numbers: As for `jax.lax.conv_general_dilated`.
        feature_group_count: Number of groups.
        **kwargs: `precision` and `preferred_element_type` go to the product.

    Returns:
        The convolution, shape (N, H', W', O).

    Example:
        >>> image, kernel = jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 2))
        >>> y = im2col_conv_general_dilated(
        ...     image, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ... )
        >>> y.shape, float(y[0, 0, 0, 0])
        ((1, 2, 2, 2), 9.0)
    """
    check_real_array("lhs", lhs)
    check_real_array("rhs", rhs)
    if any(stride < 1 for stride in to_sizes("window_strides", window_strides)):
        raise ValueError(f"window_strides must be positive, got {brief(window_strides)}")
    check_count(feature_group_count=feature_group_count)
    _check_padding(padding, len(lhs.shape) - 2)
    if len(window_strides) != len(lhs.shape) - 2:
        raise ValueError(f"window_strides must be one an axis of lhs, got {brief(window_strides)}")
    # What the form does not cover is left to the backend.
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    dilation = tuple(rhs_dilation or (1,) * (lhs.ndim - 2))
    channels_last = lax.conv_dimension_numbers(lhs.shape, rhs.shape, CHANNELS_LAST)
    covered = lhs.ndim == 4 and numbers == channels_last and feature_group_count == 1
    covered = covered and all(d == 1 for d in lhs_dilation or ())
    if not covered or kwargs.get("batch_group_count", 1) != 1:
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count=feature_group_count,
            **kwargs,
        )
    kernel_height, kernel_width, channels, outputs = rhs.shape
    if lhs.shape[-1] != channels:
        raise ValueError(f"rhs has {channels} input channels, but lhs has {lhs.shape[-1]}")
    # The images with their padding, and the size of the result.
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, rhs.shape[:2], strict=True))
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], reach, window_strides, padding)
    padded = jnp.pad(lhs, ((0, 0), *map(tuple, padding), (0, 0)))
    height, width = (
        (size - extent) // stride + 1
        for size, extent, stride in zip(padded.shape[1:3], reach, window_strides, strict=True)
    )

    # A copy for every place of the kernel, all side by side as the columns of a matrix.
    def shifted(row: int, column: int) -> jax.Array:
        top, left = row * dilation[0], column * dilation[1]
        bottom = top + window_strides[0] * (height - 1) + 1
        right = left + window_strides[1] * (width - 1) + 1
        return padded[:, top : bottom : window_strides[0], left : right : window_strides[1]]

    copies = [shifted(a, b) for a in range(kernel_height) for b in range(kernel_width)]
    columns = copies[0] if len(copies) == 1 else jnp.concatenate(copies, axis=-1)
    # Two flat axes: XLA's CPU backend multiplies matrices faster than four-axis arrays.
    product = jnp.matmul(
        columns.reshape(-1, columns.shape[-1]),
        rhs.reshape(-1, outputs),
        precision=kwargs.get("precision"),
        preferred_element_type=kwargs.get("preferred_element_type"),
    )
    return product.reshape(lhs.shape[0], height, width, outputs)


def _check_padding(padding: Any, rank: int) -> None:
    """Raise unless the padding is one of lax's names or pairs of integers."""
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID", "SAME_LOWER"):
            raise ValueError(
                f"padding must be SAME, SAME_LOWER, VALID or pairs, got {brief(padding)}"
            )
        return
    try:
        pairs = [to_sizes("padding", pair) for pair in padding]
    except TypeError as error:
        raise TypeError(
            f"padding must be a name or pairs of integers, got {brief(padding)}"
        ) from error
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"padding must be pairs of integers, got {brief(padding)}")
