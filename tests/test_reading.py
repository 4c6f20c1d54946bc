"""What `print` and notebooks show of results: words and a few numbers, never raw arrays."""

import collections
import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxopt_course import landscape, nn, observables, problems, saddle, transforms
from jaxopt_course._brief import brief
from jaxopt_course._reading import reading

KEY = jax.random.key(0)
PACKAGES = (
    "saddle",
    "landscape",
    "training",
    "observables",
    "nn",
    "problems",
    "theory",
    "transforms",
)


def public_results():
    """Every public class of named fields that is not the state of an optimizer or a rule."""
    for package in PACKAGES:
        module = importlib.import_module(f"jaxopt_course.{package}")
        for name in module.__all__:
            cls = getattr(module, name)
            fields = isinstance(cls, type) and (
                dataclasses.is_dataclass(cls) or hasattr(cls, "_fields")
            )
            # A rule's state is for the rule; `Following` is an observable, a function.
            if fields and not name.endswith("State") and cls is not observables.Following:
                yield pytest.param(cls, id=f"{package}.{name}")


@pytest.mark.parametrize("cls", [*public_results()])
def test_every_public_result_is_printed_in_words(cls):
    assert cls.__str__.__module__ == reading.__module__
    assert hasattr(cls, "_repr_html_")


@pytest.fixture(scope="module")
def results():
    fun = problems.himmelblau().fun
    starts = jax.random.uniform(KEY, (40, 2), minval=-5.0, maxval=5.0)
    runs = saddle.escape(
        fun, optax.sgd(0.005), starts, max_steps=60, target_value=1e-3, record_every=10
    )
    path = transforms.path(fun, optax.sgd(0.002), jnp.array([0.1, 0.0]), 100, every=10)
    density = saddle.spectral_density(fun, jnp.ones(2), num_steps=2, num_probes=3, key=KEY)
    plane = landscape.plane(fun, jnp.zeros(2), jnp.eye(2))
    return {"runs": runs, "path": path, "density": density, "plane": plane}


def test_results_say_what_was_found(results):
    heads = {
        "runs": "40 runs: ",
        "path": "one run, 11 observations at steps 0 to 100",
        "density": "the density of a spectrum, from 3 random vectors and 2 steps of Lanczos",
        "plane": "an objective on a plane, at 1681 points",
    }
    for name, head in heads.items():
        text = str(results[name])
        assert text.startswith(head), text
        assert text.count("\n") < 20
        assert "Array(" not in text
        assert head in results[name]._repr_html_()


def test_counts_in_words_are_those_of_the_arrays(results):
    runs = results["runs"]
    for name, count in runs.counts().items():
        assert f"{count} {name.lower().replace('_', ' ')}" in str(runs)


def test_mapped_and_traced_results_are_shown_by_their_fields(results):
    doubled = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), results["runs"])
    assert str(doubled).startswith("EscapeRuns\n  params ")
    assert "float32[2, 40]" in str(doubled)
    texts = []

    def look(result):
        texts.append((str(result), repr(result), result._repr_html_()))
        return jax.tree.leaves(result)[0]

    for name in ("runs", "plane", "path", "density"):
        jax.eval_shape(look, results[name])
        assert "traced" in texts[-1][0]


def test_values_that_are_not_finite_are_counted(results):
    runs = results["runs"].replace(value=results["runs"].value.at[:3].set(jnp.nan))
    assert "3 of 40 not finite" in str(runs)


Pair = collections.namedtuple("Pair", "one two")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.arange(1000).reshape(10, 100), "int64 array of shape (10, 100): 0, 1, 2, ..."),
        (np.ones(2), "float64 array of shape (2,): [1., 1.]"),
        (np.float64(2.5), "2.5"),
        ("fast", "'fast'"),
        ([1.0] * 1000, "[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, ...]"),
        ({"a": np.ones(30), "b": np.ones(12)}, "dict of 2 arrays, 42 numbers"),
        (jax.ShapeDtypeStruct((3,), jnp.float32), "float32 array of shape (3,)"),
        (jax.random.key(0), "key<fry> array"),
        (Pair(np.ones(30), 3), "Pair of 1 array, 30 numbers"),
        (None, "None"),
        (int, "<class 'int'>"),
    ],
)
def test_values_are_short_in_messages(value, text):
    assert brief(value) == text


def test_objects_are_named_where_their_text_is_long():
    network = nn.MLP((20, 30, 2), rngs=nnx.Rngs(0))
    assert brief(network) == "MLP object"
    assert len(brief([network] * 50)) < 100
    assert jax.jit(lambda x: jnp.zeros(len(brief(x))))(jnp.ones(3)).size < 40


def test_arrays_that_are_gone_are_described_without_their_numbers():
    gone = jnp.ones(100)
    gone.delete()
    assert brief(gone) == "float32 array of shape (100,)"


def test_results_of_shapes_are_shown_by_their_fields(results):
    for name, result in results.items():
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), float), result)
        assert str(shapes).startswith(type(result).__name__), name


def test_a_result_whose_arrays_are_deleted_is_shown_by_its_fields():
    estimate = saddle.trace(lambda x: jnp.sum(x**4), jnp.ones(3), num_probes=2, key=KEY)
    for leaf in jax.tree.leaves(estimate):
        leaf.delete()
    assert str(estimate).startswith("Estimate\n")
