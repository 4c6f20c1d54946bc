import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxopt_course import nn

NAMES = list(nn.ACTIVATIONS)
FAR = np.array(
    [-1e38, -6e4, -1e3, -100, -40, -20, -11, -9, -6, 0, 6, 9, 11, 20, 40, 100, 6e4, 1e38]
)


def in_float64(function, x):
    """Value and slope of `function` at the numbers that `x` holds, to float64 rounding."""
    with jax.enable_x64(True):
        wide = jnp.asarray(np.asarray(x, np.float64))
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(jax.value_and_grad(function)))(wide))


def units_of_rounding(got, truth):
    """Largest error in units of the result's own rounding, underflow counted as rounding."""
    info = jnp.finfo(got.dtype)
    # XLA flushes float32's subnormals, not float16's.
    smallest = float(info.smallest_subnormal if got.dtype == jnp.float16 else info.tiny)
    error = np.abs(np.asarray(got, np.float64) - truth)
    return float(np.max(error / (float(info.eps) * np.abs(truth) + smallest)))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("name", NAMES)
def test_values_and_slopes_are_right_to_rounding_however_large_x_is(name, dtype):
    function = nn.activation(name)
    x = jnp.asarray(FAR[np.abs(FAR) < float(jnp.finfo(dtype).max)], dtype)
    value, slope = in_float64(function, x)
    got_value, got_slope = jax.jit(jax.vmap(jax.value_and_grad(function)))(x)
    assert got_value.dtype == got_slope.dtype == dtype
    # float32's exp and erfc themselves are some units off in their far tails, where they are
    # below 1e-30; half precision is rounded once, so 1 unit.
    within = 1.0 if dtype != jnp.float32 else 300.0
    assert units_of_rounding(got_value, value) <= within
    assert units_of_rounding(got_slope, slope) <= within


def test_slopes_are_finite_where_those_of_jax_are_not():
    x = jnp.array(3e4, jnp.float16)
    assert nn.gelu(x) == x
    ours, theirs = jax.grad(nn.gelu)(x), jax.grad(jax.nn.gelu)(x)
    assert ours == 1, f"slope of gelu at 3e4 in float16: ours {ours}, jax's {theirs}"


