import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxopt_course.nn import _convolution as convolution

NUMBERS = ("NHWC", "HWIO", "NHWC")
# Kernel size, strides, padding, kernel dilation.
GEOMETRIES = [
    ((3, 3), (1, 1), [(1, 1), (1, 1)], (1, 1)),
    ((3, 3), (2, 2), [(1, 1), (1, 1)], (1, 1)),
    ((1, 1), (2, 2), [(0, 0), (0, 0)], (1, 1)),
    ((3, 2), (1, 2), "SAME", (1, 1)),
    ((2, 3), (2, 1), "VALID", (1, 1)),
    ((3, 3), (1, 2), [(2, 0), (0, 3)], (2, 1)),
]


def convolve(function, x, w, geometry):
    _, strides, padding, dilation = geometry
    return function(x, w, strides, padding, rhs_dilation=dilation, dimension_numbers=NUMBERS)


def arrays(geometry, dtype=jnp.float32):
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3), dtype)
    w = jax.random.normal(jax.random.key(1), (*geometry[0], 3, 4), dtype)
    return x, w


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_im2col_equals_lax_with_first_and_second_derivatives(x64, geometry):
    x, w = arrays(geometry, jnp.float64)
    dx, dw = arrays(geometry, jnp.float64)[0] ** 2, jnp.sin(w)

    def derivatives(function):
        def loss(x, w):
            return jnp.sum(jnp.sin(convolve(function, x, w, geometry)))

        gradient = jax.grad(loss, (0, 1))
        # Forward over reverse: the Hessian-vector product that `saddle` takes.
        return convolve(function, x, w, geometry), *jax.jvp(gradient, (x, w), (dx, dw))

    ours = jax.jit(lambda: derivatives(convolution.im2col_conv_general_dilated))()
    theirs = jax.jit(lambda: derivatives(lax.conv_general_dilated))()
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_im2col_hands_what_it_does_not_cover_to_lax():
    x, w = arrays(GEOMETRIES[0])
    grouped = w[:, :, :1, :3]
    options = {"dimension_numbers": NUMBERS, "feature_group_count": 3}
    np.testing.assert_array_equal(
        convolution.im2col_conv_general_dilated(x, grouped, (1, 1), "SAME", **options),
        lax.conv_general_dilated(x, grouped, (1, 1), "SAME", **options),
    )
    channels_first = jnp.moveaxis(x, -1, 1)
    options = {"dimension_numbers": ("NCHW", "HWIO", "NCHW")}
    np.testing.assert_array_equal(
        convolution.im2col_conv_general_dilated(channels_first, w, (1, 1), "SAME", **options),
        lax.conv_general_dilated(channels_first, w, (1, 1), "SAME", **options),
    )


def test_platform_picks_the_form():
    x, w = arrays(GEOMETRIES[0])

    def primitives(platform):
        def function(x, w):
            return convolution.conv_general_dilated(
                x, w, (1, 1), "SAME", dimension_numbers=NUMBERS, platform=platform
            )

        return str(jax.make_jaxpr(function)(x, w))

    assert "conv_general_dilated" not in primitives("cpu")
    assert "conv_general_dilated" in primitives("gpu")
    assert ("conv_general_dilated" in primitives(None)) == (jax.default_backend() != "cpu")


def test_im2col_names_a_channel_mismatch():
    x, w = arrays(GEOMETRIES[0])
    with pytest.raises(ValueError, match="rhs has 2 input channels, but lhs has 3"):
        convolution.im2col_conv_general_dilated(
            x, w[:, :, :2], (1, 1), "SAME", dimension_numbers=NUMBERS
        )
