"""The runs at a small size, and every claim on data where it must fail."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import benign_landscapes
from experiments.benign_landscapes import _runs as _benign_runs
from experiments.benign_landscapes._families import families
from jaxopt_course import saddle

NAME = "tensor component"


# The small experiment takes a minute to compile; what needs it is nightly.
@pytest.fixture(scope="module")
def dataset():
    config = benign_landscapes.Config((NAME, "phase retrieval"), runs=16, searches=32)
    return benign_landscapes.run(config)


def verdicts(dataset):
    return {claim.statement: claim.holds for claim in benign_landscapes.claims(dataset)}


@pytest.mark.nightly
def test_every_claim_holds_at_a_small_size(dataset):
    judged = verdicts(dataset)
    assert len(judged) == 2 * 4
    assert all(judged.values()), judged


@pytest.mark.nightly
def test_the_search_finds_the_saddles_of_the_tensor_by_index(dataset):
    part = dataset.sel(family=NAME)
    part = part.isel(point=part.kind.notnull().values)
    saddles = part.isel(point=benign_landscapes.strict_saddle(part).values)
    # One point of each support, up to sign, with 2 to 5 components of the same sign: the known
    # ones; searches add other signs.
    assert set(saddles["index"].values) == {1, 2, 3, 4}
    np.testing.assert_allclose(saddles.point_height, 2 * (1 - 1 / (saddles["index"] + 1)))


def test_every_problem_is_known_and_does_not_change_along_its_symmetries(x64):
    known = families()
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


def test_a_run_has_left_once_it_has_fallen_by_one_percent_of_its_height():
    values = np.array([[3.0, 2.99, 2.979, 1.0], [3.0, 3.0, 3.0, 2.981]])
    np.testing.assert_array_equal(_benign_runs._left(values, minimum=1.0, every=10), [20, np.inf])


@pytest.mark.nightly
def test_each_claim_fails_when_its_data_are_wrong(dataset):
    def false_claims(name, at, value):
        wrong = dataset.copy(deep=True)
        wrong[name].loc[{"family": NAME} | at] = value
        return [statement for statement, holds in verdicts(wrong).items() if not holds]

    for start, where in ((benign_landscapes.RANDOM, "random"), (benign_landscapes.SADDLE, "sadd")):
        for height in (0.5, np.nan):
            (failed,) = false_claims("end_height", {"start": start, "run": 3}, height)
            assert failed.startswith(f"{NAME}: with noise")
            assert where in failed

    part = dataset.sel(family=NAME)
    first = {"point": int(np.flatnonzero(part.stay.notnull())[0])}
    (stays,) = false_claims("stay", first, 0.0)
    assert "without noise" in stays
    exact = {"point": int(np.flatnonzero(part.gradient_norm.where(part.stay.notnull()) == 0)[0])}
    assert false_claims("moved", exact, 1.0) == [stays]

    for name, value in (
        ("min_eigenvalue", 0.0),
        ("kind", saddle.Kind.DEGENERATE),
        ("kind", saddle.Kind.MINIMUM),
        ("index", 0),
    ):
        (failed,) = false_claims(name, first, value)
        assert "every stationary point" in failed


@pytest.mark.nightly
def test_the_figure_has_a_panel_for_each_problem(dataset):
    titles = [
        axes.get_title(loc="left") or axes.get_title()
        for axes in benign_landscapes.plot(dataset).axes
    ]
    assert titles == list(dataset.family.values)
