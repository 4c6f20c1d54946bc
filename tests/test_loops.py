"""Loops of equal equations share a program, whatever their data, and compute what JAX's do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import _loops, saddle
from tests.compilations import compilations

KEY = jax.random.key(0)
X = jnp.linspace(0.0, 1.0, 100)
SHIFTS = [np.random.default_rng(seed).standard_normal(100).astype(np.float32) for seed in range(2)]


def objective(shift):
    """Return a lambda that is a new one at every call, with data of its own."""
    shift = jnp.asarray(shift)
    return lambda x: jnp.sum(jnp.cos(x + shift)) + jnp.sin(shift @ x)


def classify(method, **options):
    # At a point that passes for stationary, where the signs are doubted too.
    return lambda fun: saddle.classify(
        fun, X, method=method, gradient_tolerance=100.0, null_space=jnp.eye(1, 100), **options
    )


CALLS = {
    "classify, dense": classify("dense"),
    "classify, lanczos": classify("lanczos"),
    "extreme_eigenpairs": lambda fun: saddle.extreme_eigenpairs(fun, X, which="both", key=KEY),
    "extreme_eigenpairs, all": lambda fun: saddle.extreme_eigenpairs(
        fun, X, key=KEY, basis_size=100
    ),
    "spectral_density": lambda fun: saddle.spectral_density(
        fun, X, num_steps=5, num_probes=2, key=KEY
    ),
    "trace": lambda fun: saddle.trace(fun, X, num_probes=4, key=KEY, method="hutch++"),
    "diagonal": lambda fun: saddle.diagonal(fun, X, num_probes=4, key=KEY, method="diag++"),
    "min_eigenvalue": lambda fun: saddle.min_eigenvalue(fun, X),
    "mapped": jax.vmap(
        lambda fun: saddle.trace(fun, X, num_probes=2, key=KEY).value,
    ),
}


def given(name, seed):
    if name != "mapped":
        return objective(SHIFTS[seed])
    shifts = jnp.stack([SHIFTS[seed], SHIFTS[seed]])
    return jax.tree_util.Partial(lambda shift, x: objective(shift)(x), shifts)


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_with_an_equal_function_and_other_data_compiles_nothing(name):
    first = CALLS[name](given(name, 0))
    with compilations() as compiled:
        second = CALLS[name](given(name, 1))
    assert compiled == []
    ones, others = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
                    for tree in (first, second))  # fmt: skip
    assert (ones != others).any()  # It has not taken the other's data.


TOLD = {
    "classify": lambda fun, **told: saddle.classify(fun, X, method="lanczos", **told),
    "extreme_eigenpairs": lambda fun, **told: saddle.extreme_eigenpairs(fun, X, key=KEY, **told),
    "spectral_density": lambda fun, **told: saddle.spectral_density(
        fun, X, num_steps=5, num_probes=2, key=KEY, **told
    ),
    "trace": lambda fun, **told: saddle.trace(
        fun, X, num_probes=4, key=KEY, method="hutch++", **told
    ),
    "diagonal": lambda fun, **told: saddle.diagonal(fun, X, num_probes=4, key=KEY, **told),
}


@pytest.mark.parametrize("name", TOLD)
def test_another_callback_hears_its_own_news_from_the_same_program(name):
    first, second = [], []
    TOLD[name](objective(SHIFTS[0]), callback=first.append)
    before = list(first)
    jnp.zeros(())  # Of which the bar makes one, to see whether all is traced.
    with compilations() as compiled:
        TOLD[name](objective(SHIFTS[0]), callback=second.append)
        TOLD[name](objective(SHIFTS[1]), progress=True)
    assert compiled == []
    assert first == before
    assert [news.products for news in second] == [news.products for news in first]
    assert [news.products for news in first] == sorted(news.products for news in first)
    assert second


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt("stop")], ids=repr)
def test_what_a_callback_raises_is_raised_as_it_was(error):
    def hear(news):
        raise error

    with pytest.raises(type(error)) as caught:
        saddle.trace(objective(SHIFTS[0]), X, num_probes=4, key=KEY, callback=hear)
    assert caught.value is error
    heard = []
    saddle.trace(objective(SHIFTS[0]), X, num_probes=4, key=KEY, callback=heard.append)
    assert heard


def test_loops_compute_what_those_of_jax_do_to_the_last_bit():
    matrix = jax.random.normal(KEY, (5, 5))
    rows = jax.random.normal(KEY, (7, 5))

    def add(total, row):
        return jnp.tanh(total + matrix @ row), total @ row

    def check(ours, jaxs):
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(jaxs), strict=True):
            np.testing.assert_array_equal(one, other)

    check(_loops.scan(add, rows[0], rows), jax.lax.scan(add, rows[0], rows))
    for size in (None, 2, 7, 9):
        check(
            _loops.map(lambda row: matrix @ row, rows, batch_size=size),
            jax.lax.map(lambda row: matrix @ row, rows, batch_size=size),
        )
    step = (0, 9, lambda i, x: jnp.sin(matrix @ x) + i, rows[0])
    check(_loops.fori_loop(*step), jax.lax.fori_loop(*step))
    loop = (lambda x: x[0] < 3, lambda x: x + jnp.abs(matrix[0] * x) + 1, rows[0])
    check(_loops.while_loop(*loop), jax.lax.while_loop(*loop))


def test_a_body_that_calls_back_calls_its_own_host():
    for _ in range(2):
        heard = []

        def tell(i, total, heard=heard):
            jax.debug.callback(heard.append, i)
            return total + i

        assert int(_loops.fori_loop(0, 3, tell, jnp.array(0))) == 3
        jax.effects_barrier()
        assert [int(i) for i in heard] == [0, 1, 2]


def test_under_vmap_nothing_is_given_up_for_a_larger_result():
    """What is donated without being used is a warning of JAX's, and here an error."""
    shared = jnp.zeros(3)
    double = jax.vmap(lambda x: _loops.computed(lambda y, x: y + x, shared, x, consume=True))
    assert double(jnp.ones((2, 3))).shape == (2, 3)
    assert shared.tolist() == [0, 0, 0]
