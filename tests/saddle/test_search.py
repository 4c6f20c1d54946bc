"""A census finds every stationary point that is known to be there, and nothing else."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import problems, saddle, transforms
from jaxopt_course.saddle import Kind, Outcome
from jaxopt_course.saddle._search import group_by_distance
from tests.compilations import compilations


def starts_of(problem, runs, seed=0):
    return jax.vmap(problem.init)(jax.random.split(jax.random.key(seed), runs))


def assert_same_points(census, known, features=lambda params: params):
    """Compare with known points by position (of `features`), value, index and nullity."""
    assert census.num_left_over == 0
    assert census.num_points == len(known)
    at = np.stack([np.ravel(features(point.params)) for point in known])
    found = np.asarray(jax.vmap(lambda x: jnp.ravel(features(x)))(census.params))
    distance = np.linalg.norm(found[:, None] - at[None], axis=2)
    nearest = distance.argmin(axis=1)
    assert sorted(nearest) == list(range(len(known)))
    np.testing.assert_array_less(distance.min(axis=1), 1e-8)
    known = [known[i] for i in nearest]
    np.testing.assert_allclose(census.value, [point.value for point in known], atol=1e-9)
    assert census.point.index.tolist() == [point.index for point in known]
    assert census.point.nullity.tolist() == [point.nullity for point in known]
    return known


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("problem", "method"),
    [
        (problems.himmelblau(), "newton"),
        (problems.six_hump_camel(), "eigenvector_following"),
        (problems.mueller_brown(), "gradient_norm"),
    ],
    ids=lambda case: getattr(case, "name", case),
)
def test_census_of_a_surface_is_complete(problem, method):
    runs = 512
    index = jnp.arange(runs) % 3 if method == "eigenvector_following" else None
    census = saddle.find(problem.fun, starts_of(problem, runs), method=method, index=index)

    known = assert_same_points(census, problem.stationary_points)
    assert [Kind(kind).name for kind in census.point.kind.tolist()] == [p.kind for p in known]
    # By index, and by value within it.
    order = np.lexsort((census.value, census.point.index))
    assert order.tolist() == list(range(len(known)))
    # What the points say of the runs is what the runs say of the points.
    at, ended = np.asarray(census.runs.point), np.asarray(census.runs.outcome)
    assert np.bincount(at[at >= 0]).tolist() == census.count.tolist()
    np.testing.assert_allclose(census.share, np.asarray(census.count) / runs)
    np.testing.assert_array_equal(at >= 0, ended == Outcome.STATIONARY)
    np.testing.assert_allclose(census.runs.params[at >= 0], census.params[at[at >= 0]], atol=1e-6)
    if index is not None:
        assert np.all(np.asarray(census.point.index)[at[at >= 0]] == index[at >= 0])
    # So it is said in words.
    minima = census.point.kind == Kind.MINIMUM
    reached = f"reached by {int(census.count[minima].sum())} searches"
    found = next(line for line in str(census).splitlines() if f"  {minima.sum()} minim" in line)
    assert reached in found
    assert str(census).startswith(f"{len(known)} stationary points from {runs} searches\n")
    assert f"{(ended == Outcome.STATIONARY).sum()} stationary" in str(census.runs)


@pytest.mark.usefixtures("x64")
def test_census_of_a_factorization_is_the_subsets_of_eigenvectors():
    problem = problems.symmetric_factorization([5.0, 3.0, 2.0, 1.0], rank=2, key=jax.random.key(1))
    runs = 512
    scales = jnp.linspace(0.05, 1.5, runs)[:, None, None]  # Few large starts lead to the origin.
    census = saddle.find(
        problem.fun,
        scales * starts_of(problem, runs),
        method="levenberg_marquardt",
        canonical=lambda u: u @ u.T,
        null_space=lambda u: (u @ jnp.array([[0.0, 1.0], [-1.0, 0.0]]))[None],
    )
    known = assert_same_points(census, problem.stationary_points, lambda u: u @ u.T)
    assert len(known) == 11
    for i, point in enumerate(known):
        np.testing.assert_allclose(census.point.eigenvalues[i], point.eigenvalues, atol=1e-7)
    assert [Kind(kind).name for kind in census.point.kind.tolist()] == [p.kind for p in known]


@pytest.mark.usefixtures("x64")
def test_eigenvector_following_reaches_the_index_asked_for_in_ten_dimensions():
    dimension, runs = 10, 256
    coupling = jax.random.normal(jax.random.key(3), (dimension, dimension))

    def fun(x):
        return jnp.sum((x**2 - 1) ** 2) / 4 + 0.15 * x @ coupling @ x

    starts = jax.random.normal(jax.random.key(0), (runs, dimension))
    index = jnp.arange(runs) % 5
    census = saddle.find(fun, starts, method="eigenvector_following", index=index)
    there = np.asarray(census.runs.outcome == Outcome.STATIONARY)
    assert np.mean(there) >= 0.95
    # Independently of what the search says of itself.
    x = np.asarray(census.runs.params)[there]
    symmetric = 0.15 * np.asarray(coupling + coupling.T)
    assert np.max(np.abs(x**3 - x + x @ symmetric)) < 1e-8
    hessians = symmetric + (3 * x**2 - 1)[:, :, None] * np.eye(dimension)
    negative = np.sum(np.linalg.eigvalsh(hessians) < 0, axis=1)
    np.testing.assert_array_equal(negative, index[there])


def test_minima_of_the_gradient_norm_that_are_not_stationary_are_refused():
    # g = (x^2 + 0.1) (x - 3): |g| has a minimum near 0, where it is not zero.
    def fun(params):
        x, y = params["x"], params["y"]
        return x**4 / 4 - x**3 + 0.05 * x**2 - 0.3 * x + jnp.sum(y**2)

    find = partial(saddle.find, fun, method="gradient_norm", max_points=3)
    starts = {
        "x": jnp.array([-1.0, -0.3, 0.2, 0.5, 2.7, 3.5]),
        "y": jnp.linspace(-1, 1, 12).reshape(6, 2),
    }
    # Under `jit` the points are padded.
    census = jax.jit(find)(starts)
    assert [Outcome(o).name for o in census.runs.outcome.tolist()] == 4 * ["STALLED"] + [
        "STATIONARY",
        "STATIONARY",
    ]
    assert census.num_points == 1
    assert census.count.tolist() == [2, 0, 0]
    assert census.point.kind.tolist() == [Kind.MINIMUM, Kind.NOT_STATIONARY, Kind.NOT_STATIONARY]
    assert census.value.tolist()[1:] == [np.inf, np.inf]
    assert census.runs.point.tolist() == [-1, -1, -1, -1, 0, 0]
    assert census.params["x"].dtype == jnp.float32
    np.testing.assert_allclose(census.params["x"][0], 3.0, rtol=1e-6)
    np.testing.assert_allclose(census.params["y"][0], np.zeros(2), atol=1e-6)


def classes(census, runs):
    """Return the index of the points at which these runs ended, -1 where they found nothing."""
    at = np.asarray(census.runs.point)[runs]
    return np.where(at < 0, -1, np.asarray(census.point.index)[at])


@pytest.mark.usefixtures("x64")
def test_the_minima_that_descent_reaches_are_in_the_census():
    # A draw of matrix completion with a bad minimum. Newton's method finds saddles alone.
    problem = problems.matrix_completion(
        [2.0, 1.0],
        dimension=8,
        sampling_probability=0.8,
        key=jax.random.key(18),
        init_distribution="uniform",
    )
    runs = 24
    starts = starts_of(problem, runs, seed=2)
    descents = saddle.escape(
        problem.fun, transforms.gradient_descent(0.02), starts, max_steps=5000, target_value=1e-8
    )
    reached = np.unique(np.asarray(descents.value).round(5))
    np.testing.assert_allclose(reached, [0, 0.04197], atol=1e-5)

    census = saddle.find(
        problem.fun,
        starts,
        canonical=lambda u: u @ u.T,
        # The rotations, along which minima are flat, are for `find` to see.
    )
    minima = np.asarray(census.point.kind) == Kind.MINIMUM
    np.testing.assert_allclose(np.asarray(census.value)[minima], reached, atol=1e-5)
    assert np.all(classes(census, slice(runs, None)) == 0)
    newton = classes(census, slice(runs))
    assert np.sum(newton > 0) > runs / 2
    assert not np.any(newton == 0)


def test_without_a_method_every_start_is_searched_from_twice():
    def fun(x):
        return jnp.sum((x**2 - 1) ** 2)  # 4 minima, 4 saddles, a maximum.

    runs = 30
    starts = jax.random.uniform(jax.random.key(1), (runs, 2), minval=-1.5, maxval=1.5)
    census = saddle.find(fun, starts)
    assert census.num_points == 9
    assert census.runs.params.shape == (2 * runs, 2)
    assert np.all(classes(census, slice(runs, None)) == 0)
    assert set(classes(census, slice(runs))) == {0, 1, 2}
    assert census.count.sum() == 2 * runs
    np.testing.assert_allclose(census.share, census.count / (2 * runs))
    alone = saddle.find(fun, starts, method="newton")
    assert alone.runs.params.shape == (runs, 2)
    np.testing.assert_allclose(census.runs.params[:runs], alone.runs.params, atol=1e-6)
    np.testing.assert_array_equal(census.runs.steps[:runs], alone.runs.steps)

    # An index is that of both runs of a start.
    index = jnp.arange(runs) % 2
    asked = saddle.find(fun, starts, index=index)
    newton, following = classes(asked, slice(runs)), classes(asked, slice(runs, None))
    assert np.all((newton == index) | (newton == -1))
    assert np.mean(following == index) > 0.9
    assert np.all((following == index) | (following == -1))


TRACES = []


def runaway(x):
    """Return x^2 exp(-x): a minimum at 0, a maximum at 2, and slopes that vanish at infinity."""
    TRACES.append(x)
    return x[0] ** 2 * jnp.exp(-x[0]) + x[1] ** 2


def test_runs_that_fail_say_so_and_leave_the_others_alone():
    find = partial(saddle.find, method="newton")
    line = jnp.array([-0.5, jnp.nan, 0.2, 1.9, 12.0, -200.0, 2.2, 5.0])
    starts = jnp.stack([line, 0 * jnp.arange(8.0)], axis=1)
    census = find(runaway, starts, index=jnp.array([0, 0, 0, 0, 0, 0, 1, 0]))
    outcome = [Outcome(o).name for o in census.runs.outcome.tolist()]
    assert outcome[1] == "DIVERGED"
    assert outcome[5] == "DIVERGED"  # exp(200) is infinite in float32.
    assert outcome[4] not in ("STATIONARY", "WRONG_INDEX")
    assert outcome[7] not in ("STATIONARY", "WRONG_INDEX")
    assert outcome[3] == "WRONG_INDEX"
    assert [outcome[i] for i in (0, 2, 6)] == ["STATIONARY"] * 3
    np.testing.assert_allclose(census.params, [[0, 0], [2, 0]], atol=1e-5)
    assert census.count.tolist() == [2, 1]
    traces = len(TRACES)

    # Other starts, indices and tolerances, the same program; each run as it was. The one trace is
    # that of the inspection, which the first call's is compared with.
    turned = find(runaway, starts[::-1], tolerance=1e-4, max_steps=150)
    assert len(TRACES) == traces + 1
    assert turned.count.tolist() == [2, 2]
    alone = find(runaway, jnp.repeat(starts[2:3], 8, axis=0))
    np.testing.assert_array_equal(alone.runs.params[0], census.runs.params[2])
    assert alone.runs.steps[0] == census.runs.steps[2]


CURVED = 20
COUPLING = jax.random.normal(jax.random.key(3), (CURVED, CURVED))


def coupled_wells(x):
    return jnp.sum((x**2 - 1) ** 2) / 4 + 0.15 * x @ COUPLING @ x


class Interruption(Exception):
    """Stands for Ctrl-C or what a signal handler raises."""


def test_a_census_has_the_same_bits_on_two_devices_and_after_an_interruption(tmp_path):
    # Twenty dimensions: LAPACK divides their batches among threads, on which two devices that
    # waited for each other's would wait for ever.
    search = partial(
        saddle.find,
        coupled_wells,
        jax.random.normal(jax.random.key(0), (256, CURVED)),
        max_steps=100,
        lanes=32,
    )
    progress = []
    whole = search(devices=jax.devices()[:1], callback=progress.append)
    assert progress[-1][:2] == (512, 512)  # Two a start.
    assert whole.num_points > 1

    def interrupt(state):
        if state.ended > 50:
            raise Interruption

    two = {"devices": jax.devices()[:2], "checkpoint": tmp_path}
    with pytest.raises(Interruption):
        search(callback=interrupt, **two)
    jax.tree.map(np.testing.assert_array_equal, search(**two), whole)
    with pytest.raises(ValueError, match="method = None, this one has gradient_norm"):
        search(method="gradient_norm", **two)


def test_a_census_within_a_traced_function_is_that_outside():
    def minima(depth):
        return saddle.find(
            lambda x: jnp.sum(depth * (x**2 - 1) ** 2), jnp.linspace(-2, 2, 10)[:, None]
        )

    depths = jnp.array([1.0, 3.0])
    inside = jax.jit(jax.vmap(minima))(depths)
    for i, depth in enumerate(depths):
        outside = minima(depth)
        assert inside.num_points[i] == outside.num_points == 3
        np.testing.assert_allclose(inside.params[i, :3], outside.params, atol=1e-6)
    with pytest.raises(ValueError, match="callback must be None within a traced function"):
        jax.jit(
            lambda depth: saddle.find(
                lambda x: depth * jnp.sum(x**2), jnp.ones((2, 1)), callback=print
            )
        )(1.0)


def test_ends_are_grouped_around_the_best_of_them():
    features = jnp.array([[0.0], [0.09], [0.18], [5.0], [jnp.nan], [0.0], [5.001]])
    residual = jnp.array([3.0, 1.0, 2.0, 2.0, 0.0, 0.0, 1.0])
    eligible = jnp.array([True] * 5 + [False, True])
    group = partial(group_by_distance, features, residual, eligible, tolerance=0.1)
    groups = group(max_groups=5)
    assert groups.count == 3
    assert groups.representative[:3].tolist() == [4, 1, 6]
    assert groups.group.tolist() == [1, 1, 1, 2, 0, -1, 2]
    # A ball around the representative: 0.09 reaches both neighbours, 0 would not reach 0.18.
    assert group(max_groups=2).group.tolist() == [1, 1, 1, -1, 0, -1, -1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "bfgs"}, ValueError, "method must be one of"),
        ({"method": "eigenvector_following"}, ValueError, "index must be given"),
        ({"index": 3}, ValueError, r"index must lie in \[0, 2\], got 3"),
        ({"index": 1.0}, TypeError, "index must be an integer"),
        ({"index": jnp.zeros(3, int)}, ValueError, r"index must have shape \(\) or \(4,\)"),
        ({"starts": jnp.float32(1)}, ValueError, "runs as its leading axis"),
        ({"starts": jnp.zeros((4, 2), int)}, TypeError, "starts must have a real floating dtype"),
        ({"starts": {"a": jnp.zeros(2), "b": jnp.zeros(3)}}, ValueError, "agree on the number"),
        ({"starts": jnp.zeros((0, 2))}, ValueError, "at least one parameter"),
        ({"fun": lambda x: x}, TypeError, "fun must return one real number"),
        ({"max_steps": 1.5}, TypeError, "max_steps must be an integer"),
        ({"max_points": 0}, ValueError, "max_points must be positive"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be positive"),
        ({"merge_tolerance": -1.0}, ValueError, "merge_tolerance must not be negative"),
        ({"trust_radius": -1.0}, ValueError, "trust_radius must be positive"),
        ({"null_space": jnp.zeros((1, 2))}, TypeError, "null_space must be a function"),
        ({"canonical": 3}, TypeError, "canonical must be a function"),
        ({"order": 3}, ValueError, "order must be one of"),
        ({"lanes": 0}, ValueError, "lanes must be positive"),
        ({"devices": ()}, ValueError, "devices must hold at least one device"),
        ({"callback": 3}, TypeError, "callback must be"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be"),
        ({"checkpoint_every": 0.0}, ValueError, "checkpoint_every must be positive"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    arguments: dict[str, Any] = {
        "fun": lambda x: jnp.sum(x**2),
        "starts": jnp.zeros((4, 2)),
        **change,
    }
    with pytest.raises(error, match=message):
        saddle.find(**arguments)


def test_data_that_changed_are_seen_and_compile_nothing():
    centre = 0.0
    fun = lambda x: jnp.sum((x - jnp.asarray(centre)) ** 2)  # noqa: E731
    starts = jnp.ones((2, 2))

    def at(place):
        centre = jnp.asarray(place)
        return lambda x: jnp.sum((x - centre) ** 2)

    for centre in (0.0, 5.0):
        np.testing.assert_allclose(saddle.find(fun, starts).params, [[centre] * 2], atol=1e-4)
    saddle.find(at(1.0), starts, canonical=lambda x: x + 1)
    with compilations() as compiled:
        census = saddle.find(at(3.0), starts, canonical=lambda x: x + 1)
    np.testing.assert_allclose(census.params, [[3.0] * 2], atol=1e-4)
    assert compiled == []
