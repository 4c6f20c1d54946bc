"""Everything public of `nn`: arrays of every dtype, sizes, names and dtypes of all kinds."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import strategies as st

from jaxopt_course import nn
from tests.fuzz.harness import Entry, attempt, check_complete, fuzz
from tests.fuzz.strategies import (
    FLOATS,
    Kind,
    constant,
    dtypes,
    flags,
    fractions,
    keys,
    leaves,
    options,
    positive,
    sizes,
    wild_trees,
)

array = Kind(
    leaves(sane=True, shapes=((3,), (2, 3), (0, 3)), floats=("float32", "bfloat16", "float16")),
    st.one_of(leaves(sane=False), wild_trees()),
)
images = Kind(
    st.sampled_from((jnp.ones((2, 5, 5, 4)), jnp.zeros((1, 4, 4, 4)))),
    st.one_of(leaves(sane=False), wild_trees(), st.just(jnp.ones((2, 5, 5, 3)))),
)
rngs = Kind(
    st.integers(0, 9).map(nnx.Rngs),
    st.sampled_from((None, 0, "rngs", jax.random.key(0), nnx.Rngs(0))),
)
axes = Kind(
    st.sampled_from((-1, -2)),
    st.sampled_from((-1, -2, 0, 1, 5, -9, (0, 1), (), 1.5, None, "a", True, (0, 0))),
)
activation = Kind(
    st.sampled_from(("relu", "tanh", jnp.sin)),
    st.sampled_from(("relu", jnp.sin, "ReLU", "", None, 3, [], {})),
)
initializer = Kind(
    st.sampled_from((nn.xavier_normal(), nn.kaiming_normal())),
    st.sampled_from((nn.zeros, None, 3, "zeros")),
)
wrong_sizes = ((4, 0, 2), (4,), (), 4, None, (4, 2.5), ("a", 2), (4, -1))
features = st.sampled_from(((4, 3), (4, 3, 2), *wrong_sizes))
KINDS = {
    "x": array,
    "alpha": positive(),
    "theta": positive(0.0, 1.0),
    "approximate": flags(),
    "name": activation,
    "function": activation,
    "direction": options("forward", "backward"),
    "activation": activation,
    "mode": options("fan_in", "fan_out"),
    "in_axis": Kind(st.just(-2), axes.wild),
    "out_axis": Kind(st.just(-1), axes.wild),
    "batch_axis": Kind(st.just(()), axes.wild),
    "stddev": positive(),
    "key": keys(),
    "shape": Kind(
        st.sampled_from(((3, 2), (5,), ())),
        st.sampled_from(((3, 2), (0, 2), 3, None, "ab", (2.5,), (-1, 2), ("a",), (None,))),
    ),
    "dtype": dtypes(None, "float32", jnp.bfloat16),
    "param_dtype": dtypes("float32", jnp.bfloat16),
    "num_features": sizes(4, 4),
    "num_groups": Kind(st.sampled_from((1, 2, 4)), st.sampled_from((1, 2, 0, -1, 3, 2.5, "a"))),
    "epsilon": positive(1e-6, 1e-2),
    "momentum": fractions(),
    "mean_range": positive(0.0, 1.0),
    "scale_range": positive(1.0, 2.0),
    "mean_spread": positive(0.0, 1.0),
    "scale_spread": positive(0.0, 1.0),
    "deterministic": flags(),
    "use_running_average": flags(),
    "use_scale": flags(),
    "rngs": rngs,
    "feature_axes": Kind(st.just(-1), axes.wild),
    "reduction_axes": Kind(st.just(-1), axes.wild),
    "axis": Kind(st.just(-1), axes.wild),
    "in_channels": sizes(4, 4),
    "num_classes": sizes(3, 3),
    "width": sizes(2, 2),
    "depth": Kind(st.just(8), sizes(8, 20).wild),
    "widths": Kind(st.sampled_from(((2, 3), (4,))), features),
    "features": Kind(st.sampled_from(((4, 3), (4, 3, 2))), features),
    "kernel_init": initializer,
    "bias_init": Kind(st.just(nn.zeros), initializer.wild),
    "dropout_rate": fractions(),
    "normalize_output": flags(),
    "cotangent": Kind(st.just(jnp.ones((2, 3))), array.wild),
    "scale": Kind(st.just(jnp.ones(3)), array.wild),
    "model": Kind(
        st.integers(0, 9).map(lambda seed: nn.MLP((4, 3, 2), rngs=nnx.Rngs(seed))),
        st.sampled_from((None, 3, "model", lambda x: x, nnx.Linear)),
    ),
    "lhs": images,
    "rhs": Kind(st.just(jnp.ones((3, 3, 4, 2))), images.wild),
    "window_strides": Kind(
        st.sampled_from(((1, 1), (2, 2))),
        st.sampled_from(((1, 1), (0, 1), (1,), None, "a", (1.5, 1), 2, (-1, 1))),
    ),
    "padding": Kind(
        st.sampled_from(("SAME", "VALID")),
        st.sampled_from(("SAME", "same", "", None, 3, [(1, 1)], [(1, 1), (0, 0)], [(-1, 0)] * 2)),
    ),
    "lhs_dilation": constant(None),
    "rhs_dilation": constant(None),
    "dimension_numbers": constant(("NHWC", "HWIO", "NHWC")),
    "feature_group_count": Kind(st.just(1), sizes(1, 3).wild),
    "platform": constant(None, "cpu"),
    "layer_filter": constant(None),
    "checkpoint": Kind(st.just("/nonexistent"), st.sampled_from(("", None, 3, "/", "a\0b"))),
    "match": constant(None),
}
MODULES = [name for name in vars(nn) if inspect.isclass(getattr(nn, name))
           and issubclass(getattr(nn, name), nnx.Module) and name != "WeightNorm"]  # fmt: skip
ACTIVATIONS = [name for name, f in vars(nn).items() if name in nn.ACTIVATIONS and callable(f)]
INITIALIZERS = ("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal",
                "scaled_normal")  # fmt: skip


def elementwise(result, arguments, data, sane):
    x = arguments["x"]
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
        assert (result.shape, result.dtype) == (x.shape, x.dtype)
    assert not sane or bool(jnp.isfinite(result).all())


def forward(module, arguments, data, sane):
    """The module maps a batch of inputs of its size to outputs, or names `x`."""
    name = type(module).__name__
    side = 32 if name in ("VGG16", "ResNet") else 6
    channels = arguments.get("in_channels", 3)
    right = jnp.ones((2, 4) if name == "MLP" else (2, side, side, channels if sane else 4))
    right = jnp.ones((2, 3, 4)) if "Norm" in name else right
    names = {"x", "inputs", "axis", *(p.name for p in Entry(type(module), {}).parameters())}
    x = data.draw(st.one_of(st.just(right), array.wild), label="x")

    def call():
        if isinstance(x, jax.Array):
            # Statistics are written to: the trace needs a module of its own.
            graph, state = nnx.split(module)
            return jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x)
        return module(x)

    attempt(call, names, sane=x is right and sane)


def draws(make, arguments, data, sane):
    shape = data.draw(KINDS["shape"].wild, label="shape")
    key = data.draw(keys().wild, label="key")
    attempt(lambda: make(key, shape), {*arguments, "key", "keys", "shape", "in_axis"})
    if sane:
        assert bool(jnp.isfinite(make(jax.random.key(0), (3, 2))).all())


def applies(function, arguments, data, sane):
    if sane:
        assert bool(jnp.isfinite(function(jnp.ones(3))).all())


def gains(value, arguments, data, sane):
    assert isinstance(value, float)
    assert not sane or np.isfinite(value)


def nothing(result, arguments, data, sane):
    assert result is not None


NHWC = ("NHWC", "HWIO", "NHWC")


def convolve(lhs, rhs, window_strides, padding, platform):
    return nn.conv_general_dilated(
        lhs, rhs, window_strides, padding, platform=platform, dimension_numbers=NHWC
    )


def im2col(lhs, rhs, window_strides, padding):
    return nn.im2col_conv_general_dilated(lhs, rhs, window_strides, padding, dimension_numbers=NHWC)


def call_lsuv(model, x, key):
    return nn.lsuv(model, x, key=key)


def call_data_dependent_init(model, x):
    return nn.data_dependent_init(model, x)


def make_group_norm(num_features, num_groups, epsilon, rngs):
    return nn.GroupNorm(num_features, num_groups, epsilon=epsilon, rngs=rngs)


def make_weight_norm(model, rngs):
    return nn.WeightNorm(model, rngs=rngs)


def reparametrized(seed):
    return nn.MLP((4, 3), wrapper=nn.WeightNorm, rngs=nnx.Rngs(seed))


batch = Kind(st.just(jnp.ones((5, 4))), array.wild)
rows = Kind(st.just(jnp.ones((2, 3))), array.wild)
linear = Kind(st.just(nnx.Linear(4, 2, rngs=nnx.Rngs(0))), KINDS["model"].wild)
normalized = Kind(st.integers(0, 9).map(reparametrized), KINDS["model"].wild)
functions = Kind(st.sampled_from((jnp.sin, nn.relu)), activation.wild)


def entries(names, act, more=()):
    kinds = KINDS | dict(more)
    return {
        name: Entry(getattr(nn, name), kinds, act, ("name", "axis", "in_axis")) for name in names
    }


ENTRIES = (
    entries(MODULES, forward, {"activation": functions})
    | entries(ACTIVATIONS, elementwise)
    | entries(INITIALIZERS, draws)
    | entries(("zeros", "functional_view"), nothing)
    | entries(("batch_norm_backward",), nothing, {"x": rows})
    | {
        "GroupNorm": Entry(make_group_norm, KINDS, forward),
        "activation": Entry(nn.activation, KINDS, applies, ("activation",)),
        "gain": Entry(nn.gain, KINDS, gains, ("activation", "name")),
        "conv_general_dilated": Entry(convolve, KINDS, nothing),
        "im2col_conv_general_dilated": Entry(im2col, KINDS, nothing),
        "lsuv": Entry(call_lsuv, KINDS | {"x": batch}, nothing, ("inputs",)),
        "data_dependent_init": Entry(
            call_data_dependent_init, KINDS | {"x": batch, "model": normalized}, nothing
        ),
        "WeightNorm": Entry(
            make_weight_norm, KINDS | {"model": linear}, nothing, ("layer_instance",)
        ),
    }
)
# What a missing folder says is FileNotFoundError, and what is in one is orbax's. The functions that
# match units take whole networks and specifications of them: their wrong arguments are in `calls`,
# their dtypes in `tests/nn/test_matching.py`; so it is with `signals`.
SKIPPED = (
    "from_pretrained",
    "match_units",
    "permute_units",
    "signals",
    "unit_activations",
    "unit_axes",
)


def test_every_public_function_has_an_entry():
    check_complete(nn, ENTRIES, skip=SKIPPED)
    assert set(FLOATS) >= {"float32", "bfloat16"}


@pytest.mark.parametrize("name", ENTRIES)
def test_functions_work_or_name_the_argument(name):
    fuzz(ENTRIES[name], 2)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENTRIES)
def test_many_examples(name):
    fuzz(ENTRIES[name], 15 if name in ("ResNet", "VGG16") else 40, derandomize=False)
