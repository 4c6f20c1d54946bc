from pathlib import Path

import numpy as np
import pytest

from experiments import lecture_formulas
from experiments.lecture_formulas import _page as _lecture_page
from tests.experiments.refuting import unrefuted

PAGE = Path(__file__).parents[2] / "docs" / "lecture_formulas.md"


@pytest.fixture(scope="module")
def dataset():
    return lecture_formulas.run(lecture_formulas.Config.quick())


def verdicts(dataset):
    return [claim.holds for claim in lecture_formulas.claims(dataset)]


def test_every_difference_does_what_its_closed_form_says(dataset):
    assert verdicts(dataset) == [True] * 20


def test_each_claim_fails_when_the_two_forms_are_exchanged(dataset):
    exchanged = dataset.isel(form=[1, 0]).assign_coords(form=lecture_formulas.FORMS)
    exchanged["climb"] = dataset.climb[::-1]
    exchanged.momentum_end[:] = [[1.0, 0.9], [1.0, 1.0]]
    assert verdicts(exchanged) == [False] * 20


def test_momentum_must_differ_under_warm_up_as_well_as_agree_at_a_constant_rate(dataset):
    same = dataset.copy(deep=True)
    same.momentum_end[:] = 1.0
    assert verdicts(same).count(False) == 1


def test_the_documentation_page_is_what_the_experiment_measures(dataset):
    """To write it anew: python -m experiments.lecture_formulas docs/lecture_formulas.md."""
    assert PAGE.read_text(encoding="utf-8") == _lecture_page.page(dataset)


def test_the_figure_draws_both_forms_in_every_panel(dataset):
    figure = lecture_formulas.plot(dataset)
    for axes in figure.axes:
        drawn = len(axes.get_lines()) + len(axes.containers)
        assert drawn >= 2
    assert not np.isnan(figure.axes[0].get_ylim()).any()


def test_every_claim_is_refuted_by_some_wrong_measurement(dataset):
    assert unrefuted(lecture_formulas.claims, dataset) == []
