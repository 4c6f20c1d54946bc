"""The paper's recursion, all three regions, and every claim on data where it must fail."""

import jax
import numpy as np
import pytest

from experiments import catapult

# The experiment itself, minutes of compilation in all of these.
pytestmark = pytest.mark.nightly

CONFIG = catapult.Config(
    width=256, model_rates=(1.0, 3.0, 4.5), images=60, hidden=(48,), rates=(0.5, 3.0), steps=150
)


@pytest.fixture(scope="module")
def dataset():
    return catapult.run(CONFIG)


def refuted(dataset):
    return {claim.statement for claim in catapult.claims(dataset) if not claim.holds}


def test_the_model_follows_the_paper_s_recursion(dataset):
    """f' and lambda' of the module's formula, from the first f and lambda."""
    keys = jax.random.split(jax.random.key(0))
    u, v = (np.asarray(jax.random.normal(key, (256,)), np.float64) for key in keys)
    first = (u @ u + v @ v) / 256
    f, curvature, eta = u @ v / 16, first, 3.0 / first
    losses, curvatures = [], []
    for _ in range(12):
        losses.append(f**2 / 2)
        curvatures.append(curvature / first)
        f, curvature = (
            f * (1 - eta * curvature + eta**2 * f**2 / 256),
            curvature + eta * f**2 / 256 * (eta * curvature - 4),
        )
    part = dataset.sel(model_rate=3.0)
    np.testing.assert_allclose(part.model_loss[:12], losses, rtol=2e-2)
    np.testing.assert_allclose(part.model_curvature[:12], curvatures, rtol=1e-3)


def test_the_model_s_claims_hold_and_fail_on_data_that_refute_them(dataset):
    model = [c for c in catapult.claims(dataset) if c.statement.startswith("the model")]
    assert len(model) == 2 + 2 + 1
    assert all(claim.holds for claim in model)

    def after(change):
        wrong = dataset.copy(deep=True)
        change(wrong)
        return refuted(wrong) - refuted(dataset)

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
    wrong.loss[0, 1] = 2.0
    said = [c for c in catapult.claims(wrong) if not c.statement.startswith("the model")]
    assert len(said) == 1 + 2 + 2 + 1
    assert not any(claim.holds for claim in said)


def test_the_figure_has_losses_above_curvatures(dataset):
    axes = catapult.plot(dataset).axes
    assert len(axes) == 6
    assert len(axes[0].lines) == 3
