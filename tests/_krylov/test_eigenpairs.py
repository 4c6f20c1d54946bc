"""Extreme eigenpairs, with residuals that are measured and copies that are found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import _krylov


def search(operator, dimension, dtype=None, **options):
    start = jnp.zeros(dimension, dtype)
    run = jax.jit(lambda key: _krylov.extreme_eigenpairs(operator, start, key=key, **options))
    return jax.tree.map(np.asarray, run(jax.random.key(0)))


def test_extreme_eigenpairs_finds_both_ends_with_restarts_and_true_residuals(
    x64, symmetric, orthonormality
):
    matrix, operator = symmetric(300, np.linspace(-1, 1, 300) ** 3)
    pairs = search(operator, 300, num_smallest=3, num_largest=2, basis_size=30)
    expected = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(
        pairs.eigenvalues, np.concatenate([expected[:3], expected[-2:]]), atol=1e-12
    )
    assert pairs.converged.all()
    residuals = matrix @ pairs.eigenvectors.T - pairs.eigenvectors.T * pairs.eigenvalues[None]
    np.testing.assert_allclose(
        pairs.residual_norms, np.linalg.norm(residuals, axis=0), rtol=0.1, atol=1e-15
    )
    assert np.max(pairs.residual_norms) < 1e-8
    assert orthonormality(pairs.eigenvectors) < 1e-8
    # Fewer than 300 products, or forming the matrix would have been cheaper.
    assert int(pairs.num_products) < 300


def test_extreme_eigenpairs_finds_every_copy_of_a_multiple_eigenvalue(x64, symmetric):
    values = np.concatenate([[-2.0, -2.0, -2.0], np.linspace(-1, 1, 97)])
    matrix, operator = symmetric(100, values)
    pairs = search(operator, 100, num_smallest=4, basis_size=24)
    np.testing.assert_allclose(pairs.eigenvalues, [-2.0, -2.0, -2.0, -1.0], atol=1e-9)
    np.testing.assert_allclose(
        pairs.eigenvectors @ matrix @ pairs.eigenvectors.T,
        np.diag(pairs.eigenvalues),
        atol=1e-9,
    )


@pytest.mark.parametrize(("value", "expected"), [(0.0, 0.0), (2.0, 2.0)])
def test_extreme_eigenpairs_of_zero_and_of_the_identity(value, expected, orthonormality):
    pairs = search(
        lambda v: value * v, 60, num_smallest=2, num_largest=1, basis_size=20, max_restarts=20
    )
    np.testing.assert_allclose(pairs.eigenvalues, 3 * [expected], atol=1e-6)
    assert pairs.converged.all()
    assert orthonormality(pairs.eigenvectors) < 1e-5


def test_extreme_eigenpairs_reports_what_has_not_converged(x64, symmetric):
    _, operator = symmetric(200, np.linspace(0, 1, 200) ** 4)  # crowded at 0
    pairs = search(operator, 200, num_smallest=1, basis_size=10, max_restarts=0)
    assert not bool(pairs.converged[0])
    # The residual bounds the distance to the nearest eigenvalue even so.
    assert float(pairs.eigenvalues[0]) - float(pairs.residual_norms[0]) <= 0.0


def test_extreme_eigenpairs_in_float32_claims_only_what_it_measures(symmetric):
    matrix, _ = symmetric(200, np.concatenate([[-1e-3], np.linspace(0, 1, 199)]))
    matrix = jnp.asarray(matrix, jnp.float32)
    pairs = search(lambda v: matrix @ v, 200, num_smallest=1, num_largest=1, basis_size=40)
    vectors = np.asarray(pairs.eigenvectors, np.float64)
    exact = np.asarray(matrix, np.float64)
    true = np.linalg.norm(
        vectors @ exact - np.asarray(pairs.eigenvalues, np.float64)[:, None] * vectors, axis=1
    )
    assert np.all(true <= np.asarray(pairs.residual_norms) + 1e-6)
    assert float(pairs.eigenvalues[0]) < -5e-4


def test_small_problems_are_diagonalized_densely(x64, symmetric):
    matrix, operator = symmetric(7)
    pairs = search(operator, 7, num_smallest=3, num_largest=4)
    np.testing.assert_allclose(pairs.eigenvalues, np.linalg.eigvalsh(matrix), atol=1e-13)


@pytest.mark.parametrize("basis_size", [26, 110])  # restarted, and dense
def test_locked_directions_are_searched_around(x64, symmetric, basis_size):
    matrix, operator = symmetric(100)
    locked = np.linalg.qr(np.random.default_rng(3).standard_normal((100, 4)))[0].T
    locked[2] = 0  # locks nothing
    pairs = search(
        operator, 100, num_smallest=2, num_largest=1, basis_size=basis_size, locked=locked
    )
    projector = np.eye(100) - locked.T @ locked
    expected = np.linalg.eigvalsh(projector @ matrix @ projector)
    np.testing.assert_allclose(pairs.eigenvalues, expected[[0, 1, -1]], atol=1e-9)
    assert pairs.converged.all()
    assert np.max(np.abs(locked @ pairs.eigenvectors.T)) < 1e-13


def test_locked_directions_hide_even_an_eigenspace_that_the_search_exhausts(x64):
    # The identity exhausts every Krylov space at once, and zero would be its smallest eigenvalue.
    values = jnp.where(jnp.arange(60) < 3, 0.0, 1.0)
    pairs = search(lambda v: values * v, 60, num_smallest=2, basis_size=20, locked=jnp.eye(60)[:3])
    np.testing.assert_allclose(pairs.eigenvalues, 1.0, atol=1e-14)


def test_a_search_that_looks_within_the_basis_ends_early_and_keeps_its_tolerance(
    x64, symmetric, orthonormality
):
    # From near an eigenvector a few products do, whatever the size of the basis.
    spectrum = np.append(np.linspace(-1, 1, 199), 3.0)
    matrix, operator = symmetric(200, spectrum)
    near = np.linalg.eigh(matrix)[1][:, -1] + 1e-3 * np.random.default_rng(4).standard_normal(200)
    options = {"num_largest": 1, "basis_size": 40, "tolerance": 1e-6, "check_copies": False}

    def from_start(start, **more):
        run = jax.jit(
            lambda start: _krylov.extreme_eigenpairs(
                operator, start, key=jax.random.key(0), **options, **more
            )
        )
        return jax.tree.map(np.asarray, run(jnp.asarray(start)))

    full, early = from_start(near), from_start(near, look_every=1)
    assert (int(full.num_products), early.converged.all()) == (41, True)
    assert int(early.num_products) < 12
    assert full.residual_norms[0] < 1e-9 < early.residual_norms[0] <= 3e-6
    np.testing.assert_allclose(early.eigenvalues, 3.0, atol=1e-11)
    # In the middle of a restarted basis, at both ends, around what is locked.
    locked = np.linalg.qr(np.random.default_rng(3).standard_normal((200, 3)))[0].T
    options |= {"num_smallest": 2, "basis_size": 24, "tolerance": 1e-6, "locked": locked}
    full, early = from_start(near), from_start(near, look_every=3)
    assert early.converged.all()
    assert int(early.num_products) < int(full.num_products)
    np.testing.assert_allclose(early.eigenvalues, full.eigenvalues, atol=1e-9)
    assert orthonormality(early.eigenvectors) < 1e-8
    assert np.max(np.abs(locked @ early.eigenvectors.T)) < 1e-12


def test_rows_that_are_not_filled_are_no_eigenpairs(x64, orthonormality):
    # Of a multiple of the identity all Ritz values are equal, that of a row without vector, too.
    pairs = search(
        lambda v: 2 * v, 60, num_smallest=2, num_largest=1, look_every=1, check_copies=False
    )
    np.testing.assert_allclose(pairs.eigenvalues, 2.0, atol=1e-14)
    assert pairs.converged.all()
    assert orthonormality(pairs.eigenvectors) < 1e-13
    assert 3 + 3 <= int(pairs.num_products) <= 26 + 3


def test_extreme_eigenpairs_of_nan_ends_without_convergence():
    pairs = search(lambda v: v * jnp.nan, 50, num_smallest=1)
    assert not bool(pairs.converged[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"num_smallest \+ num_largest must lie in \[1, 50\]"),
        ({"num_smallest": 51}, r"got 51"),
        ({"num_smallest": 5, "basis_size": 6}, "basis_size must be at least 7, got 6"),
        ({"num_smallest": 1, "look_every": 1}, "look_every must be None with check_copies, got 1"),
    ],
)
def test_extreme_eigenpairs_refuses_impossible_requests(options, message):
    with pytest.raises(ValueError, match=message):
        search(lambda v: v, 50, **options)
