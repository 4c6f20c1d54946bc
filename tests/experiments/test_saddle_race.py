import jax
import numpy as np
import pytest

from experiments import saddle_race
from experiments.saddle_race import _racers
from tests.experiments.refuting import unrefuted

RACERS = (
    "gradient descent",
    "optax sgd",
    "Newton",
    "cubic Newton",
    "perturbed gradient descent",
)


@pytest.fixture(scope="module")
def dataset():
    config = saddle_race.Config(RACERS, starts=32, tuning_starts=2, scales=(0.3, 1.0), budget=600)
    return saddle_race.run(config)


def test_exact_saddles_hold_gradients_and_not_exact_models(dataset):
    success = np.isfinite(dataset.evaluations).mean(("problem", "start"))
    assert success.sel(origin="exact").values.tolist() == [0, 0, 0, 1, 1]
    near = success.sel(origin="near").values
    np.testing.assert_array_equal(near[[2, 3, 4]], [0, 1, 1])
    assert near[0] == near[1] == 0.75


def test_a_rule_judged_elsewhere_is_so_in_what_it_moves():
    config = saddle_race.Config(
        ("optax Nesterov", "Nesterov"), starts=2, tuning_starts=2, scales=(0.3, 1.0), budget=100
    )
    evaluations = saddle_race.run(config).evaluations
    assert np.isinf(evaluations.sel(origin="exact")).all()
    assert np.isfinite(evaluations.sel(origin="near")).any()


def test_ours_and_optax_race_the_same(dataset):
    ours, theirs = (dataset.evaluations.sel(racer=name) for name in RACERS[:2])
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dimension", [5, 10])
def test_courses_start_at_strict_saddles_with_zero_gradient(dimension, x64):
    for course in saddle_race.courses(dimension):
        x = jax.numpy.asarray(course.saddle)
        value, gradient = jax.value_and_grad(course.fun)(x)
        spectrum = np.linalg.eigvalsh(jax.hessian(course.fun)(x))
        assert not np.any(gradient)
        assert spectrum[0] < -0.19
        assert spectrum[-1] > 0.9
        np.testing.assert_allclose(value, course.value, atol=1e-12)


def test_a_dense_step_is_charged_a_gradient_and_two_for_each_dimension(dataset):
    cubic = dataset.evaluations.sel(racer="cubic Newton").values
    np.testing.assert_allclose(cubic % 11, 0)
    assert _racers._dense(None, None, 5) == 11


def test_every_rule_has_a_name_of_its_own():
    names = [racer.name for racer in _racers.RACERS]
    assert len(set(names)) == len(names)
    assert set(saddle_race.PAIRS) | set(saddle_race.PAIRS.values()) < set(names)


def test_the_interval_of_a_median_is_that_of_the_order_statistics():
    assert saddle_race.median_interval(np.arange(100.0)) == (49, 39, 60)
    assert saddle_race.median_interval(np.array([1.0, np.inf, np.inf]))[0] == np.inf


def full(dataset):
    """Every rule with the results of its kind, so that all claims can be judged."""
    like = {_racers.FIRST_ORDER: 0, _racers.ADAPTIVE: 0, _racers.SECOND_ORDER: 2}
    rows = []
    for racer in _racers.RACERS:
        exact = racer.name in saddle_race.LEAVES_EXACTLY
        rows.append(3 if exact else like.get(racer.family, 4))
    whole = dataset.isel(racer=rows).assign_coords(racer=[racer.name for racer in _racers.RACERS])
    whole["family"] = "racer", [racer.family for racer in _racers.RACERS]
    whole["random"] = "racer", [racer.random for racer in _racers.RACERS]
    return whole.copy(deep=True)


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    whole = full(dataset)
    assert [claim.holds for claim in saddle_race.claims(whole)] == [True] * 8
    whole["evaluations"] = whole.evaluations.where(~np.isfinite(whole.evaluations), np.inf).where(
        np.isfinite(whole.evaluations), 1.0
    )
    whole.evaluations.loc[{"racer": "optax Adam"}] = 2.0
    assert [claim.holds for claim in saddle_race.claims(whole)] == [False] * 8


def test_the_figure_shows_every_rule(dataset):
    axes = saddle_race.plot(full(dataset)).axes
    assert len(axes[0].get_yticklabels()) == len(_racers.RACERS)


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(saddle_race.claims, full(dataset)) == []
