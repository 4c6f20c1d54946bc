"""Every function of `theory`, with every number there is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

from jaxopt_course import theory
from tests.fuzz.harness import Entry, check_complete, fuzz
from tests.fuzz.strategies import (
    Kind,
    flags,
    fractions,
    keys,
    numbers,
    positive,
    pytrees,
    sizes,
)

small = positive(1e-4, 0.1)
KINDS = {
    "smoothness": positive(2.0, 10.0),
    "strong_convexity": positive(1e-3, 2.0),
    "hessian_lipschitz": positive(0.1, 3.0),
    "epsilon": small,
    "failure_probability": numbers(st.floats(1e-3, 1.0)),
    "function_gap": numbers(st.floats(0.1, 10.0)),
    "dimension": numbers(st.integers(2, 1000)),
    "c": positive(0.5, 3.0),
    "learning_rate": small,
    "weight_decay": numbers(st.floats(0.0, 1e-6)),
    "attraction": positive(0.5, 3.0),
    "repulsion": positive(0.5, 3.0),
    "curvature": numbers(st.floats(0.01, 1.0)),
    "start": small,
    "end": positive(),
    "decay": fractions(),
    "rate": numbers(st.floats(0.01, 0.99)),
    "accuracy": numbers(st.floats(1e-9, 0.99)),
    "lookahead": flags(),
    "tuned": flags(),
    "num_steps": numbers(st.integers(1, 10**6)),
    "distance": numbers(st.floats(0, 100)),
    "value": numbers(st.floats(-10, 10)),
    "next_value": numbers(st.floats(-10, 10)),
    "gradient_norm": numbers(st.floats(0, 10)),
}


def number(result, arguments, data, sane):
    """Real numbers come out, of the shape the arguments broadcast to; finite from sane ones."""
    shape = np.broadcast_shapes(*(np.shape(value) for value in arguments.values()))
    for leaf in jax.tree.leaves(result):
        assert isinstance(leaf, float | np.ndarray | jax.Array), type(leaf)
        assert np.shape(leaf) in ((), shape)
        assert jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        if sane:
            assert np.all(np.isfinite(leaf))


def quartic(x):
    return sum(
        jnp.sum(leaf**4 / 4 - leaf**2 / 2) for leaf in map(jnp.asarray, jax.tree.leaves(x))
    ).astype(jnp.float32)


def eigenvalue(result, arguments, data, sane):
    assert result.shape == ()
    assert jnp.issubdtype(result.dtype, jnp.floating)
    if sane:
        assert bool(jnp.isfinite(result))


def threshold(result, arguments, data, sane):
    assert isinstance(result, float)
    assert result > 0


SMOOTHNESS = {
    "fun": numbers(st.just(quartic)),
    "x": pytrees(shapes=((3,),), floats=("float32",)),
    "key": keys(),
    "tolerance": positive(1e-3, 1e-1),
}
RULES = (optax.sgd(0.1), optax.adam(0.1))
STABILITY = {
    "rule": Kind(st.sampled_from(RULES), st.sampled_from((*RULES, None, "adam", 0.1, optax.sgd))),
    "gradient_scale": positive(),
    "steps": sizes(1, 50),
}
FORMULAS = {
    name: Entry(member, KINDS, number)
    for name, member in vars(theory).items()
    if callable(member)
    and not name.startswith("_")
    and name not in ("estimate_smoothness", "stability_threshold")
    and not isinstance(member, type)
}
ENTRIES = FORMULAS | {
    "estimate_smoothness": Entry(theory.estimate_smoothness, SMOOTHNESS, eigenvalue),
    "stability_threshold": Entry(theory.stability_threshold, STABILITY, threshold),
}


def test_every_public_function_has_an_entry():
    check_complete(theory, ENTRIES)
    unknown = {p.name for entry in FORMULAS.values() for p in entry.parameters()} - set(KINDS)
    assert not unknown, "add their kinds"


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_work_or_name_the_argument(name):
    fuzz(ENTRIES[name], 10)


def test_smoothness_works_or_names_the_argument():
    fuzz(ENTRIES["estimate_smoothness"], 4)


def test_a_stability_threshold_is_positive_or_names_the_argument():
    fuzz(ENTRIES["stability_threshold"], 3)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENTRIES)
def test_many_examples(name):
    fuzz(ENTRIES[name], 250 if name in FORMULAS else 60, derandomize=False)
