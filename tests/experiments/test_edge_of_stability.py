"""A network that reaches the edge within seconds, and every claim on data where it must fail."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from experiments import edge_of_stability as edge
from jaxopt_course import transforms
from tests.experiments.refuting import unrefuted

DESCENT, ADAM = range(2)


@pytest.fixture
def dataset():
    """What a run gives that rises to the edge in 20 records, and hovers there for 40."""
    step = 25 * np.arange(61)
    threshold = np.array([10.0, 3.8])
    ratio = np.where(step < 500, 0.4 + 0.61 * step / 500, 1 + 0.01 * (-1) ** np.arange(61))
    sharpness = threshold[:, None] * ratio
    sharpness[ADAM, 0] = np.nan
    return xr.Dataset(
        {
            "sharpness": (("case", "step"), sharpness),
            "residual": (("case", "step"), 1e-3 * sharpness),
            "loss": (("case", "step"), np.exp([-step / 200] * 2)),
            "rises": (("case", "step"), [np.maximum(step - 500, 0) // 4] * 2),
            "threshold": ("case", threshold),
            "rule": ("case", ["gradient descent", "Adam"]),
            "rate": ("case", [0.2, 0.01]),
            "variant": ("case", ["tanh"] * 2),
        },
        coords={"step": step},
    )


def refuted(dataset):
    return [claim.statement for claim in edge.claims(dataset) if not claim.holds]


def test_all_claims_hold_of_runs_that_rise_and_hover(dataset):
    assert len(edge.claims(dataset)) == 5 + 4 + 2
    assert refuted(dataset) == []


@pytest.mark.nightly
def test_both_kinds_of_rules_come_to_the_edge_and_stay():
    config = edge.Config(
        rules=("gradient descent", "Adam"),
        gradient_descent_rates=(0.2,),
        adam_rates=(0.01,),
        images=60,
        hidden=(16,),
        steps=1500,
    )
    dataset = edge.run(config)
    assert len(edge.claims(dataset)) == 5 + 4 + 2
    assert refuted(dataset) == []
    np.testing.assert_allclose(dataset.threshold, [2 / 0.2, 2 + 2 * 0.9], rtol=1e-6)
    # Before its first gradient Adam has no preconditioner.
    assert np.isnan(dataset.sharpness[ADAM, 0])


def test_each_claim_fails_on_data_that_refute_it(dataset):
    def after(change):
        wrong = dataset.copy(deep=True)
        change(wrong.isel(case=DESCENT))
        return refuted(wrong)

    title = "gradient descent, rate 0.2: "
    arrival = edge.rise(dataset.isel(case=DESCENT)).arrival
    assert arrival is not None
    assert arrival > 2

    def below(part):
        part.sharpness[:] *= 0.5 / (part.sharpness / part.threshold).max()

    rises, hovers, falls, raises, monotone = after(below)
    assert rises == title + "the sharpness rises until it is at the threshold"
    assert hovers.startswith(title + "then the sharpness hovers")
    assert falls.startswith(title + "at the edge the loss falls")
    assert raises.startswith(title + "it is not monotone there")
    assert monotone.startswith(title + "before it is")

    def set_(name, records, value):
        return lambda part: part[name].__setitem__(records, value)

    last = slice(-15, None)
    assert after(set_("sharpness", 0, 0.97 * float(dataset.threshold[DESCENT]))) == [rises]
    assert after(set_("sharpness", last, 0.94 * float(dataset.threshold[DESCENT]))) == [hovers]
    assert after(set_("sharpness", last, 1.06 * float(dataset.threshold[DESCENT]))) == [hovers]
    assert after(set_("loss", -1, float(dataset.loss[DESCENT, arrival]))) == [falls]
    assert after(set_("rises", slice(None), 0)) == [raises]
    assert after(set_("rises", slice(arrival, None), 10_000)) == [raises, monotone]
    (residual,) = after(set_("residual", 3, 0.05 * float(dataset.threshold[DESCENT])))
    assert residual.startswith("the sharpness is known well enough")


def test_a_run_that_diverges_is_not_measured_and_one_that_stays_below_refutes(dataset):
    wrong = dataset.isel(case=[DESCENT]).copy(deep=True)
    wrong.sharpness[0, 5:] = np.nan
    verdicts = [claim.verdict for claim in edge.claims(wrong)]
    assert verdicts == ["not measured"] * 5 + ["holds"]
    wrong.sharpness[0] = 0.1
    verdicts = [claim.verdict for claim in edge.claims(wrong)]
    assert verdicts[:2] == ["does not hold"] * 2


def test_rises_of_the_loss_are_counted_and_steps_are_the_rule_s():
    # Of curvature 1 a rate of 2.5 grows, from the second value on; one of 0.5 never.
    def fun(x):
        return jnp.sum(x**2) / 2

    for rate, rises in ((2.5, 6), (0.5, 0)):
        found = transforms.path(fun, edge.counting(optax.sgd(rate)), jnp.ones(2), 7)
        assert found.state.rises == rises
        plain = transforms.path(fun, optax.sgd(rate), jnp.ones(2), 7)
        np.testing.assert_array_equal(found.params, plain.params)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"every": 50}, "every must be odd, got 50"),
        ({"images": 1798}, "images must be at most 1797, of digits, got 1798"),
        ({"steps": 100}, "steps must be at least 8 * every, got 100, 25"),
    ],
)
def test_a_config_that_cannot_be_measured_is_refused(fields, said):
    with pytest.raises(ValueError, match=said.replace("*", r"\*")):
        edge.Config(**fields)


def test_the_figure_has_a_column_a_rule(dataset):
    axes = edge.plot(dataset).axes
    assert [one.get_title() for one in axes] == ["gradient descent", "Adam", "", ""]
    assert [len(one.lines) for one in axes] == [2, 2, 1, 1]


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(edge.claims, dataset) == []
