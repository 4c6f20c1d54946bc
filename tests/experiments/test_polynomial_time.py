"""Steps to leave a saddle against their law, and every claim on data where it must fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments import polynomial_time as polynomial

CASE = polynomial.Case(4, 1e-2, 1.0, 0.1)


@pytest.fixture(scope="module")
def dataset():
    """What a run gives where every law holds exactly."""
    config = polynomial.Config(runs=200)
    named = polynomial.cases(config)
    late = -np.log(1 - (np.arange(200) + 0.5) / 200)
    steps, law, growth, bound = [], [], [], []
    for rule, kind in polynomial.ARMS:
        for _, case in named:
            rate = polynomial.growth(case, rule)
            if rule == polynomial.ACCELERATED:
                rate = case.curvature**0.5
            noise = 1e-4 if kind == polynomial.THEOREM else 1e-2
            middle = np.log(case.dimension**0.5 / noise) / rate
            steps.append(middle + late / rate - np.log(2) / rate)
            law.append(middle if rule == polynomial.PERTURBED else np.nan)
            growth.append(polynomial.growth(case, rule))
            bound.append(2 * steps[-1].max())
    shape = len(polynomial.ARMS), len(named)
    sizes = np.array(config.sizes, float)
    to_minimum = np.broadcast_to(300 + 20 * sizes[None, :, None] ** 0.5, (2, sizes.size, 200))
    return xr.Dataset(
        {
            "steps": (("arm", "case", "run"), np.reshape(steps, (*shape, 200))),
            "radius": ("arm", np.full(shape[0], 1e-2)),
            "bound": (("arm", "case"), np.reshape(bound, shape)),
            "growth": (("arm", "case"), np.reshape(growth, shape)),
            "law": (("arm", "case"), np.reshape(law, shape)),
            "sweep": ("case", [sweep for sweep, _ in named]),
            **{
                name: ("case", [getattr(case, name) for _, case in named])
                for name in polynomial.SWEEPS
            },
            "to_minimum": (("landscape", "size", "run"), to_minimum),
        },
        coords={
            "arm": [f"{rule}, {kind}" for rule, kind in polynomial.ARMS],
            "landscape": list(polynomial.LANDSCAPES),
            "size": list(config.sizes),
        },
        attrs={"max_steps": 2000, "seed": 0},
    )


def test_the_saddle_has_the_constants_that_it_is_said_to_have(x64):
    fun, rho = polynomial.objective(CASE), CASE.hessian_lipschitz
    values = np.linalg.eigvalsh(jax.hessian(fun)(jnp.zeros(4)))
    np.testing.assert_allclose(values, [-CASE.curvature, 1, 1, 1])
    end = jnp.zeros(4).at[0].set(CASE.distance)
    np.testing.assert_allclose(jax.grad(fun)(end), 0, atol=1e-15)
    np.testing.assert_allclose(fun(end), -CASE.depth)
    slope = (jax.hessian(fun)(end)[0, 0] - values[0]) / CASE.distance
    np.testing.assert_allclose(slope, rho)


def test_runs_leave_when_their_recursion_says(x64):
    config = polynomial.Config(runs=40)
    constants = polynomial._constants(CASE, polynomial.PERTURBED, polynomial.TUNED, 0.01)
    keys = jax.random.split(jax.random.key(0), 40)
    steps = polynomial._steps(config, CASE, polynomial.PERTURBED, constants, keys)
    assert abs(np.median(steps) / polynomial.law(CASE, polynomial.TUNED, 0.01) - 1) < 0.15


def test_every_claim_holds_where_the_laws_do(dataset):
    failed = [claim.statement for claim in polynomial.claims(dataset) if not claim.holds]
    assert failed == []


def test_every_claim_is_refuted_by_other_powers_and_by_runs_that_do_not_arrive(dataset):
    powers = dataset.assign(
        steps=dataset.steps**2, to_minimum=0 * dataset.to_minimum + dataset["size"] ** 1.5
    )
    lost = dataset.assign(to_minimum=np.inf * dataset.to_minimum)
    judged = [polynomial.claims(wrong) for wrong in (powers, lost)]
    kept = [one.statement for one, other in zip(*judged, strict=True) if one.holds and other.holds]
    assert kept == []
    assert all(claim.holds is False for claim in judged[0][:13])


def test_the_figure_has_a_panel_for_every_sweep_and_two_more(dataset):
    assert len(polynomial.plot(dataset).axes) == 6
