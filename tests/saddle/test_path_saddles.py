"""The saddles that a run passes are the known ones, each beside the entry where the run slowed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import problems, saddle, transforms
from jaxopt_course.saddle import Outcome
from jaxopt_course.saddle._path_saddles import slow_places


@pytest.mark.usefixtures("x64")
def test_a_linear_network_passes_the_saddles_of_rank_0_and_1():
    problem = problems.linear_network(
        [2.0, 1.0], widths=(2, 2, 2), key=jax.random.key(1), init_scale=1e-3
    )
    start = jax.tree.map(jnp.float64, problem.init(jax.random.key(0)))
    run = transforms.path(problem.fun, optax.sgd(0.05), start, 800, every=4)
    symmetries = saddle.change_of_basis_null_space

    def passed(**options):
        return saddle.path_saddles(
            problem.fun, run.observed["params"], steps=run.steps, null_space=symmetries, **options
        )

    found = passed()
    # Half the sum of squares of the singular values left out; (2 - r)**2 ways down at rank r.
    np.testing.assert_allclose(found.value, [2.5, 0.5, 0], atol=1e-12)
    assert found.point.name == ["STRICT_SADDLE", "STRICT_SADDLE", "MINIMUM"]
    assert found.point.index.tolist() == [4, 1, 0]
    for weights in found.params:
        assert np.linalg.matrix_rank(weights, tol=1e-6).tolist() == [0, 1, 2]

    # Step, entry and distance belong to one entry of the path.
    assert found.step.tolist() == (4 * found.entry).tolist() == sorted(found.step.tolist())
    beside = jax.tree.map(
        lambda leaf, at: leaf[found.entry] - at, run.observed["params"], found.params
    )
    np.testing.assert_allclose(
        found.distance, jax.vmap(optax.tree.norm)(beside), rtol=1e-3, atol=1e-12
    )
    np.testing.assert_allclose(run.value[found.entry[:2]], [2.5, 0.5], atol=0.02)

    # Every place says what it led to.
    places = found.places
    assert places.outcome.tolist() == [Outcome.STATIONARY] * places.entry.size
    assert set(places.point.tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(places.gradient_norm, run.gradient_norm[places.entry])
    np.testing.assert_array_equal(places.value, run.value[places.entry])

    # What is too far away is left out, and its place says so.
    size = optax.tree.norm(jax.tree.map(lambda leaf: leaf[1], found.params))
    near = passed(max_distance=0.99 * float(found.distance[1] / (1 + size)))
    assert near.point.index.tolist() == [4, 0]
    np.testing.assert_array_equal(near.value, found.value[jnp.array([0, 2])])
    led = {0: 0, 1: -1, 2: 1}
    assert near.places.point.tolist() == [led[point] for point in places.point.tolist()]


def test_a_plateau_that_is_no_stationary_point_leads_nowhere():
    path = jnp.linspace(-1, 1, 11, dtype=jnp.float32)
    found = saddle.path_saddles(lambda x: x**3 / 3 + x / 10, path)
    assert found.places.entry.tolist() == [5]
    assert found.places.outcome.tolist() == [Outcome.STALLED]
    assert found.places.point.tolist() == [-1]
    assert found.value.shape == found.point.kind.shape == found.params.shape == (0,)


@pytest.mark.parametrize(
    ("norm", "places"),
    [
        # Falling, rising, a valley, ripples below a factor of two, a valley among ripples.
        ([3, 2, 1], [2]),
        ([1, 2, 3], [0]),
        ([4, 1, 4], [1]),
        ([8, 6, 7, 5, 6, 4], [5]),
        ([1, 5, 3, 4, 2.5, 5, 0.5], [0, 4, 6]),
        # The start, at a saddle, and the way in from above it.
        ([1, 0.9, 4, 0.5], [1, 3]),
        # Flat stretches have one place, the first entry; a constant path has one.
        ([4, 1, 1, 1, 4], [1]),
        ([2, 2, 2], [0]),
        # Two zeros with a rise between them; two without.
        ([0, 1, 0], [0, 2]),
        ([1, 0, 0, 1], [1]),
        # What is not finite is no place, and no way down.
        ([4, 1, np.nan, 0.5], [1, 3]),
        ([4, 1, np.inf], [1]),
        ([np.nan, np.nan], []),
    ],
)
def test_slow_places_rise_twofold_before_anything_lower(norm, places):
    assert slow_places(np.array(norm, float), 2.0).tolist() == places


def test_slow_places_are_what_their_definition_says():
    rng = np.random.default_rng(0)
    for prominence in (1.0, 1.5, 3.0):
        for _ in range(30):
            norm = np.exp(rng.normal(size=rng.integers(1, 20)))
            assert slow_places(norm, prominence).tolist() == by_definition(norm, prominence)


def by_definition(norm, prominence):
    places = []
    for i, height in enumerate(norm):
        lower = [j for j in range(norm.size) if norm[j] < height]
        tops = [max(norm[max(j for j in lower if j < i) : i + 1])] if min([*lower, i]) < i else []
        tops += [max(norm[i : min(j for j in lower if j > i)])] if max([*lower, i]) > i else []
        if not tops or (min(tops) >= prominence * height and min(tops) > height):
            places.append(i)
    return places


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": jnp.arange(2)}, "steps must be 3 numbers, one an entry, got 2"),
        ({"prominence": 0.5}, "prominence must be at least 1, got 0.5"),
        ({"max_distance": 0.0}, "max_distance must be positive"),
        ({"path": jnp.full(3, jnp.nan)}, "path must have entries at which the gradient"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments, said):
    arguments = {"path": jnp.ones(3)} | arguments
    with pytest.raises(ValueError, match=said):
        saddle.path_saddles(lambda x: x**2, **arguments)


def test_a_traced_path_is_refused():
    with pytest.raises(TypeError, match="outside of jit and vmap"):
        jax.jit(lambda path: saddle.path_saddles(lambda x: x**2, path))(jnp.ones(3))
