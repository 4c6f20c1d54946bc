"""Curvature is computed from products of full precision, which TPUs take only where told to."""

import jax
import jax.numpy as jnp
import pytest

from jaxopt_course import saddle, transforms
from jaxopt_course._platforms import traced_for

KEY = jax.random.key(0)
X = jnp.zeros(40)
SMALL = {"radius": 0.02, "gradient_threshold": 0.02, "interval": 1, "key": KEY}


def quartic(x):
    return jnp.sum(x**4 - x**2 * jnp.cos(jnp.arange(x.size)))


def step_of(rule):
    return lambda x: transforms.make_step(quartic, rule, donate=False)(x, rule.init(x))


PROGRAMS = {
    "classify": lambda x: saddle.classify(quartic, x),
    "classify, order 4": lambda x: saddle.classify(quartic, x, order=4),
    "classify, lanczos": lambda x: saddle.classify(quartic, x, method="lanczos", key=KEY),
    "extreme_eigenpairs": lambda x: saddle.extreme_eigenpairs(quartic, x, which="both", key=KEY),
    "trace": lambda x: saddle.trace(quartic, x, num_probes=12, method="hutch++", key=KEY),
    "diagonal": lambda x: saddle.diagonal(quartic, x, num_probes=12, method="diag++", key=KEY),
    "spectral_density": lambda x: saddle.spectral_density(
        quartic, x, num_steps=9, num_probes=2, key=KEY
    ),
    "find": lambda x: saddle.find(quartic, x[None], max_points=1),
    "newton": step_of(transforms.newton()),
    "newton, cg": step_of(transforms.newton(solver="cg")),
    "saddle_free_newton": step_of(transforms.saddle_free_newton(solver="lanczos")),
    "cubic_newton": step_of(transforms.cubic_newton(1.0)),
    "trust_region": step_of(transforms.trust_region()),
    "escape_negative_curvature": step_of(transforms.escape_negative_curvature(**SMALL)),
    "neon2": step_of(
        transforms.neon2(
            smoothness=3.0, curvature=0.3, start_radius=1e-2, end_radius=0.1, num_steps=9, **SMALL
        )
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_product_is_left_to_the_default_precision(name):
    with traced_for("tpu"):
        lowered = jax.jit(PROGRAMS[name]).trace(X).lower(lowering_platforms=("tpu",))
    products = [line for line in lowered.as_text().splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert [line for line in products if "HIGHEST" not in line] == []
