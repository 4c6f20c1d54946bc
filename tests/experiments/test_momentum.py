import jax
import numpy as np
import pytest

from experiments import momentum
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    return momentum.run(momentum.Config(starts=2001, steps=2000))


def verdicts(dataset):
    return [claim.holds for claim in momentum.claims(dataset)]


def test_heavy_ball_cycles_where_the_others_converge(dataset):
    assert verdicts(dataset) == [True] * 6


def test_the_counterexample_has_the_derivative_that_the_docstring_gives(x64):
    points = np.array([-2.0, 0.3, 1.2, 1.9, 2.5, 4.0])
    expected = [-50.0, 7.5, 25.2, 25.9, 38.5, 76.0]
    slopes = jax.vmap(jax.grad(momentum.counterexample))(points)
    np.testing.assert_allclose(slopes, expected, rtol=1e-14)


def test_the_cycle_is_one_of_heavy_ball_in_exact_arithmetic():
    def slope(x):
        return 25 * x if x < 1 else x + 24 if x < 2 else 25 * x - 24

    before, now, after = momentum.CYCLE
    for _ in range(3):
        assert after == now - slope(now) / 9 + (now - before) * 4 / 9
        before, now, after = now, after, before


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    off_cycle = dataset.copy(deep=True)
    off_cycle.end.loc[{"optimizer": "heavy ball"}] += 1e-9
    assert verdicts(off_cycle)[0] is False
    always = dataset.copy(deep=True)
    always.end.loc[{"optimizer": "heavy ball"}] = [float(point) for point in momentum.CYCLE]
    assert verdicts(always)[:2] == [True, False]
    never = dataset.copy(deep=True)
    never.end.loc[{"optimizer": "heavy ball"}] = 0.0
    assert verdicts(never)[:2] == [False, False]
    for i, name in ((2, "gradient descent"), (3, "Nesterov")):
        stuck = dataset.copy(deep=True)
        stuck.end.loc[{"optimizer": name}] = np.nan
        assert verdicts(stuck)[i] is None  # not measured
    slow = dataset.copy(deep=True)
    slow.path.loc[{"optimizer": ["heavy ball", "Nesterov"]}] = 1.0
    assert verdicts(slow)[4:] == [False, False]


def test_the_figure_has_three_panels(dataset):
    assert len(momentum.plot(dataset).axes) == 3


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(momentum.claims, dataset) == []
