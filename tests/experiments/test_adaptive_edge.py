"""A small network at the edge of some rules, and every claim on data where it must fail."""

import numpy as np
import pytest

from experiments import adaptive_edge as edge

# The experiment itself, minutes of compilation in all of these.
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def dataset():
    config = edge.Config(
        rules=("Adam", "AdaGrad", "Lion"), adam_rate=0.01, images=60, hidden=(16,), steps=600
    )
    return edge.run(config)


def refuted(dataset):
    return [claim.statement for claim in edge.claims(dataset) if not claim.holds]


def test_every_rule_is_judged_by_its_own_threshold(dataset):
    judged = edge.claims(dataset)
    assert len(judged) == 3 + 3 + 2 + 1 + 1
    np.testing.assert_allclose(dataset.threshold, [3.8, 2, np.nan])
    for name in ("Adam", "AdaGrad"):
        part = dataset.sel(rule=name)
        np.testing.assert_allclose(edge.settled(part.sharpness) / part.threshold, 1, atol=0.1)
    assert not any("hovers" in statement for statement in refuted(dataset))
    assert (abs(dataset.sharpness.sel(rule="Lion")[1:]) == 0).all()


def test_each_claim_fails_on_data_that_refute_it(dataset):
    before = set(refuted(dataset))

    def after(name, rule, places, value):
        wrong = dataset.copy(deep=True)
        wrong[name].loc[{"rule": rule}] = np.where(
            np.isin(np.arange(wrong.sizes["step"]), places), value, wrong[name].sel(rule=rule)
        )
        return set(refuted(wrong)) - before

    everywhere, last = np.arange(dataset.sizes["step"]), np.arange(dataset.sizes["step"])[-8:]
    never = after("sharpness", "AdaGrad", everywhere, 1.0)
    assert len(never) == 2
    assert any("comes to" in statement for statement in never)
    assert len(after("sharpness", "AdaGrad", last, 2.3)) == 1
    (falls,) = after("loss", "AdaGrad", last, 1.0)
    assert "goes on falling" in falls
    (zero,) = after("sharpness", "Lion", [3], 1e-3)
    assert "P H is zero" in zero
    (known,) = after("residual", "AdaGrad", everywhere, 1.0)
    assert "known well enough" in known
    assert any(
        "effective step" in one for one in after("product", "Lion", everywhere, 0.1) | before
    )
    assert any(
        "was reported" in one for one in after("sharpness", "Adam", everywhere, 1.0) | before
    )


def test_what_became_nan_was_not_measured(dataset):
    wrong = dataset.copy(deep=True)
    wrong.sharpness.loc[{"rule": "AdaGrad"}] = np.nan
    wrong.loss.loc[{"rule": "AdaGrad"}] = np.nan
    verdicts = [c.verdict for c in edge.claims(wrong) if c.statement.startswith("AdaGrad")]
    assert verdicts == ["not measured"] * 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"every": 50}, "every must be odd, got 50"),
        ({"images": 1798}, "images must be at most 1797"),
        ({"steps": 100}, "steps must be at least 8"),
    ],
)
def test_a_config_that_cannot_be_measured_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        edge.Config(**fields)


def test_the_figure_has_a_column_a_rule(dataset):
    axes = edge.plot(dataset).axes
    assert len(axes) == 6
    assert [one.get_title().split("\n")[0] for one in axes[:3]] == ["Adam", "AdaGrad", "Lion"]
