"""The runs at a small size, and every claim on data where it must fail."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from experiments import benign_landscapes
from experiments.benign_landscapes import _runs as _benign_runs
from experiments.benign_landscapes._families import families
from jaxopt_course import saddle
from tests.experiments.refuting import unrefuted

NAME = "tensor component"


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def ran():
    config = benign_landscapes.Config((NAME, "matrix completion"), draws=2, runs=16, searches=32)
    return benign_landscapes.run(config)


def made(family, draws):
    """What a run gives of a benign problem: a minimum, an exact saddle, and one up to rounding."""
    kinds = [saddle.Kind.MINIMUM, saddle.Kind.STRICT_SADDLE, saddle.Kind.STRICT_SADDLE]
    points = {
        "kind": np.array(kinds, float),
        "index": np.array([0.0, 1.0, 2.0]),
        "min_eigenvalue": np.array([1.0, -1.0, -2.0]),
        "min_eigenvalue_error": np.full(3, 1e-12),
        "gradient_norm": np.array([0.0, 0.0, 1e-15]),
        "point_height": np.array([0.0, 1.0, 2.0]),
        "hits": np.array([30.0, 4.0, 2.0]),
        "stay": np.array([np.nan, np.inf, 400.0]),
        "slowest": np.array([np.nan, 90.0, 80.0]),
        "moved": np.array([np.nan, 0.0, 1.0]),
    }
    falls = np.exp(-np.arange(5.0))
    height = np.broadcast_to(falls * np.array([0.5, 1, 2])[:, None], (draws, 3, 3, 5))
    return xr.Dataset(
        {
            **{name: (("draw", "point"), np.stack([x] * draws)) for name, x in points.items()},
            "num_runs": ("draw", np.full(draws, 4.0)),
            "unfinished": ("draw", np.full(draws, 0.1)),
            "end_height": (("draw", "start", "run"), np.full((draws, 2, 4), 1e-3)),
            "height": (("draw", "sort", "quantile", "step"), height),
        },
        coords={
            "draw": np.arange(draws),
            "point": np.arange(3),
            "run": np.arange(4),
            "start": [benign_landscapes.RANDOM, benign_landscapes.SADDLE],
            "sort": [_benign_runs.PLAIN, benign_landscapes.SADDLE, benign_landscapes.RANDOM],
            "quantile": [0.0, 0.5, 1.0],
            "step": 10 * np.arange(5),
        },
        attrs={"runs": 4, "stay_steps": 1000},
    ).expand_dims(family=[family])


@pytest.fixture
def dataset():
    parts = [made(NAME, 1), made("matrix completion", 3)]
    whole = xr.concat(parts, "family", join="outer", combine_attrs="override")
    return whole.copy(deep=True)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in benign_landscapes.claims(dataset)}


def test_every_claim_holds_where_all_draws_are_benign_and_is_refuted_by_wrong_ones(dataset):
    judged = verdicts(dataset)
    assert len(judged) == 2 * 4
    assert all(judged.values()), judged
    assert unrefuted(benign_landscapes.claims, dataset) == []


def test_a_bad_minimum_in_one_draw_is_counted_and_drawn(dataset):
    at = {"family": "matrix completion", "draw": 1, "point": 2}
    for name, value in {"kind": saddle.Kind.MINIMUM, "index": 0, "stay": np.nan}.items():
        dataset[name].loc[at] = value
    dataset.end_height.loc[{"family": "matrix completion", "draw": 1, "run": 3}] = 2.0
    failed = [claim for claim in benign_landscapes.claims(dataset) if not claim.holds]
    assert [claim.measured.split(" (")[0] for claim in failed] == ["11 of 12", "11 of 12", "2 of 3"]
    assert "bad minima in 1, the lowest at height 2" in failed[-1].measured
    title = benign_landscapes.plot(dataset).get_suptitle()
    assert "but for 1 draw with a bad minimum" in title


def test_each_draw_has_its_own_points_and_a_family_without_data_has_one(dataset):
    counts = [
        [draw.sizes["point"] for draw in benign_landscapes.draws_of(dataset.sel(family=name))]
        for name in dataset.family.values
    ]
    assert counts == [[3], [3, 3, 3]]


@pytest.mark.nightly
def test_the_small_experiment_is_of_all_draws_and_finds_what_it_should(ran):
    counts = {
        str(name): len(benign_landscapes.draws_of(ran.sel(family=name)))
        for name in ran.family.values
    }
    assert counts == {NAME: 1, "matrix completion": 2}
    judged = [c for c in benign_landscapes.claims(ran) if c.statement.startswith(NAME)]
    assert all(claim.holds for claim in judged), judged


@pytest.mark.nightly
def test_the_search_finds_the_saddles_of_the_tensor_by_index(ran):
    (part,) = benign_landscapes.draws_of(ran.sel(family=NAME))
    saddles = part.isel(point=benign_landscapes.strict_saddle(part).values)
    # One point of each support, up to sign, with 2 to 5 components of the same sign: the known
    # ones; searches add other signs.
    assert set(saddles["index"].values) == {1, 2, 3, 4}
    np.testing.assert_allclose(saddles.point_height, 2 * (1 - 1 / (saddles["index"] + 1)))


def test_every_problem_is_known_and_does_not_change_along_its_symmetries(x64):
    known = families(jax.random.key(0))
    assert tuple(known) == benign_landscapes.FAMILIES
    for family in known.values():
        if family.null_space is None:
            continue

        @jax.jit
        def slopes(key, family=family):
            start = family.problem.init(key)
            gradient = jax.grad(family.problem.fun)(start)
            products = jax.tree.map(
                lambda tangents, leaf: jnp.tensordot(tangents, leaf, axes=leaf.ndim),
                family.null_space(start),
                gradient,
            )
            return sum(jax.tree.leaves(products)), optax.tree.norm(gradient)

        along, norm = slopes(jax.random.key(1))
        assert norm > 1e-3
        np.testing.assert_allclose(along, 0, atol=1e-12)


def test_orders_and_signs_of_a_tensors_parts_make_no_other_point(x64):
    known = families(jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (3, 3))
    turned = -u[jnp.array([2, 0, 1])][:, jnp.array([1, 0, 2])] * jnp.array([[1.0, -1.0, 1.0]])
    family = known["tensor decomposition"]
    np.testing.assert_allclose(family.problem.fun(turned), family.problem.fun(u), rtol=1e-12)
    np.testing.assert_allclose(family.canonical(turned), family.canonical(u), rtol=1e-12)
    assert np.abs(family.canonical(u.T + 0.1) - family.canonical(u)).max() > 0.01
    component = known[NAME].canonical
    np.testing.assert_array_equal(component(jnp.array([0.0, -3.0, 1.0])), [0, 1, 9])


def test_the_rate_is_below_one_over_the_largest_curvature_found(x64):
    family = families(jax.random.key(0))["matrix completion"]
    for eigenvalues, divisor in (([[-3.0, 7.0], [-1.0, 9.0]], 1), ([[-180.0, 7.0]], 4)):
        points = types.SimpleNamespace(eigenvalues=jnp.array(eigenvalues))
        assert _benign_runs._divisor(family, points) == divisor
        assert 0.02 / divisor <= 1 / np.abs(eigenvalues).max()


def test_a_run_has_left_once_it_has_fallen_by_one_percent_of_its_height():
    values = np.array([[3.0, 2.99, 2.979, 1.0], [3.0, 3.0, 3.0, 2.981]])
    np.testing.assert_array_equal(_benign_runs._left(values, minimum=1.0, every=10), [20, np.inf])


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    def false_claims(name, at, value):
        wrong = dataset.copy(deep=True)
        wrong[name].loc[{"family": NAME, "draw": 0} | at] = value
        return [statement for statement, holds in verdicts(wrong).items() if not holds]

    for start, where in ((benign_landscapes.RANDOM, "random"), (benign_landscapes.SADDLE, "sadd")):
        (failed,) = false_claims("end_height", {"start": start, "run": 3}, 0.5)
        assert failed.startswith(f"{NAME}: with noise")
        assert where in failed
    (stays,) = false_claims("stay", {"point": 1}, 0.0)
    assert "without noise" in stays
    assert false_claims("moved", {"point": 1}, 1.0) == [stays]
    for name, value in (
        ("min_eigenvalue", 0.0),
        ("kind", saddle.Kind.DEGENERATE),
        ("kind", saddle.Kind.MINIMUM),
        ("index", 0),
    ):
        (failed,) = false_claims(name, {"point": 1}, value)
        assert "every stationary point" in failed


def test_the_figure_has_a_panel_for_each_problem(dataset):
    titles = [
        axes.get_title(loc="left") or axes.get_title()
        for axes in benign_landscapes.plot(dataset).axes
    ]
    assert titles == [NAME, "matrix completion, 3 draws"]
