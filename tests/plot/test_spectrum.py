import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import plot, saddle

CURVATURES = jnp.concatenate([jnp.linspace(0.0, 1.0, 19), jnp.array([5.0])])


@pytest.fixture(scope="module")
def found():
    def fun(x):
        return 0.5 * jnp.sum(CURVATURES * x**2)

    x, key = jnp.zeros(20), jax.random.key(0)
    density = saddle.spectral_density(fun, x, num_steps=10, num_probes=4, key=key)
    return density, saddle.extreme_eigenpairs(fun, x, k=1, which="both", key=key)


def test_the_line_is_a_density(found):
    ax = plot.density(found[0], width=0.1)
    x, y = ax.lines[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, rel=0.03)
    assert ax.get_yscale() == "log"


def test_eigenvalues_stand_where_they_are(found):
    density, pairs = found
    ax = plot.density(density, eigenpairs=pairs)
    crosses = next(line for line in ax.lines if line.get_marker() == "x")
    np.testing.assert_allclose(np.sort(crosses.get_xdata()), [0, 5], atol=1e-4)


def test_other_arguments_are_refused_by_name(found):
    with pytest.raises(TypeError, match="spectral_density must be"):
        plot.density(found[1])
    with pytest.raises(TypeError, match="eigenpairs must be"):
        plot.density(found[0], eigenpairs=3)
    with pytest.raises(ValueError, match="width"):
        plot.density(found[0], width=-1.0)
