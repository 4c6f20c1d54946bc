"""Slices of known functions, the experiment at a small size, and claims on data that are wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import loss_surface
from experiments.loss_surface import _network_slices


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def dataset():
    config = loss_surface.Config(
        seeds=2,
        layers=1,
        width=8,
        epochs=4,
        images=100,
        directions=2,
        points=5,
        hidden=2,
        saddle_paths=1,
        saddle_steps=200,
    )
    return loss_surface.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in loss_surface.claims(dataset)}


def test_rescaling_changes_only_what_normalization_undoes():
    block = {"layer": {"kernel": jnp.ones((2, 3))}}
    params = {"blocks": {0: block | {"normalization": {"scale": jnp.ones(3)}}, 1: block}}
    other = _network_slices.rescaled(jax.random.key(0), params)["blocks"]
    factors = other[0]["layer"]["kernel"]
    assert len(np.unique(factors)) == 3
    assert 0.25 <= factors.min() <= factors.max() <= 4
    np.testing.assert_array_equal(other[1]["layer"]["kernel"], 1)


@pytest.mark.nightly
def test_claims_that_do_not_depend_on_size_hold_at_a_small_one(dataset):
    judged = verdicts(dataset)
    assert len(judged) == 10
    for part in ("multiplying filters", "passes a saddle", "bends by it", "leaves along"):
        found = [holds for statement, holds in judged.items() if part in statement]
        assert found
        assert all(found), (part, judged)


@pytest.mark.nightly
def test_each_claim_fails_when_its_data_are_wrong(dataset):
    def failed(**wrong):
        judged = verdicts(dataset.assign({name: dataset[name] + by for name, by in wrong.items()}))
        return [statement for statement, holds in judged.items() if not holds]

    assert any("multiplying filters" in statement for statement in failed(rescaled_change=1.0))
    assert any("plain directions" in statement for statement in failed(rescaled_change=-1e9))
    assert sum("principal" in statement for statement in failed(random_share=0.5)) == 2
    assert any("passes a saddle" in statement for statement in failed(saddle_index=1))
    assert sum("bends by it" in statement for statement in failed(curvature=0.1)) == 2
    assert any("leaves along" in statement for statement in failed(lowest_share=-0.5))
    same = dataset.copy(deep=True)
    same["line"][{"kind": 0}] = same.line.isel(kind=1)
    assert not next(holds for what, holds in verdicts(same).items() if "widens" in what)


@pytest.mark.nightly
def test_the_figure_and_the_page_show_every_surface(dataset):
    figure = loss_surface.plot(dataset)
    assert (
        len([axes for axes in figure.axes if axes.get_title(loc="left") or axes.get_title()]) == 8
    )
    pytest.importorskip("plotly")
    (page,) = loss_surface.pages(dataset).values()
    assert page.count('"type":"surface"') >= 5
    assert '"label":"saddle"' in page
