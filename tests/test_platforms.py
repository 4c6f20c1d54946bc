"""Programs are traced for the kind of device that they run on."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from jaxopt_course import saddle
from jaxopt_course._platforms import (
    chosen,
    fast_memory,
    is_for_cpu,
    rhythm,
    spacing,
    target,
    traced_for,
)


def test_the_default_is_the_default_device():
    assert target() == "cpu"
    assert chosen() is None
    with jax.default_device("cpu"):
        assert is_for_cpu()


def test_what_was_traced_for_another_platform_is_traced_anew():
    seen = []

    @jax.jit
    def look(x):
        seen.append(target())
        return x

    for platform in ("cpu", "tpu", "tpu", None):
        with traced_for(platform):
            look(jnp.zeros(2))
    assert seen == ["cpu", "tpu", "cpu"]


@pytest.mark.parametrize("platform", ["cpu", "tpu", "gpu", "cuda", "rocm", "unheard of"])
def test_a_rhythm_is_made_of_whole_passes(platform):
    with traced_for(platform):
        steps, at_a_time = rhythm()
    assert steps % at_a_time == 0
    assert (steps == 1) == (platform == "cpu")


@pytest.mark.parametrize(
    ("platform", "kind", "expected"),
    [
        ("gpu", "NVIDIA H100 80GB HBM3", 50 * 2**20),
        ("gpu", "NVIDIA A100-SXM4-80GB", 40 * 2**20),
        ("gpu", "AMD Instinct MI300X", 2**25),
        ("tpu", "TPU v5 lite", 2**27),
        ("tpu", "TPU v5p", 2**26),
        ("tpu", "TPU v99", 2**26),
    ],
)
def test_a_device_is_known_by_its_kind(platform, kind, expected):
    assert fast_memory(SimpleNamespace(platform=platform, device_kind=kind)) == expected


def test_float64_of_a_tpu_is_less_fine_and_classify_calls_more_eigenvalues_zero(x64):
    del x64
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float64):
        assert spacing(dtype) == jnp.finfo(dtype).eps
    with traced_for("tpu"):
        assert spacing(jnp.float32) == jnp.finfo(jnp.float32).eps
        assert spacing(jnp.float64) == 2.0**-47

    # Between eps**(1/2), 1.5e-8, and that of a TPU, 8.4e-8.
    curvature = jnp.array([1.0, -4e-8])

    def kind():
        point = saddle.classify(lambda x: curvature @ x**2 / 2, jnp.zeros(2))
        return saddle.Kind(int(point.kind)).name

    assert kind() == "STRICT_SADDLE"
    with traced_for("tpu"):
        assert kind() == "DEGENERATE"
