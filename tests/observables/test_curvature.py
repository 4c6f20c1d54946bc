import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import observables, transforms

KEY = jax.random.key(0)
CURVATURES = jnp.array([-1.0, 0.5, 2.0, 5.0])


def fun(x):
    return jnp.sum(CURVATURES * x**2) / 2 + jnp.sum(x**3) / 6


def test_along_a_path_the_observables_are_those_of_the_hessian_there(x64):
    observe = {
        "params": lambda params, state, fun: params,
        "sharpness": observables.sharpness(k=2, key=KEY),
        "smallest": observables.min_eigenvalue(key=KEY),
        "trace": observables.trace(num_probes=3, key=KEY),
        "index": observables.index(),
    }
    start = jnp.full(4, 0.3)
    run = jax.jit(
        lambda start: transforms.path(fun, optax.sgd(0.01), start, 4, every=2, observe=observe)
    )(start)
    hessians = np.asarray(jax.vmap(jax.hessian(fun))(run.observed["params"]))
    values = np.linalg.eigvalsh(hessians)
    np.testing.assert_allclose(run.observed["sharpness"].value, values[:, :-3:-1], rtol=1e-8)
    np.testing.assert_allclose(run.observed["smallest"].value, values[:, :1], rtol=1e-8)
    np.testing.assert_array_equal(run.observed["index"], (values < 0).sum(axis=1))
    # The Hessian is diagonal, of which signs give the trace exactly.
    np.testing.assert_allclose(run.observed["trace"].value, values.sum(axis=1), rtol=1e-8)
    assert (run.observed["sharpness"].error < 1e-8).all()


def test_what_is_observed_does_not_change_the_trajectory():
    start = jnp.full(4, 0.3)
    plain = transforms.path(fun, optax.adam(0.01), start, 6, every=3)
    seen = transforms.path(
        fun,
        optax.adam(0.01),
        start,
        6,
        every=3,
        observe={"sharpness": observables.sharpness(key=KEY)},
    )
    np.testing.assert_array_equal(plain.params, seen.params)


@pytest.mark.parametrize("arguments", [{"k": 0, "key": KEY}, {"key": KEY, "tolerance": -1.0}])
def test_numbers_out_of_range_are_refused_when_the_observable_is_made(arguments):
    with pytest.raises(ValueError, match="must be"):
        observables.sharpness(**arguments)
