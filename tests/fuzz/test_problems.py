"""Every problem, with every size and number, and its objective on every array."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import strategies as st

from jaxopt_course import problems
from tests.fuzz.harness import Entry, attempt, check_complete, fuzz
from tests.fuzz.strategies import (
    Kind,
    constant,
    flags,
    keys,
    numbers,
    options,
    positive,
    sizes,
    wild_numbers,
    wild_trees,
)

distinct = st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True)
wild_lists = st.one_of(
    st.lists(st.floats(width=32), max_size=3),
    st.lists(st.sampled_from((1.0, 1.0, 0.0, -1.0, 1e300, 5e-324)), max_size=4),
    st.sampled_from(([[1.0]], ["a"], [1j], [None], "abc", {"a": 1}, [[1.0], [2.0, 3.0]])),
    wild_numbers(),
)
spectrum = Kind(distinct.map(lambda values: [float(value) for value in values]), wild_lists)


def matrices(rows, columns):
    sane = st.integers(0, 99).map(
        lambda seed: np.random.default_rng(seed).normal(size=(rows, columns))
    )
    others = (np.zeros((rows, columns)), np.zeros((0, columns)), np.zeros(rows), np.eye(2) * np.nan)
    return Kind(sane, st.one_of(sane, st.sampled_from(others), wild_lists))


vectors = Kind(matrices(8, 1).sane.map(np.ravel), matrices(8, 1).wild)
KINDS = {
    "eigenvalues": spectrum,
    "singular_values": spectrum,
    "weights": spectrum,
    "signal": spectrum,
    "center": constant(None),
    "key": keys(),
    "init_distribution": options("normal", "uniform"),
    "init_scale": positive(),
    "dimension": sizes(4, 8),
    "sampling_probability": numbers(st.floats(0.3, 0.9)),
    "row_bound": positive(1.0, 10.0),
    "penalty": positive(),
    "rank": sizes(3, 4),
    "shape": Kind(
        st.sampled_from(((4, 5), (6, 4))),
        st.sampled_from(((4, 5), (1, 1), (0, 3), (3,), 4, None, (2.5, 3), ("a", 1), (-1, 4))),
    ),
    "widths": Kind(
        st.sampled_from(((4, 3, 5), (3, 4, 4, 3))),
        st.sampled_from(
            ((4, 3, 5), (), (3,), (3, 0, 3), 4, None, (3, 2.5, 3), ("a", 3), (3, -1, 3))
        ),
    ),
    "hidden_widths": Kind(
        st.sampled_from(((3,), (3, 4))),
        st.sampled_from(((3,), (), (0,), 4, None, (2.5,), ("a",), (-1,))),
    ),
    "num_hidden": sizes(4, 6),
    "num_measurements": sizes(10, 30),
    "num_students": sizes(2, 5),
    "num_samples": sizes(5, 20),
    "num_components": sizes(3, 6),
    "order": sizes(4, 4),
    "attraction": numbers(st.floats(1.0, 2.0)),
    "repulsion": numbers(st.floats(0.5, 1.0)),
    "tube_radius": numbers(st.floats(2.0, 4.0)),
    "cross_weight": positive(2.0, 5.0),
    "weight_decay": positive(),
    "activation": options("sigmoid", "tanh"),
    "a": numbers(st.floats(-2, 2)),
    "b": positive(),
    "inputs": matrices(8, 3),
    "targets": matrices(8, 2),
}
five = Kind(st.just([5.0, 3.0, 2.0, 1.0, 0.5]), wild_lists)
four = Kind(st.just([4.0, 3.0, 2.0, 1.0]), wild_lists)
three = Kind(st.just([3.0, 2.0, 1.0]), wild_lists)
OWN = {
    "symmetric_factorization": {"eigenvalues": five},
    "asymmetric_factorization": {"singular_values": four},
    "linear_network": {
        "singular_values": three,
        "widths": Kind(st.just((3, 4, 3)), KINDS["widths"].wild),
    },
    "phase_retrieval": {"signal": three},
    "matrix_completion": {"row_bound": positive(5.0, 10.0)},
    "quadratic": {
        "center": Kind(st.just(None), st.one_of(wild_lists, st.just([1.0, 2.0]))),
    },
    "octopus": {"dimension": sizes(2, 6)},
    "quadratic_network_on_data": {"targets": vectors},
    "tensor_component": {"order": Kind(st.sampled_from((3, 4)), sizes(3, 5).wild)},
    "tensor_decomposition": {"dimension": sizes(2, 4)},
    "tensor_reconstruction": {"dimension": sizes(2, 4)},
    "relu_teacher_student": {"dimension": sizes(5, 6)},
    "sampled_relu_teacher_student": {"dimension": sizes(5, 6)},
}


def usable(problem, arguments, data, sane):
    """Starts and known points fit the objective, which refuses other arrays by name."""
    if isinstance(arguments.get("model"), nnx.Module):
        return  # the parameters of a module are not drawn anew
    key = jax.random.key(data.draw(st.integers(0, 9), label="key of the start"))
    start = jax.eval_shape(problem.init, key)
    value = jax.eval_shape(problem.fun, start)
    assert value.shape == ()
    assert value.dtype == jnp.float32
    half = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), start)
    assert jnp.issubdtype(jax.eval_shape(problem.fun, half).dtype, jnp.floating)
    structure = jax.tree.structure(start)
    for point in problem.stationary_points:
        assert jax.tree.structure(point.params) == structure
        for leaf, like in zip(jax.tree.leaves(point.params), jax.tree.leaves(start), strict=True):
            assert np.shape(leaf) == like.shape
            assert not sane or np.all(np.isfinite(leaf))
    if "model" in arguments:
        return  # what a network says of other parameters is flax's
    params = data.draw(wild_trees(), label="params")
    attempt(lambda: problem.fun(params), {"parameters", "params", "x"})


points = problems.octopus(dimension=3).stationary_points
ENTRIES = {
    name: Entry(member, KINDS | OWN.get(name, {}), usable)
    for name, member in vars(problems).items()
    if callable(member)
    and not isinstance(member, type)
    and not name.startswith("_")
    and name not in ("mirror_images", "empirical_loss")
}


def build(key, size=3):
    return nnx.Linear(size, 2, rngs=nnx.Rngs(key))


models = (build, build(0), None, "model", lambda x: x, lambda key: build(key, 4), build(0, 4))
labels = (jnp.zeros(8, jnp.int32), jnp.zeros(7, jnp.int32), None, "a", np.zeros(8))
ENTRIES["empirical_loss"] = Entry(
    problems.empirical_loss,
    {
        "model": Kind(st.just(build), st.sampled_from(models)),
        "inputs": Kind(
            matrices(8, 3).sane.map(jnp.float32), st.one_of(matrices(8, 3).wild, wild_trees())
        ),
        "labels": Kind(st.just(labels[0]), st.sampled_from(labels)),
        "train": flags(),
    },
    usable,
    ("params",),
)
ENTRIES["mirror_images"] = Entry(
    lambda point: list(problems.mirror_images(point)),
    {"point": Kind(st.sampled_from(points), st.sampled_from((*points, None, 3, "a", points)))},
)


def test_every_public_function_has_an_entry():
    check_complete(problems, ENTRIES)
    for name, entry in ENTRIES.items():
        unknown = {p.name for p in entry.parameters()} - set(entry.kinds) - {"loss"}
        assert not unknown, f"add kinds for {unknown} of {name}"


@pytest.mark.parametrize("name", ENTRIES)
def test_problems_work_or_name_the_argument(name):
    fuzz(ENTRIES[name], 3)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENTRIES)
def test_many_examples(name):
    few = not ENTRIES[name].parameters()
    fuzz(ENTRIES[name], 15 if few else 80, derandomize=False)
