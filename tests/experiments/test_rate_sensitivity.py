"""Ranges of rates that are known, and every claim on data where it must hold and must fail."""

import numpy as np
import pytest
import xarray as xr

from experiments import rate_sensitivity
from experiments.rate_sensitivity import ADADELTA, GUARDS, OBJECTIVES, RULES, SCALES
from tests.experiments.refuting import unrefuted


def valley(rates):
    """Losses of which the rate 1 is the best, and a decade away costs 100,000-fold."""
    return 1e-5 * 10 ** (5 * np.abs(np.log10(rates)))


@pytest.fixture
def ideal():
    """A result in which AdaDelta needs no rate, and all others do."""
    rates = np.logspace(-4, 3, 8)
    seeds = 1 + 0.01 * np.arange(2)
    shape = len(OBJECTIVES), len(RULES)
    loss = np.broadcast_to(valley(rates)[:, None] * seeds, (*shape, 8, 2)).copy()
    scaled = np.broadcast_to(1e-5 * seeds, (*shape, len(SCALES), 2)).copy()
    loss[:, list(RULES).index(ADADELTA)] = 1e-5 * seeds
    scaled[:, :2] = valley(np.array(SCALES))[:, None] * seeds
    guarded = np.broadcast_to(1e-5 * seeds, (len(OBJECTIVES), len(GUARDS), 2)).copy()
    axes = ("objective", "rule")
    return xr.Dataset(
        {
            "loss": ((*axes, "rate", "seed"), loss),
            "scaled_loss": ((*axes, "scale", "seed"), scaled),
            "guarded_loss": (("objective", "guard", "seed"), guarded),
            "chosen": (axes, np.ones(shape)),
        },
        coords={
            "objective": list(OBJECTIVES),
            "rule": list(RULES),
            "rate": rates,
            "scale": list(SCALES),
            "guard": list(GUARDS),
        },
        attrs={"factor": 10.0, "share": 0.1, "steps": 300},
    )


def failed(dataset):
    claims = rate_sensitivity.claims(dataset)
    return [claim.statement for claim in claims if not claim.holds]


def test_all_claims_hold_of_a_rule_without_a_rate(ideal):
    assert failed(ideal) == []


@pytest.mark.nightly
def test_every_claim_is_refuted_by_some_wrong_measurement(ideal):
    # Both objectives have the same claims; few rates and scales give few wrong results to judge.
    small = ideal.isel(objective=[0], rate=slice(2, 6), scale=slice(1, 4))
    assert failed(small) == []
    assert unrefuted(rate_sensitivity.claims, small) == []


@pytest.mark.parametrize(
    ("name", "at", "change", "broken"),
    [
        # Any narrower than the others' or only as wide, or best elsewhere.
        ("loss", {"rule": -1}, "same as Adam's", ["end within a factor of 10 of a rule's best"]),
        ("loss", {"rule": -1}, "best at 10", ["ends within a factor of 10 of its own best rate"]),
        ("scaled_loss", {"rule": -1, "scale": 0}, "hundredfold", ["AdaDelta without a rate ends"]),
        ("scaled_loss", {"rule": -2, "scale": 0}, "hundredfold", ["Adam with one rate ends alike"]),
        ("guarded_loss", {"guard": 0}, "hundredfold", ["ends alike with eps"]),
        ("scaled_loss", {"rule": 0, "scale": 1}, "hundredfold", ["to gradient descent"]),
    ],
)
def test_claims_fail_on_data_that_refute_them(ideal, name, at, change, broken):
    changed = {
        "same as Adam's": lambda x: valley(x.rate) * xr.ones_like(x) if "rate" in x.dims else x,
        "best at 10": lambda x: valley(x.rate / 10) * xr.ones_like(x) if "rate" in x.dims else x,
        "hundredfold": lambda x: 100 * x,
    }[change]
    wrong = ideal.copy(deep=True)
    wrong[name][at] = changed(ideal[name][at]).transpose(*ideal[name][at].dims)
    found = failed(wrong)
    for text in broken:
        assert sum(text in statement for statement in found) == len(OBJECTIVES)


def test_nan_holds_nothing(ideal):
    wrong = (ideal * np.nan).assign(chosen=ideal.chosen).assign_attrs(ideal.attrs)
    assert len(failed(wrong)) == len(rate_sensitivity.claims(ideal))


def test_a_range_ends_at_the_first_rate_that_is_too_bad():
    losses = xr.DataArray(
        [[9.0, 1, 5, 1, 1, 2, 9, 1], [1, 1, 9, 9, 9, 9, 9, 9], [9, 9, 9, 9, 9, 9, 9, 9]],
        dims=("rule", "rate"),
        coords={"rate": np.logspace(-4, 3, 8)},
    )
    assert rate_sensitivity.decades(losses, 2.0).values.tolist() == [1, 2, 0]
    assert rate_sensitivity.decades(losses, 5.0).values.tolist() == [5, 2, 0]
    assert rate_sensitivity.decades(losses, 9.0).values.tolist() == [8, 8, 8]


@pytest.mark.nightly
def test_runs_start_alike_and_a_factor_of_the_loss_is_a_rate_to_gradient_descent(monkeypatch):
    some = {rule: RULES[rule] for rule in ("gradient descent", ADADELTA)}
    monkeypatch.setattr(rate_sensitivity, "RULES", some)
    config = rate_sensitivity.Config(
        images=40, hidden=3, dimension=4, steps=20, rates_a_decade=1, seeds=2, trials=1
    )
    result = rate_sensitivity.run(config)
    descent, adadelta = (result.sel(rule=rule) for rule in some)
    # At the smallest rate hardly anything has happened, and the chosen one is no worse.
    np.testing.assert_allclose(descent.loss.sel(rate=1e-4), 1, atol=0.01)
    assert (descent.scaled_loss.sel(scale=1.0) < 0.9).all()
    for objective in OBJECTIVES:
        chosen = float(descent.chosen.sel(objective=objective))
        for scale in (0.01, 0.1, 1.0):
            found = descent.scaled_loss.sel(objective=objective, scale=scale)
            same = descent.loss.sel(objective=objective).sel(rate=chosen * scale, method="nearest")
            np.testing.assert_allclose(found, same, rtol=1e-4)
    # The paper's constants are among the rates, the scales and the guards.
    np.testing.assert_allclose(adadelta.loss.sel(rate=1.0), adadelta.scaled_loss.sel(scale=1.0))
    np.testing.assert_allclose(
        result.guarded_loss.sel(guard=1e-6), adadelta.loss.sel(rate=1.0), rtol=1e-4
    )
    # Gradient descent beyond 2 / L diverges, which is counted and not NaN.
    assert (descent.loss.sel(objective="quadratic", rate=1e3) == rate_sensitivity.MOST).all()


def test_the_figure_shows_both_objectives_over_rates_scales_and_guards(ideal):
    figure = rate_sensitivity.plot(ideal)
    assert len(figure.axes) == 6
    legend = figure.axes[2].get_legend()
    assert len(legend.get_texts()) == len(RULES)
