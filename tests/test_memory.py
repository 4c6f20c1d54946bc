"""What will not fit is refused before it begins."""

import re

import jax
import jax.numpy as jnp
import pytest

from jaxopt_course import _memory, saddle

KEY = jax.random.key(0)
# Three times so many vectors of a million numbers are more than what is always there.
SIZE = 1_000_000
CALLS = {
    "a basis_size from 4 on needs less": (
        24,
        lambda x: saddle.extreme_eigenpairs(square, x, which="both", key=KEY),
    ),
    "`extreme_eigenpairs` with a small basis_size needs less": (
        80,
        lambda x: saddle.classify(square, x, method="lanczos"),
    ),
    'matrix-free methods need less: method="lanczos"': (
        SIZE,
        lambda x: saddle.classify(square, x, method="dense"),
    ),
    "reorthogonalize=False keeps two of them": (
        30,
        lambda x: saddle.spectral_density(
            square, x, num_steps=30, num_probes=2, key=KEY, reorthogonalize=True
        ),
    ),
    'method="hutchinson" keeps none of them': (
        40,
        lambda x: saddle.trace(square, x, num_probes=60, key=KEY, method="hutch++"),
    ),
}


def square(x):
    return x @ x


@pytest.mark.parametrize("cure", CALLS)
def test_vectors_that_do_not_fit_are_refused_with_their_bytes(monkeypatch, cure):
    rows, call = CALLS[cure]
    monkeypatch.setattr(_memory, "free_bytes", lambda device: 2**20)
    needed = f"need {3 * rows * SIZE * 4:,} bytes"
    with pytest.raises(MemoryError, match=f"{needed}.*0.000977 GiB are free; {re.escape(cure)}"):
        call(jnp.zeros(SIZE))


def test_a_traced_function_is_not_refused(monkeypatch):
    monkeypatch.setattr(_memory, "free_bytes", lambda device: 2**20)
    jax.eval_shape(CALLS["a basis_size from 4 on needs less"][1], jnp.zeros(SIZE))


def test_a_search_needs_no_more_than_three_times_its_basis():
    n, rows = 1_000_000, 24
    weights = jnp.linspace(-1.0, 2.0, n)
    program = jax.jit(
        lambda weights, x: saddle.extreme_eigenpairs(
            lambda x: jnp.sum(weights * jnp.sin(x) ** 2),
            x,
            which="both",
            key=KEY,
            basis_size=rows,
        )
    )
    needed = program.lower(weights, jnp.zeros(n)).compile().memory_analysis()
    assert needed.temp_size_in_bytes <= 3 * 4 * n * rows
