"""Lanczos bases stay orthonormal, at breakdowns too, and project exactly."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import _krylov


@functools.partial(jax.jit, static_argnames=("operator", "num_steps"))
def lanczos(operator, start, num_steps):
    return _krylov.lanczos(operator, start, num_steps=num_steps, key=jax.random.key(0))


def test_lanczos_projects_exactly_and_satisfies_its_recurrence(
    x64, symmetric, arrays, orthonormality
):
    matrix, operator = symmetric(40)
    start = np.random.default_rng(1).standard_normal(40)
    krylov = arrays(lanczos(operator, start, 12))
    assert orthonormality(krylov.basis) < 1e-14
    np.testing.assert_allclose(krylov.projected, krylov.basis @ matrix @ krylov.basis.T, atol=1e-14)
    last = np.eye(12)[:, 11:]
    rest = matrix @ krylov.basis.T - krylov.basis.T @ krylov.projected
    np.testing.assert_allclose(
        rest, krylov.coupling * krylov.residual[:, None] @ last.T, atol=1e-13
    )
    # Tridiagonal, as Lanczos proved.
    assert np.max(np.abs(np.triu(krylov.projected, 2))) < 1e-13


def test_extend_goes_on_from_a_basis_that_holds_nearly_all_of_the_next_image(
    x64, arrays, orthonormality
):
    # A maps the residual q_3 to q_0, a row, and to 1e-10 q_4, which one pass would leave inexact.
    rows = np.linalg.qr(np.random.default_rng(2).standard_normal((30, 30)))[0]
    matrix = np.outer(rows[3], rows[0]) + 1e-10 * np.outer(rows[3], rows[4])
    matrix = matrix + matrix.T
    basis = np.zeros((5, 30))
    basis[:3] = rows[:3]
    known = _krylov.Krylov(basis, np.zeros((5, 5)), rows[3], np.float64(0.0))
    extend = jax.jit(
        lambda krylov: _krylov.extend(lambda v: matrix @ v, krylov, 3, 5, key=jax.random.key(0))
    )
    krylov = arrays(extend(jax.tree.map(jnp.asarray, known)))
    assert orthonormality(krylov.basis) < 1e-14
    np.testing.assert_allclose(np.abs(krylov.basis[4] @ rows[4]), 1, atol=1e-14)
    np.testing.assert_allclose(krylov.projected, krylov.basis @ matrix @ krylov.basis.T, atol=1e-14)


BREAKDOWNS = {
    "zero": np.zeros(12),
    "multiple of the identity": 2 * np.ones(12),
    "rank one": np.array([3.0] + 11 * [0.0]),
    "two multiple eigenvalues": np.array(6 * [1.0] + 6 * [-2.0]),
    "tiny": 1e-30 * np.linspace(-1, 1, 12),
    "huge": 1e30 * np.linspace(-1, 1, 12),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lanczos_survives_breakdowns_with_a_complete_basis_and_all_eigenvalues(
    x64, dtype, symmetric, arrays, orthonormality
):
    eps = float(jnp.finfo(dtype).eps)
    operators = np.stack([symmetric(12, values)[0].astype(dtype) for values in BREAKDOWNS.values()])

    def decompose(matrix):
        start = jnp.ones(12, dtype)
        krylov = _krylov.lanczos(lambda v: matrix @ v, start, num_steps=12, key=jax.random.key(1))
        return krylov.basis, jnp.linalg.eigvalsh(krylov.projected)

    bases, values = arrays(jax.jit(jax.vmap(decompose))(operators))
    for name, basis, found in zip(BREAKDOWNS, bases, values, strict=True):
        expected = np.sort(BREAKDOWNS[name])
        assert orthonormality(basis) < 20 * eps, name
        np.testing.assert_allclose(
            found, expected, atol=20 * eps * np.abs(expected).max(), err_msg=name
        )


def test_lanczos_passes_an_invariant_subspace_and_a_zero_start(x64, arrays):
    values = np.arange(1.0, 9.0)

    def operator(v):
        return values * v

    for start in (5 * np.eye(8)[2], np.zeros(8)):
        krylov = arrays(lanczos(operator, start, 8))
        np.testing.assert_allclose(np.linalg.eigvalsh(krylov.projected), values, atol=1e-13)


def test_orthogonal_direction_of_a_complete_basis_is_zero():
    eye = np.eye(5, dtype=np.float32)
    direction = jax.jit(_krylov.orthogonal_direction)
    assert not np.any(direction(eye, jax.random.key(0)))
    last = np.abs(direction(np.where(eye[4][:, None] > 0, 0, eye), jax.random.key(0)))
    np.testing.assert_allclose(last, eye[4], atol=1e-6)


def test_tridiagonal_is_the_projection_while_orthogonality_lasts(x64, symmetric, arrays):
    _, operator = symmetric(40)
    start = np.random.default_rng(1).standard_normal(40)
    expected = arrays(lanczos(operator, start, 12)).projected
    diagonal, beside = arrays(jax.jit(lambda: _krylov.tridiagonal(operator, start, num_steps=12))())
    np.testing.assert_allclose(diagonal, np.diag(expected), atol=1e-11)
    np.testing.assert_allclose(beside, np.diag(expected, 1), atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tridiagonal_passes_breakdowns_with_the_whole_weight_on_true_eigenvalues(
    x64, dtype, symmetric, arrays
):
    eps = float(jnp.finfo(dtype).eps)
    operators = np.stack([symmetric(12, values)[0].astype(dtype) for values in BREAKDOWNS.values()])

    def decompose(matrix):
        return _krylov.tridiagonal(lambda v: matrix @ v, jnp.ones(12, dtype), num_steps=10)

    found = arrays(jax.jit(jax.vmap(decompose))(operators))
    for name, matrix, diagonal, beside in zip(BREAKDOWNS, operators, *found, strict=True):
        nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, -1))
        size = np.abs(BREAKDOWNS[name]).max()
        assert np.max(np.abs(nodes)) <= size * (1 + 20 * eps), name
        exact = np.sum(matrix.astype(np.float64)) / 12
        np.testing.assert_allclose(
            vectors[0] ** 2 @ nodes, exact, atol=20 * eps * size, err_msg=name
        )