def test_slopes_of_saturated_functions_do_not_cancel_to_zero():
    at_11 = jnp.array(11.0, jnp.float16)
    for ours, theirs, truth in [
        (nn.sigmoid, jax.nn.sigmoid, math.exp(-11)),
        (lambda x: nn.tanh(x / 2), lambda x: jnp.tanh(x / 2), 2 * math.exp(-11)),
        (lambda x: nn.elu(-x), lambda x: jax.nn.elu(-x), -math.exp(-11)),
    ]:
        got, other = float(jax.grad(ours)(at_11)), float(jax.grad(theirs)(at_11))
        assert got == pytest.approx(truth, rel=5e-3), f"ours {got}, jax's {other}"
        assert abs(got - truth) <= abs(other - truth)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives_agree_with_jax_at_moderate_x(name, x64):
    ours = nn.activation(name)
    theirs = {"identity": lambda x: x, "tanh": jnp.tanh}.get(name) or getattr(jax.nn, name)
    x = jnp.linspace(-5.0, 5.0, 40)

    def derivatives(function):
        slope = jax.grad(function)
        return jax.jit(jax.vmap(lambda x: (function(x), slope(x), jax.grad(slope)(x))))(x)

    for got, other in zip(derivatives(ours), derivatives(theirs), strict=True):
        np.testing.assert_allclose(got, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_forward_over_reverse_gives_the_second_derivative_at_any_size(name):
    function = nn.activation(name)
    x = jnp.asarray(FAR, jnp.float32)

    def second_derivative(x):
        return jax.jvp(jax.grad(function), (x,), (jnp.ones_like(x),))[1]

    second = jax.jit(jax.vmap(second_derivative))(x)
    assert np.all(np.isfinite(second))
    assert np.all(np.asarray(second)[np.abs(FAR) >= 20] < 1e-7)


def test_values_agree_with_torch():
    x = np.linspace(-8, 8, 101, dtype=np.float32)
    at = torch.nn.functional
    for ours, theirs in [
        (nn.sigmoid, torch.sigmoid),
        (nn.tanh, torch.tanh),
        (nn.relu, at.relu),
        (nn.activation("leaky_relu", alpha=0.2), lambda x: at.leaky_relu(x, 0.2)),
        (nn.activation("elu", alpha=0.7), lambda x: at.elu(x, 0.7)),
        (nn.gelu, lambda x: at.gelu(x, approximate="tanh")),
        (nn.activation("gelu", approximate=False), at.gelu),
        (nn.silu, at.silu),
    ]:
        np.testing.assert_allclose(ours(x), theirs(torch.tensor(x)), rtol=2e-6, atol=2e-6)


def test_not_a_number_and_infinities_pass_through():
    x = jnp.array([jnp.nan, jnp.inf, -jnp.inf])
    limits = {
        "identity": [jnp.inf, -jnp.inf],
        "sigmoid": [1, 0],
        "tanh": [1, -1],
        "relu": [jnp.inf, 0],
        "leaky_relu": [jnp.inf, -jnp.inf],
        "elu": [jnp.inf, -1],
        "gelu": [jnp.inf, 0],
        "silu": [jnp.inf, 0],
    }
    for name in NAMES:
        np.testing.assert_array_equal(nn.activation(name)(x), [jnp.nan, *limits[name]], name)


@pytest.mark.parametrize("theta", [-0.5, 0.0, 1.5])
def test_elu_is_continuous_at_its_threshold_with_slopes_one_and_alpha(theta, x64):
    elu = nn.activation("elu", alpha=0.3, theta=theta)
    step = 1e-9
    assert elu(jnp.array(theta)) == theta
    assert elu(jnp.array(theta + step)) == pytest.approx(theta + step, abs=1e-15)
    assert jax.grad(elu)(theta + step) == 1
    assert jax.grad(elu)(theta - step) == pytest.approx(0.3, rel=1e-6)
    assert elu(jnp.array(-1e3)) == pytest.approx(theta - 0.3)


def test_elu_with_alpha_zero_is_relu():
    x = jnp.linspace(-3, 3, 13)
    np.testing.assert_array_equal(nn.elu(x, alpha=0.0), nn.relu(x))


def test_a_learnt_alpha_gets_its_gradient():
    x = jnp.array([-2.0, 3.0])
    gradient = jax.grad(lambda alpha: jnp.sum(nn.leaky_relu(x, alpha)))(jnp.full(2, 0.1))
    np.testing.assert_array_equal(gradient, [-2.0, 0.0])


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


# E[elu(z)^2] = 1/2 + E[(e^z - 1)^2; z < 0], by completing the square.
ELU_SECOND_MOMENT = 0.5 + math.exp(2) * phi(-2) - 2 * math.exp(0.5) * phi(-1) + 0.5
# E[elu'(z)^2] = 1/2 + E[e^{2z}; z < 0].
ELU_SLOPE_SECOND_MOMENT = 0.5 + math.exp(2) * phi(-2)


def test_gains_are_the_closed_forms_where_there_are_some(x64):
    assert nn.gain("identity") == pytest.approx(1, rel=1e-12)
    for direction in ("forward", "backward"):
        assert nn.gain("relu", direction=direction) ** 2 == pytest.approx(2, rel=1e-12)
        got = nn.gain("leaky_relu", direction=direction, alpha=0.3) ** 2
        assert got == pytest.approx(2 / (1 + 0.3**2), rel=1e-12)
    assert nn.gain("elu") == pytest.approx(ELU_SECOND_MOMENT**-0.5, rel=1e-12)
    backward = nn.gain("elu", direction="backward")
    assert backward == pytest.approx(ELU_SLOPE_SECOND_MOMENT**-0.5, rel=1e-12)


def test_gains_are_right_in_float32_too():
    assert nn.gain("relu") ** 2 == pytest.approx(2, rel=1e-6)
    assert nn.gain("elu") == pytest.approx(ELU_SECOND_MOMENT**-0.5, rel=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "elu", "gelu"])
