"""The lower end of a large Hessian's spectrum, certified from both sides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course.saddle._matrix_free import num_operations, smallest_spectrum

N = 90
VALUES = np.concatenate([[-2.0, -2.0, -0.5], np.linspace(0, 5, N - 3)])


@functools.cache
def reflection():
    normal = np.random.default_rng(0).standard_normal(N)
    return np.eye(N) - 2 * np.outer(normal, normal) / (normal @ normal)


def objective(x, values):
    return jnp.vdot(values, (reflection() @ jnp.concatenate([x["a"].ravel(), x["b"]])) ** 2) / 2


@functools.partial(jax.jit, static_argnames=("k", "num_steps", "options"))
def spectrum(values, null_basis, key, k=3, num_steps=25, options=()):
    x = {"a": jnp.zeros((4, 10), values.dtype), "b": jnp.zeros(N - 40, values.dtype)}
    return smallest_spectrum(
        functools.partial(objective, values=values),
        x,
        key=key,
        k=k,
        num_steps=num_steps,
        null_basis=null_basis,
        **dict(options),
    )


@pytest.mark.parametrize("num_steps", [25, N])  # restarted, and dense
def test_smallest_spectrum_brackets_the_eigenvalues_copies_included(x64, num_steps):
    found = spectrum(VALUES, None, jax.random.key(0), num_steps=num_steps)
    np.testing.assert_allclose(found.eigenvalues, VALUES[:3], atol=1e-9)
    assert found.converged.all()
    matrix = (reflection() * VALUES) @ reflection()
    vectors = np.asarray(found.eigenvectors)
    residuals = vectors @ matrix - np.asarray(found.eigenvalues)[:, None] * vectors
    assert np.all(np.linalg.norm(residuals, axis=1) <= np.asarray(found.residual_norms) + 1e-13)
    assert 4.9 < found.largest <= 5 + 1e-12
    assert found.kuczynski_wozniakowski_bound <= found.lower_bound <= -2.0
    assert found.lower_bound > -2.2
    assert found.finite


def test_known_flat_directions_are_taken_out_of_the_spectrum(x64):
    # The two copies of -2 are declared to be known: what is left begins at -0.5.
    found = spectrum(VALUES, reflection()[:2], jax.random.key(0), k=1)
    np.testing.assert_allclose(found.eigenvalues, [-0.5], atol=1e-9)
    assert -0.7 < found.lower_bound <= -0.5


def test_certificates_hold_run_by_run_and_in_float32(x64):
    keys = jax.random.split(jax.random.key(5), 50)
    values = np.linspace(-1, 1, N).astype(np.float32)
    run = functools.partial(
        spectrum, k=1, num_steps=12, options=(("max_products", 12), ("failure_probability", 0.1))
    )
    found = jax.tree.map(np.asarray, jax.vmap(run, (None, None, 0))(values, None, keys))
    assert found.eigenvalues.dtype == np.float32
    # Without restarts nothing converges, and the Ritz values say so.
    assert not found.converged.any()
    assert np.all(found.eigenvalues[:, 0] > -1)
    assert np.mean(found.lower_bound > -1) <= 0.1
    assert np.all(found.precision_floor < 1e-5)
    assert np.all(found.num_products == 13)


def test_a_hessian_that_is_not_finite_is_reported(x64):
    found = spectrum(np.where(np.arange(N) == 7, np.nan, 1.0), None, jax.random.key(0))
    assert not found.finite
    assert not found.converged.any()
    assert np.isnan(found.lower_bound)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"null_basis": jnp.zeros((5, 3))}, r"null_basis must have shape \(rows, 90\)"),
        ({"options": (("failure_probability", 0.0),)}, r"must lie in \(0, 1\), got 0.0"),
        ({"options": (("max_products", 5),)}, "max_products must be at least 25, got 5"),
        ({"num_steps": 4}, r"num_steps must be at least k \+ 2 = 5, got 4"),
    ],
)
def test_impossible_requests_are_refused(options, message):
    arguments = {"null_basis": None, **options}
    with pytest.raises(ValueError, match=message):
        spectrum(jnp.ones(N), key=jax.random.key(0), **arguments)


def test_signs_of_inner_eigenvalues_cost_fewer_products_than_their_digits():
    # Two copies of a negative eigenvalue below a dense spectrum.
    values = np.concatenate([[-1.0, -1.0], np.linspace(1, 2, 598)]).astype(np.float32)

    @functools.partial(jax.jit, static_argnames="inner_by_sign")
    def search(inner_by_sign):
        return smallest_spectrum(
            lambda x: jnp.vdot(values, x**2) / 2,
            jnp.zeros(600),
            key=jax.random.key(0),
            k=4,
            inner_by_sign=inner_by_sign,
        )

    digits, signs = search(False), search(True)
    assert signs.num_products < digits.num_products
    np.testing.assert_allclose(signs.eigenvalues[:2], [-1, -1], rtol=1e-5)
    assert signs.converged[0]
    # An eigenvalue lies within the residual, which is a fraction of the value.
    assert jnp.all(signs.residual_norms[2:] < 0.1 * signs.eigenvalues[2:])
    assert signs.lower_bound <= -1 + 1e-6


def test_operations_of_products_convolutions_and_loops_are_counted():
    def conv(x):
        return jax.lax.conv(x.reshape(1, 1, 28, 28), jnp.ones((4, 1, 3, 3)), (1, 1), "SAME").sum()

    def loop(x):
        return jax.lax.scan(lambda x, _: (jnp.sin(x), None), x, length=10)[0].sum()

    assert 1 <= num_operations(conv, jnp.ones(784)) / (2 * 4 * 784 * 9) < 1.1
    assert 1000 <= num_operations(loop, jnp.ones(100)) < 1100
