"""Traces, diagonals and densities from random probes, with errors as large as they say."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxopt_course import saddle

N = 60
SHAPES = {"a": jnp.zeros((4, 5)), "b": jnp.zeros(N - 20)}


def matrix(values):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))[0]
    return (basis * values) @ basis.T


DECAYING = matrix(1.0 / np.arange(1, N + 1) ** 2)


@functools.partial(jax.jit, static_argnames=("estimator", "num_probes", "method"))
def estimate(estimator, matrix, keys, num_probes, method):
    def fun(x):
        flat = jnp.concatenate([x["a"].ravel(), x["b"]])
        return flat @ (matrix @ flat) / 2

    x = jax.tree.map(lambda leaf: leaf.astype(matrix.dtype), SHAPES)
    return jax.vmap(lambda key: estimator(fun, x, num_probes=num_probes, key=key, method=method))(
        keys
    )


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_trace_is_unbiased_with_the_standard_error_it_states(x64, method):
    keys = jax.random.split(jax.random.key(0), 400)
    found = estimate(saddle.trace, DECAYING, keys, 30, method)
    value, stated = np.asarray(found.value), np.asarray(found.standard_error)
    actual = np.std(value, ddof=1)
    assert abs(np.mean(value) - np.trace(DECAYING)) < 4 * actual / 20
    np.testing.assert_allclose(np.sqrt(np.mean(stated**2)), actual, rtol=0.15)
    assert np.all(found.num_products == 30)
    # What Hutch++ is for; Hutchinson's error here is 0.16, from 2 (|A|_F^2 - |diag A|^2) / 30.
    assert (actual < 0.03) == (method == "hutch++")


@pytest.mark.parametrize("method", ["hutchinson", "diag++"])
def test_diagonal_is_unbiased_with_the_standard_error_it_states(x64, method):
    keys = jax.random.split(jax.random.key(1), 400)
    found = estimate(saddle.diagonal, DECAYING, keys, 30, method)
    assert jax.tree.map(lambda leaf: leaf.shape[1:], found.value) == {"a": (4, 5), "b": (N - 20,)}
    flat = jax.vmap(lambda tree: jnp.concatenate([tree["a"].ravel(), tree["b"]]))
    value, stated = np.asarray(flat(found.value)), np.asarray(flat(found.standard_error))
    actual = np.std(value, axis=0, ddof=1)
    assert np.all(np.abs(np.mean(value, axis=0) - np.diag(DECAYING)) < 5 * actual / 20)
    np.testing.assert_allclose(np.sqrt(np.mean(stated**2)), np.sqrt(np.mean(actual**2)), rtol=0.15)
    assert (np.mean(actual) < 0.01) == (method == "diag++")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_diagonal_matrices_and_low_rank_are_exact(x64, dtype):
    eps = float(jnp.finfo(dtype).eps)
    keys = jax.random.split(jax.random.key(0), 400)
    diagonal = np.diag(np.linspace(-1, 3, N)).astype(dtype)
    found = estimate(saddle.trace, diagonal, keys, 30, "hutchinson")
    assert found.value.dtype == dtype
    np.testing.assert_allclose(found.value, np.trace(diagonal), rtol=20 * eps)
    assert np.all(found.standard_error <= 20 * eps * N)
    # Four eigenvalues fit into the space of ten vectors that Hutch++ treats exactly.
    low_rank = matrix(np.where(np.arange(N) < 4, 2.0, 0.0)).astype(dtype)
    found = estimate(saddle.trace, low_rank, keys, 30, "hutch++")
    np.testing.assert_allclose(found.value, 8.0, rtol=100 * eps)
    zero = estimate(saddle.trace, 0 * low_rank, keys, 30, "hutch++")
    assert not np.any(zero.value)
    assert np.all(zero.finite)


def test_keys_repeat_and_non_finite_hessians_are_reported(x64):
    keys = jax.random.split(jax.random.key(0), 400)
    once, again = (estimate(saddle.trace, DECAYING, keys, 30, "hutchinson") for _ in range(2))
    np.testing.assert_array_equal(once.value, again.value)
    broken = DECAYING.copy()
    broken[3, 3] = np.inf
    assert not np.any(estimate(saddle.trace, broken, keys, 30, "hutchinson").finite)


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (saddle.trace, {"num_probes": 1}, "num_probes must be at least 2"),
        (saddle.trace, {"num_probes": 2, "method": "hutch++"}, "num_probes must be at least 4"),
        (saddle.trace, {"num_probes": 9, "method": "diag++"}, "method must be one of 'hutchinson'"),
        (saddle.diagonal, {"num_probes": 9, "method": "x"}, "method must be one of 'hutchinson'"),
    ],
)
def test_impossible_requests_are_refused(estimator, options, message):
    with pytest.raises(ValueError, match=message):
        estimator(lambda x: x @ x, jnp.ones(3), key=jax.random.key(0), **options)


# The spectral density.
SIZE, STEPS, PROBES = 80, 24, 10
RNG = np.random.default_rng(0)
VALUES = np.concatenate([[4.0, 6.0], RNG.standard_normal(SIZE - 2) / 4])
BASIS = np.linalg.qr(RNG.standard_normal((SIZE, SIZE)))[0]
MATRIX = (BASIS * VALUES) @ BASIS.T
GRID = np.linspace(-2, 7, 400)


@functools.partial(jax.jit, static_argnames=("num_steps", "reorthogonalize"))
def spectrum(matrix, keys, num_steps=STEPS, reorthogonalize=False):
    def run(key):
        return saddle.spectral_density(
            lambda x: x @ (matrix @ x) / 2,
            jnp.zeros(SIZE, matrix.dtype),
            num_steps=num_steps,
            num_probes=PROBES,
            key=key,
            reorthogonalize=reorthogonalize,
        )

    return jax.vmap(run)(keys)


@jax.jit
def judged(found):
    def one(found):
        return found.moments(4), found.density(GRID, 0.2), found.cumulative(GRID)

    return jax.vmap(one)(found)


def test_moments_density_and_shares_are_unbiased_with_the_errors_they_state(x64):
    found = spectrum(MATRIX, jax.random.split(jax.random.key(0), 40))
    moments, density, shares = jax.tree.map(np.asarray, judged(found))
    expected = [np.mean(VALUES**p) for p in range(5)]
    np.testing.assert_allclose(moments.value[:, 0], 1, rtol=1e-13)
    exact = np.mean(scipy.stats.norm.pdf(GRID[:, None], VALUES, 0.2), axis=1)
    for estimate, truth in ((moments, expected), (density, exact)):
        error = np.std(estimate.value, axis=0, ddof=1)
        assert np.all(np.abs(np.mean(estimate.value, axis=0) - truth) <= 5 * error / 40**0.5 + 1e-9)
        stated = np.sqrt(np.mean(estimate.standard_error**2, axis=0))
        # Nowhere wrong by a large factor; 40 estimates of 10 probes each scatter by a fifth.
        near = error > 1e-3 * np.max(error)
        np.testing.assert_allclose(stated[near], error[near], rtol=0.6)
        np.testing.assert_allclose(np.mean(stated[near] / error[near]), 1, atol=0.15)
    np.testing.assert_allclose(np.trapezoid(density.value[0], GRID), 1, atol=1e-5)
    assert np.all(np.diff(shares.value, axis=1) >= 0)
    between = (GRID > 2) & (GRID < 3.5)  # all but the two outliers, whose weight varies
    np.testing.assert_allclose(np.mean(shares.value[:, between]), 1 - 2 / SIZE, atol=0.01)
    assert np.all(found.num_products == STEPS * PROBES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_plain_recurrence_serves_as_well_as_an_orthogonal_basis(x64, dtype):
    # 60 steps for 2 outliers: without re-orthogonalization they come back many times.
    key = jax.random.split(jax.random.key(1), 1)
    matrix = jnp.asarray(MATRIX, dtype)
    plain, full = (spectrum(matrix, key, 60, option) for option in (False, True))
    assert plain.nodes.dtype == dtype
    close = np.asarray(plain.nodes > 5.9).sum(), np.asarray(full.nodes > 5.9).sum()
    assert close[0] > close[1] == PROBES
    (_, first, _), (_, second, _) = judged(plain), judged(full)
    difference = np.max(np.abs(np.asarray(first.value - second.value)))
    assert difference < {"float32": 2e-3, "float64": 1e-3}[dtype] * np.max(first.value)
    assert difference < 0.05 * np.max(first.standard_error)


def test_degenerate_and_non_finite_spectra(x64):
    key = jax.random.split(jax.random.key(1), 1)
    for value in (0.0, 2.0):
        found = jax.tree.map(lambda leaf: leaf[0], spectrum(value * jnp.eye(SIZE), key, 60))
        moments = found.moments(2)
        np.testing.assert_allclose(moments.value, [1, value, value**2], atol=1e-12)
        assert found.finite
        assert np.isfinite(found.density(GRID).value).all()
    assert not spectrum(jnp.nan * jnp.eye(SIZE), key, 60).finite


def test_gauss_newton_spectra_are_not_negative(x64):
    data = RNG.standard_normal((20, 5))
    objective = saddle.GaussNewton(lambda w: jnp.tanh(data @ w), lambda out: jnp.sum(out**2) / 2)
    found = jax.jit(
        lambda key: saddle.spectral_density(
            objective, jnp.ones(5), num_steps=5, num_probes=4, key=key
        )
    )(jax.random.key(0))
    slopes = 1 - np.tanh(data @ np.ones(5)) ** 2
    expected = np.linalg.eigvalsh((data * slopes[:, None] ** 2).T @ data)
    # Five steps in five dimensions: every probe sees every eigenvalue.
    np.testing.assert_allclose(found.nodes, np.tile(expected, (4, 1)), atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_probes": 1}, "num_probes must be at least 2 for a standard error, got 1"),
        ({"num_steps": 0}, "num_steps must be positive, got 0"),
    ],
)
def test_impossible_densities_are_refused(options, message):
    arguments: dict[str, Any] = {"num_steps": 3, "num_probes": 2, **options}
    with pytest.raises(ValueError, match=message):
        saddle.spectral_density(lambda x: x @ x, jnp.ones(3), key=jax.random.key(0), **arguments)
