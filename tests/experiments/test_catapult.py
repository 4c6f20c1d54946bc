"""The paper's recursion, all three regions, and every claim on data where it must fail."""

import jax
import numpy as np
import pytest
import xarray as xr

from experiments import catapult
from tests.experiments.refuting import unrefuted

CONFIG = catapult.Config(
    width=256,
    model_rates=(1.0, 3.0, 4.5),
    images=60,
    hidden=(48,),
    rates=(0.5, 3.0),
    steps=150,
    starts=2,
)


def recursion(rate, f, curvature, width, steps):
    """f' and lambda' of the module's formula: losses, and curvatures over the first."""
    f, curvature = np.float64(f), np.float64(curvature)
    first, eta = curvature, rate / curvature
    losses, curvatures = [], []
    for _ in range(steps):
        losses.append(f**2 / 2)
        curvatures.append(curvature / first)
        f, curvature = (
            f * (1 - eta * curvature + eta**2 * f**2 / width),
            curvature + eta * f**2 / width * (eta * curvature - 4),
        )
    return np.array(losses), np.array(curvatures)


@pytest.fixture
def dataset():
    """The model by its recursion, and a network that does as the model."""
    step = 3 * np.arange(51)
    with np.errstate(all="ignore"):
        model = [recursion(rate, 0.8, 2.0, 256, 151) for rate in CONFIG.model_rates]
    thrown = np.where(step < 30, 1 + step / 10, 4 * np.exp(-(step - 30) / 20))
    falls, lost = np.exp(-step / 50), np.where(step < 30, 1.0 + step, np.inf)
    landed = np.where(step < 30, 1.0, 0.5)
    sharpness = np.stack([np.ones(51), landed, landed, 0.2 * landed])
    dims = ("start", "run", "step")
    return xr.Dataset(
        {
            "model_loss": (("model_rate", "model_step"), np.stack([m[0] for m in model])),
            "model_curvature": (("model_rate", "model_step"), np.stack([m[1] for m in model])),
            "loss": (dims, np.stack([[falls, thrown, lost, falls]] * 2)),
            "sharpness": (dims, np.stack([sharpness] * 2)),
            "residual": (dims, np.stack([0.01 * sharpness] * 2)),
            "rate": ("run", [0.5, 3.0, 8.0, 8.0]),
            "warm_up_steps": 75,
        },
        coords={
            "model_rate": list(CONFIG.model_rates),
            "model_step": np.arange(151),
            "run": ["0.5", "3", "no warm-up", "warm-up"],
            "step": step,
        },
    )


def refuted(dataset):
    return {claim.statement for claim in catapult.claims(dataset) if not claim.holds}


@pytest.mark.nightly
def test_the_model_follows_the_paper_s_recursion():
    dataset = catapult.run(CONFIG)
    assert not any(claim.startswith("the model") for claim in refuted(dataset))
    keys = jax.random.split(jax.random.key(0))
    u, v = (np.asarray(jax.random.normal(key, (256,)), np.float64) for key in keys)
    losses, curvatures = recursion(3.0, u @ v / 16, (u @ u + v @ v) / 256, 256, 12)
    part = dataset.sel(model_rate=3.0)
    np.testing.assert_allclose(part.model_loss[:12], losses, rtol=2e-2)
    np.testing.assert_allclose(part.model_curvature[:12], curvatures, rtol=1e-3)


def test_the_model_s_claims_hold_and_fail_on_data_that_refute_them(dataset):
    model = [c for c in catapult.claims(dataset) if c.statement.startswith("the model")]
    assert len(model) == 2 + 2 + 1
    assert refuted(dataset) == set()

    def after(change):
        wrong = dataset.copy(deep=True)
        change(wrong)
        return refuted(wrong)

    def set_(name, where, places, value):
        return lambda wrong: wrong[name].sel(where).__setitem__(places, value)

    lazy, thrown, lost = ({"model_rate": rate} for rate in CONFIG.model_rates)
    peak = float(dataset.model_loss.sel(lazy)[0]) * 2
    (rises,) = after(set_("model_loss", lazy, 5, peak))
    assert "never rises" in rises
    (stays,) = after(set_("model_curvature", lazy, -1, 0.9))
    assert "lambda stays" in stays
    (lands,) = after(set_("model_curvature", thrown, -1, 1.0))
    assert "lands below 2 / eta" in lands
    (throws,) = after(set_("model_loss", thrown, -1, 1.0))
    assert "is thrown up, and lands" in throws
    (diverges,) = after(set_("model_loss", lost, -1, 1.0))
    assert "diverges" in diverges


def test_the_network_s_claims_fail_on_data_that_refute_them(dataset):
    wrong = dataset.copy(deep=True)
    wrong.loss[:] = 1.0
    wrong.sharpness[:] = 1.0
    wrong.residual[:] = 1.0
    wrong.loss[:, 0, 1] = 2.0
    said = [c for c in catapult.claims(wrong) if not c.statement.startswith("the model")]
    assert len(said) == 1 + 2 + 2 + 1
    assert not any(claim.holds for claim in said)


def test_a_start_that_is_not_thrown_up_is_counted(dataset):
    wrong = dataset.copy(deep=True)
    wrong.loss[1, 1] = np.minimum(wrong.loss[1, 1], 1.0)
    (thrown,) = (claim for claim in catapult.claims(wrong) if not claim.holds)
    assert "the loss is thrown up, and falls then" in thrown.statement
    assert thrown.measured.startswith("1 of 2 (50.0 %")
    assert thrown.measured.endswith("highest over the start's 4, 1")


def test_the_figure_has_losses_above_curvatures(dataset):
    axes = catapult.plot(dataset).axes
    assert len(axes) == 6
    assert len(axes[0].lines) == 3


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(catapult.claims, dataset, but=["it diverges"]) == []


def test_images_must_be_in_the_data_set():
    with pytest.raises(ValueError, match="images must be at most 1797, of digits, got 1798"):
        catapult.Config(images=1798)
