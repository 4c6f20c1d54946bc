"""Features that have collapsed, features that have not, and every claim where it must fail."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from experiments import collapse
from tests.experiments.refuting import unrefuted

LABELS = np.repeat(np.arange(10), 4)


def simplex():
    """Class means of a simplex in ten dimensions, around a common mean."""
    return np.eye(10) - 0.1 + 2.0


def test_a_collapsed_network_has_zeros_for_all_measures():
    means = simplex().astype(np.float32)
    last = (means - means.mean(axis=0)).T
    features = means[LABELS]
    found = collapse.collapse(jnp.asarray(features), features @ last, jnp.asarray(last), LABELS)
    for name, value in found.items():
        np.testing.assert_allclose(value, 0, atol=1e-4, err_msg=name)


def test_the_within_class_covariance_counts_against_that_between_classes():
    """Deviations of plus and minus e along a mean direction: e^2 over its variance between."""
    means = simplex()
    features = means[LABELS]
    step = 0.3 * (means[0] - means[1]) / np.sqrt(2)
    features[::2] += step
    features[1::2] -= step
    last = means.T - means.mean()
    found = collapse.collapse(
        *map(jnp.asarray, (features.astype(np.float32), features @ last, last)), LABELS
    )
    # The covariance between classes is 0.1 times the projector on the span, whose inverse is 10.
    np.testing.assert_allclose(found["NC1"], 0.3**2 * 10 / 10, rtol=1e-4)
    assert found["errors"] == 0


def test_the_outliers_end_at_the_largest_ratio():
    values = np.array([50.0, 9.0, 8.0, 7.0, 6.5, 6.0, 1.0, 0.9, 0.8])
    assert collapse.outliers(values) == (6, 6.0)


@pytest.fixture
def dataset():
    """What a run gives that collapses within nine records."""
    step = 10 * np.arange(9)
    falls = np.exp(-step / 10)
    eigenvalue = np.broadcast_to(np.array([9.0] * 9 + [1.0] * 5), (9, 14)).copy()
    return xr.Dataset(
        {
            **{name: ("step", falls.copy()) for name in collapse.MEASURES},
            "loss": ("step", falls),
            "errors": ("step", np.where(step < 30, 0.1, 0)),
            "eigenvalue": (("step", "rank"), eigenvalue),
            "residual": (("step", "rank"), np.zeros((9, 14))),
        },
        coords={"step": step, "rank": np.arange(1, 15)},
    )


def refuted(dataset):
    return {claim.statement for claim in collapse.claims(dataset) if not claim.holds}


def test_each_claim_can_hold_and_fail(dataset):
    good = dataset.copy(deep=True)
    good["nearest mean"][-1] = 0.0
    assert refuted(good) == set()
    assert len(collapse.claims(good)) == 8
    for name, value in (("errors", 1), ("NC1", 1), ("norms", 1), ("angles", 1), ("duality", 1),
                        ("nearest mean", 1), ("residual", 1)):  # fmt: skip
        wrong = good.copy(deep=True)
        wrong[name][-1] = value
        assert len(refuted(wrong)) == 1, name
    wrong = good.copy(deep=True)
    wrong.eigenvalue[-1] = [9.0] * 5 + [1.0] * 9
    (outliers,) = refuted(wrong)
    assert "about as many outliers" in outliers


@pytest.mark.nightly
def test_a_run_measures_all_that_is_judged():
    found = collapse.run(collapse.Config(images=80, hidden=(16, 16), steps=80, every=10))
    assert all(claim.holds is not None for claim in collapse.claims(found))
    assert (found.loss[-1] < found.loss[0]).all()
    assert (abs(found.residual) <= 0.02 * found.eigenvalue.max("rank")).all()


def test_the_figure_has_measures_and_eigenvalues(dataset):
    left, right = collapse.plot(dataset).axes
    assert len(left.lines) == 5
    assert len(right.lines) == 14


def test_images_must_hold_every_class():
    with pytest.raises(ValueError, match="images must be at least"):
        collapse.Config(images=10)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(collapse.claims, dataset) == []


def test_images_must_be_in_the_data_set():
    with pytest.raises(ValueError, match="images must be at most 1797, of digits, got 1798"):
        collapse.Config(images=1798)