def test_gains_agree_with_sampling(name):
    z = jax.random.normal(jax.random.key(0), (400_000,))
    function = nn.activation(name)
    for direction, f in [("forward", function), ("backward", jax.vmap(jax.grad(function)))]:
        squares = np.asarray(f(z), np.float64) ** 2
        standard_error = squares.std() / math.sqrt(squares.size)
        expected = nn.gain(name, direction=direction) ** -2
        assert abs(squares.mean() - expected) <= 4 * standard_error + 1e-6


@pytest.mark.parametrize("name", ["tanh", "leaky_relu", "silu"])
def test_a_deep_wide_network_with_the_gain_keeps_its_second_moment(name):
    width, depth = 1024, 12
    gain = nn.gain(name)

    def layer(signal, key):
        weights = gain / math.sqrt(width) * jax.random.normal(key, (width, width))
        signal = weights @ nn.activation(name)(signal)
        return signal, jnp.mean(signal**2)

    start = jax.random.normal(jax.random.key(1), (width,))
    moments = jax.lax.scan(layer, start, jax.random.split(jax.random.key(2), depth))[1]
    # Each layer multiplies by 1 + O(1/sqrt(width)): sqrt(12 * 5 / 1024) is a quarter.
    assert 0.4 < float(moments[-1]) < 2.5
    assert np.all(np.abs(np.log(np.asarray(moments))) < 0.9)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad, lambda f: jax.jit(jax.vmap(f))])
def test_a_gain_is_a_python_number_also_while_tracing(transform):
    for name in ("relu", "gelu"):
        expected = nn.gain(name)

        def scaled(x):
            assert nn.gain(name) == expected  # noqa: B023
            return x

        transform(scaled)(jnp.ones(()) if transform is jax.grad else jnp.ones(2))


def test_unknown_names_and_parameters_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"got 'leakyrelu'; did you mean 'leaky_relu'\?"):
        nn.activation("leakyrelu")
    with pytest.raises(ValueError, match=r"got 'zzz'$"):
        nn.activation("zzz")
    with pytest.raises(TypeError, match="'elu' takes alpha, theta, continuous; got 'slope'"):
        nn.activation("elu", slope=1.0)
    with pytest.raises(TypeError, match="takes no parameters"):
        nn.activation("tanh", alpha=1.0)
    with pytest.raises(ValueError, match="direction must be one of"):
        nn.gain("relu", direction="sideways")
    with pytest.raises(ValueError, match="positive finite second moment, got 0"):
        nn.gain(jnp.zeros_like)


def test_a_function_is_taken_as_it_is():
    assert nn.activation(jnp.sin) is jnp.sin
    # E[sin^2] = (1 - exp(-2)) / 2.
    assert nn.gain(jnp.sin) == pytest.approx((2 / (1 - math.exp(-2))) ** 0.5, rel=1e-6)


def test_elu_is_continuous_at_any_threshold_and_the_lectures_form_is_not(x64):
    thetas = np.array([-2.0, 0.0, 1.5])
    for alpha in (1.0, 0.7):
        for theta in thetas:
            x = jnp.array([theta - 1, theta, theta + 1e-12, theta + 1])
            low = jnp.expm1(x[:2])
            ours = nn.elu(x, alpha, theta)
            lecture = nn.elu(x, alpha, theta, continuous=False)
            np.testing.assert_allclose(ours[:2], theta + alpha * jnp.expm1(x[:2] - theta))
            np.testing.assert_allclose(lecture[:2], alpha * low, rtol=1e-14)
            np.testing.assert_array_equal(ours[2:], x[2:])
            np.testing.assert_array_equal(lecture[2:], x[2:])
    np.testing.assert_array_equal(nn.elu(x, continuous=False), nn.elu(x))
