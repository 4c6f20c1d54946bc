import numpy as np
import pytest

from experiments import stationary_points
from tests.experiments.refuting import unrefuted


@pytest.fixture(scope="module")
def dataset():
    surfaces = ("himmelblau", "hyperbola_valley", "quartic_bowl", "monkey_saddle")
    return stationary_points.run(stationary_points.Config(surfaces, resolution=12))


def verdicts(dataset):
    return [claim.holds for claim in stationary_points.claims(dataset)]


def test_the_classification_agrees_with_the_closed_forms(dataset):
    assert verdicts(dataset) == [True] * 6


def test_each_claim_fails_when_its_data_are_wrong(dataset):
    kinds = dataset.copy(deep=True)
    strict = np.flatnonzero(dataset.kind == "STRICT_SADDLE")[0]
    degenerate = np.flatnonzero(dataset.found_kind[1] == "DEGENERATE")[0]
    kinds.found_kind[1, strict] = "MINIMUM"
    kinds.found_kind[0, degenerate] = "MINIMUM"
    kinds.fall[1, strict] = 0.0
    kinds.kind_beside[degenerate] = "DEGENERATE"
    kinds.found_eigenvalues[:, strict] *= 1.001
    assert verdicts(kinds) == [False] * 6
    kinds.found_eigenvalues[1, strict] = np.nan
    assert verdicts(kinds) == [False] * 5 + [None]  # Not measured.
    index = dataset.copy(deep=True)
    index.found_index[0, strict] = 2
    assert verdicts(index) == [False] + [True] * 5


def test_surfaces_without_the_points_in_question_prove_nothing(dataset):
    minima = dataset.isel(point=(dataset.kind == "MAXIMUM").values)
    assert verdicts(minima)[1:3] == [False, False]


def test_every_kind_of_stationary_point_is_drawn(dataset):
    figure = stationary_points.plot(dataset)
    *_, legend = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    told = {text.get_text().replace("-", " ").upper() for text in legend.get_texts()[:-2]}
    assert told == {kind.replace("_", " ") for kind in dataset.kind.values}
    titles = [axes.get_title() for axes in figure.axes]
    assert len([title for title in titles if title]) == dataset.sizes["panel"]


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(stationary_points.claims, dataset) == []
