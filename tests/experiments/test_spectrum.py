"""The experiment at a small size against dense Hessians, and claims on data that are wrong."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments import spectrum
from experiments.spectrum import _hessian_spectra
from tests.experiments.refuting import unrefuted

CONFIG = spectrum.Config(
    seeds=2,
    hidden=(4,),
    images=50,
    rates=(0.1,),
    normalized_rates=(0.2,),
    steps=20,
    records=4,
    outliers=12,
    lanczos_steps=20,
    probes=2,
)


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def dataset():
    return spectrum.run(CONFIG)


@pytest.mark.parametrize("kind", spectrum.KINDS)
@pytest.mark.nightly
def test_spectra_are_those_of_the_dense_hessian(dataset, kind):
    """At the start, which is known without training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        problem = _hessian_spectra.problem_of(CONFIG, kind)
    key = jax.random.split(jax.random.key(CONFIG.seed), CONFIG.seeds)[1]
    flat, unravel = ravel_pytree(problem.init(key))
    exact = jnp.linalg.eigvalsh(jax.hessian(lambda x: problem.fun(unravel(x)))(flat))[::-1]
    found = dataset.sel(kind=kind, time="start").isel(seed=1)
    within = {"atol": 3e-3 * float(exact[0]), "rtol": 0}
    np.testing.assert_allclose(found.top, exact[:12], **within)
    np.testing.assert_allclose(found.bottom, exact[-1], **within)
    np.testing.assert_allclose(dataset.sharpness.sel(kind=kind)[1, 0, 0], exact[0], **within)


@pytest.mark.nightly
def test_densities_integrate_to_one(dataset):
    at = dataset.sel(kind=spectrum.KINDS[0])
    for time in spectrum.TIMES:
        found = spectrum.density(at, time)
        np.testing.assert_allclose(found.weights.sum(axis=1), 1, rtol=1e-3)
        # The nodes reach the ends of the spectrum, found by another way.
        top, bottom = (at[name].sel(time=time)[0] for name in ("top", "bottom"))
        np.testing.assert_allclose(found.nodes.max(), top[0], rtol=0.05)
        assert found.nodes.min() >= bottom - 0.05 * top[0]


def settled():
    """Data of the form that the experiment gives when everything is as claimed."""
    top = np.concatenate([np.linspace(20, 10, 10), np.linspace(3, 1, 10)])
    smooth = np.linspace(10, 1, 20)
    tail = {"start": -10.0, "early": -1.0, "end": -0.1}
    kinds = []
    for values in (top, smooth):
        kinds.append(
            spectrum.xr.Dataset(
                {
                    "sharpness": (("seed", "rate", "record"), np.full((2, 1, 9), 20.0)),
                    "loss": (("seed", "rate", "record"), np.tile(np.linspace(1, 0, 9), (2, 1, 1))),
                    "learning_rate": ("rate", [0.1]),
                    "top": (("seed", "time", "rank"), np.tile(values, (2, 3, 1))),
                    "bottom": (("seed", "time"), np.tile(list(tail.values()), (2, 1))),
                    "double": ("which_end", [-0.1, values[0]]),
                }
            )
        )
    dataset = spectrum.xr.concat(
        kinds, spectrum.xr.DataArray(list(spectrum.KINDS), dims="kind", name="kind")
    )
    return dataset.assign_coords(
        time=list(tail), record=np.arange(9) * 10, which_end=["smallest", "largest"]
    )


def failed(dataset):
    return [claim.statement for claim in spectrum.claims(dataset) if not claim.holds]


def test_outliers_are_counted_up_to_the_largest_ratio():
    counts = spectrum.outlier_count(settled()).sel(kind=spectrum.KINDS[0])
    np.testing.assert_array_equal(counts, 10)


def test_each_claim_holds_where_it_should_and_fails_when_its_data_are_wrong():
    good = settled()
    assert failed(good) == []
    assert len(spectrum.claims(good)) == 9
    assert sum("edge" in what for what in failed(good.assign(sharpness=good.sharpness / 2))) == 2
    assert (
        sum("edge" in what for what in failed(good.assign(sharpness=good.sharpness * np.nan))) == 2
    )
    assert (
        sum("edge" in what for what in failed(good.assign(loss=good.loss + 1 + good.record))) == 2
    )
    assert sum("tail" in what for what in failed(good.assign(bottom=good.bottom * 0 - 1))) == 2
    swapped = good.assign(top=good.top.isel(kind=[1, 0]).assign_coords(kind=good.kind))
    assert any("each of the 10 classes" in what for what in failed(swapped))
    assert any("less separate" in what for what in failed(swapped))
    assert sum("float32" in what for what in failed(good.assign(double=good.double + 1))) == 2


@pytest.mark.nightly
def test_the_figure_has_five_panels_a_kind(dataset):
    assert len(spectrum.plot(dataset).axes) == 10


def test_every_claim_is_refuted_by_some_wrong_measurement():
    assert unrefuted(spectrum.claims, settled()) == []
