import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import _krylov


def dominant(matrix, num_steps):
    start = jax.random.normal(jax.random.key(0), matrix.shape[:1], matrix.dtype)
    return _krylov.dominant_eigenvalue(lambda v: matrix @ v, start, num_steps=num_steps)


def test_with_as_many_steps_as_rows_it_is_the_largest_eigenvalue_of_numpy(x64):
    matrix = np.random.default_rng(0).normal(size=(8, 8))
    values = np.linalg.eigvals(matrix)
    found = dominant(jnp.asarray(matrix), 8)
    np.testing.assert_allclose(found.radius, np.abs(values).max(), rtol=1e-10)
    largest = values[np.abs(values).argmax()]
    np.testing.assert_allclose([found.real, found.imaginary], [largest.real, abs(largest.imag)])


def test_the_residual_bounds_the_distance_to_an_eigenvalue_of_a_normal_matrix(x64):
    angles = jnp.linspace(0.0, 3.0, 20)
    radii = jnp.linspace(0.1, 1.5, 20)
    blocks = [
        r * jnp.array([[jnp.cos(a), -jnp.sin(a)], [jnp.sin(a), jnp.cos(a)]])
        for r, a in zip(radii, angles, strict=True)
    ]
    matrix = jax.scipy.linalg.block_diag(*blocks)
    found = dominant(matrix, 12)
    theta = found.real + 1j * found.imaginary
    nearest = jnp.abs(radii * jnp.exp(1j * angles) - theta).min()
    assert nearest <= found.residual_norm + 1e-12
    np.testing.assert_allclose(dominant(matrix, 40).radius, 1.5, rtol=1e-8)


@pytest.mark.parametrize("matrix", [jnp.eye(5), jnp.zeros((5, 5)), jnp.diag(jnp.arange(5.0) > 3)])
def test_an_exhausted_space_is_no_trouble(matrix):
    matrix = matrix.astype(jnp.float32)
    found = dominant(matrix, 5)
    np.testing.assert_allclose(found.radius, jnp.max(jnp.abs(jnp.diag(matrix))), atol=1e-6)
    assert found.residual_norm < 1e-6
