"""Norms of filters, eigenvectors that bend as they should, planes through points and of paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from jaxopt_course import landscape, nn

KEY = jax.random.key(0)


def filter_norms(kernel):
    return np.linalg.norm(np.reshape(kernel, (-1, kernel.shape[-1])), axis=0)


def test_filters_of_a_direction_get_the_weights_norm_once_and_biases_none():
    params = {"kernel": jax.random.normal(KEY, (3, 3, 4, 5)), "bias": jnp.ones(5)}
    direction = landscape.random_direction(jax.random.key(1), params)
    np.testing.assert_allclose(
        filter_norms(direction["kernel"]), filter_norms(params["kernel"]), rtol=1e-5
    )
    np.testing.assert_array_equal(direction["bias"], 0)


def test_a_unit_s_weights_are_a_filter_in_nnx_and_in_linen():
    """Multiplying the weights into one unit multiplies the direction into this unit alone."""
    model = nn.ConvNet(2, (3, 4), rngs=nnx.Rngs(0))
    params = nn.functional_view(model).params
    linen_params = linen.Dense(4).init(KEY, jnp.ones((1, 3)))["params"]
    for tree, at in (
        (params, lambda p: p["blocks"][1]["layer"]["kernel"]),
        (params, lambda p: p["readout"]["kernel"]),
        (linen_params, lambda p: p["kernel"]),
    ):
        kernel = at(tree)
        factor = jnp.where(jnp.arange(kernel.shape[-1]) == 1, 7.0, 1.0)
        changed = jax.tree.map(
            lambda leaf, k=kernel, f=factor: (
                leaf * f.reshape([1] * (leaf.ndim - 1) + [-1]) if leaf is k else leaf
            ),
            tree,
        )
        before, after = (at(landscape.random_direction(KEY, p)) for p in (tree, changed))
        factors = filter_norms(after) / filter_norms(before)
        np.testing.assert_allclose(factors, np.where(np.arange(len(factors)) == 1, 7, 1), rtol=1e-5)


def test_vectors_and_other_axes_are_moved_if_asked():
    params = {"heads": jnp.ones((2, 3, 4)), "bias": jnp.array([3.0, 4.0])}
    drawn = jax.tree.map(lambda leaf: jax.random.normal(KEY, leaf.shape), params)
    moved = landscape.filter_normalized(drawn, params, vectors=True)
    np.testing.assert_allclose(np.linalg.norm(moved["bias"]), 5, rtol=1e-6)

    def units(path, leaf):
        return (-2, -1) if path == "heads" else None

    moved = landscape.filter_normalized(drawn, params, filter_axes=units)
    np.testing.assert_allclose(
        np.linalg.norm(moved["heads"], axis=0), np.full((3, 4), 2**0.5), 1e-6
    )
    np.testing.assert_array_equal(moved["bias"], 0)
    whole = landscape.filter_normalized(drawn, params, filter_axes=lambda path, leaf: ())
    np.testing.assert_allclose(np.linalg.norm(whole["heads"]), 24**0.5, rtol=1e-6)
    with pytest.raises(ValueError, match=r"filter_axes must give axes .* got \(5,\) for bias"):
        landscape.filter_normalized(drawn, params, filter_axes=lambda path, leaf: (5,))


def test_a_dead_filter_gives_no_nan_nor_does_its_derivative():
    params = {"kernel": jnp.zeros((3, 2))}
    for direction in (params, {"kernel": jnp.ones((3, 2))}):
        moved = landscape.filter_normalized(direction, params)
        np.testing.assert_array_equal(moved["kernel"], params["kernel"])

    def total(kernel):
        return jnp.sum(landscape.filter_normalized({"k": jnp.ones((3, 2))}, {"k": kernel})["k"])

    assert np.isfinite(jax.grad(total)(jnp.zeros((3, 2)))).all()


@pytest.mark.parametrize(("which", "wanted"), [("largest", (5, 3)), ("smallest", (-4, 1)),
                                               ("both", (-4, 5))])  # fmt: skip
def test_along_an_eigenvector_the_objective_bends_by_its_eigenvalue(which, wanted, x64):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    hessian = jnp.asarray(basis @ np.diag([1.0, 5, -4, 3]) @ basis.T)

    def fun(x):
        return x["a"] @ hessian @ x["a"] / 2

    center = {"a": jnp.zeros(4)}
    found = landscape.eigen_directions(fun, center, which=which, key=KEY)
    np.testing.assert_allclose(found.eigenvalues, wanted, rtol=1e-6)
    assert found.residual_norms.max() < 1e-6
    for direction, eigenvalue in zip(found.directions, wanted, strict=True):
        at = landscape.line(fun, center, direction=direction, steps=jnp.array([0.0, 1.0]))
        np.testing.assert_allclose(at.value[1], eigenvalue / 2, rtol=1e-6)


def test_the_plane_through_three_points_holds_them():
    keys = jax.random.split(KEY, 3)
    points = [
        {"a": jax.random.normal(key, (3,)), "b": jax.random.normal(key, (2, 2))} for key in keys
    ]
    found = landscape.through(*points)
    basis = np.stack([np.concatenate([d["a"], d["b"].ravel()]) for d in found.directions])
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-5)

    def distance(x, point):
        return sum(jnp.sum((x[name] - point[name]) ** 2) for name in point)

    for point, (row, column) in zip(points, found.coordinates, strict=True):
        seen = landscape.plane(
            lambda x, point=point: distance(x, point), found.center, found.directions,
            rows=row[None], columns=column[None],
        )  # fmt: skip
        np.testing.assert_allclose(seen.value, 0, atol=1e-10)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)
    seen = landscape.project(stacked, found.center, found.directions)
    np.testing.assert_allclose(seen.coordinates, found.coordinates, atol=1e-5)
    np.testing.assert_allclose(seen.share, 1, rtol=1e-5)


def test_three_points_on_a_line_have_no_plane():
    with pytest.raises(ValueError, match="third must lie to the side"):
        landscape.through(jnp.zeros(3), jnp.ones(3), 0.3 * jnp.ones(3))
    # Under jit nothing raises; there is no second direction then.
    found = jax.jit(landscape.through)(jnp.zeros(3), jnp.ones(3), jnp.zeros(3))
    np.testing.assert_array_equal(found.directions[1], 0)
    assert np.isfinite(found.coordinates).all()


def test_a_path_in_a_plane_is_shown_whole_by_its_principal_directions(x64):
    rng = np.random.default_rng(0)
    path = jnp.asarray(rng.normal(size=(6, 2)) @ rng.normal(size=(2, 9)) + rng.normal(size=9))
    directions = landscape.principal_directions(path)
    basis = np.stack(directions)
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
    seen = landscape.project(path, path[-1], directions)
    np.testing.assert_allclose(seen.share, 1)
    np.testing.assert_allclose(path[-1:] + seen.coordinates @ basis, path, atol=1e-12)


def test_directions_at_an_angle_give_the_steps_along_them(x64):
    first, second = jnp.array([1.0, 0, 0]), jnp.array([1.0, 1e-4, 0])
    points = jnp.array([[3.0, 2e-4, 0], [0, 0, 1.0]])
    seen = landscape.project(points, jnp.zeros(3), (first, second))
    np.testing.assert_allclose(seen.coordinates, [[1, 2], [0, 0]], atol=1e-9)
    np.testing.assert_allclose(seen.share, [1, 0], atol=1e-12)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_directions_of_numbers_whose_squares_are_out_of_range(size):
    drawn = jax.random.normal(jax.random.key(0), (3, 4, 2))
    direction, weights = drawn[0], drawn[1]
    expected = landscape.filter_normalized({"w": direction}, {"w": weights})["w"]
    found = landscape.filter_normalized({"w": size * direction}, {"w": weights})["w"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    found = landscape.filter_normalized({"w": size * direction}, {"w": size * weights})["w"]
    np.testing.assert_allclose(found / size, expected, rtol=1e-5)
    plain = landscape.through(*drawn)
    scaled = landscape.through(*(size * drawn))
    np.testing.assert_allclose(scaled.coordinates / size, plain.coordinates, rtol=1e-4, atol=1e-5)
    for one, other in zip(scaled.directions, plain.directions, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("parameters", [3, 30_000])
def test_nothing_is_seen_in_a_plane_that_two_directions_do_not_span(parameters):
    first, second, point = jax.random.normal(jax.random.key(0), (3, parameters))
    dependent = landscape.project(point[None], 0 * point, (first, -1.7 * first))
    assert jnp.isnan(dependent.coordinates).all()
    assert jnp.isnan(dependent.share).all()
    # Nearly parallel, or of very different lengths, they still do.
    for other in (first + 1e-3 * second, 1e-15 * second):
        seen = landscape.project(point[None], 0 * point, (first, other))
        assert jnp.isfinite(seen.coordinates).all()
        assert jnp.isfinite(seen.share).all()
