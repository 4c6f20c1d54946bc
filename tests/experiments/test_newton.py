import jax.numpy as jnp
import numpy as np
import pytest

from experiments import newton
from jaxopt_course import saddle
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    return newton.run(newton.Config(("himmelblau",), starts=64, affine_starts=40))


def verdicts(dataset):
    return [claim.holds for claim in newton.claims(dataset)]


def test_newton_finds_saddles_where_its_relatives_find_minima(dataset):
    assert verdicts(dataset) == [True] * 11


def test_the_landscapes_have_no_degenerate_points(x64):
    for scape in newton.landscapes().values():
        assert all(point.nullity == 0 for point in scape.problem.stationary_points)


def test_ends_are_named_by_what_they_are(x64):
    problem = newton.landscapes()["himmelblau"].problem
    known = problem.stationary_points
    points = jnp.asarray(np.stack([point.params for point in known] + [np.ones(2)]))
    names = [newton.KINDS[kind] for kind in newton._name(problem.fun, points)]
    assert names == [*(point.kind for point in known), "elsewhere"]


def test_starts_beside_a_saddle_are_at_the_distance_asked_for(x64):
    config = newton.Config(starts=20, distance=0.03)
    for scape in newton.landscapes().values():
        beside = np.asarray(newton._starts(scape, config)["beside a saddle"])
        saddles = [
            point.params
            for point in scape.problem.stationary_points
            if point.kind == saddle.Kind.STRICT_SADDLE.name
        ]
        gaps = beside[:, None] - np.stack(saddles)
        nearest = np.linalg.norm(gaps.reshape(20, len(saddles), -1), axis=-1).min(axis=1)
        np.testing.assert_allclose(nearest, 0.03, rtol=1e-12)


def test_coordinates_have_the_condition_numbers_asked_for():
    config = newton.Config(condition_numbers=(1.0, 50.0))
    np.testing.assert_allclose(np.linalg.cond(newton._matrices(config)), [1, 50], rtol=1e-12)


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    wrong = dataset.copy(deep=True)
    wrong.deviation.loc[{"rule": "Newton"}] = np.nan
    wrong.deviation.loc[{"rule": "trust region"}] = 1e-3
    wrong.end.loc[{"origin": "random"}] = newton.KINDS.index("MINIMUM")
    wrong.end.loc[{"origin": "beside a saddle"}] = newton.KINDS.index("MINIMUM")
    # NaN is no measurement.
    assert verdicts(wrong) == [None] * 2 + [False] * 3 + [True] * 6
    lost = dataset.copy(deep=True)
    lost.end[..., 0] = newton.KINDS.index("elsewhere")
    assert verdicts(lost)[4:] == [False] * 7


def test_the_figure_has_four_panels(dataset):
    assert len(newton.plot(dataset).axes) == 4


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(newton.claims, dataset) == []
