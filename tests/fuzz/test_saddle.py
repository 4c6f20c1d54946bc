"""Every function of `saddle`: objectives, points, keys and sizes of every kind.

Where arguments are wrong nothing is computed; where they are right, on a few small shapes.
"""

import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

from jaxopt_course import saddle
from tests.fuzz.harness import Entry, check_complete, fuzz
from tests.fuzz.strategies import (
    Kind,
    constant,
    flags,
    keys,
    numbers,
    options,
    positive,
    sizes,
    trees,
    wild_trees,
)


def quartic(x):
    """A strict saddle at 0 on any tree of floats."""
    leaves = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(x)]
    return sum((jnp.sum(x**4 / 4 - x**2 / 2) for x in leaves), start=jnp.zeros([], jnp.float32))


def sines(x):
    return jax.tree.map(jnp.sin, x)


def scores(x):
    """Two outputs for every example."""
    return jax.tree.map(lambda leaf: jnp.stack([jnp.sin(leaf), jnp.cos(leaf)], axis=-1), x)


def dense(w, x):
    """Outputs of a layer; what is no layer it calls by name, as a model may do."""
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (w, x)]
    if shapes[0] != [(2, 3)] or shapes[1] not in ([(4, 2)], [(1, 2)]):
        raise ValueError("params must be a matrix, inputs and data its rows")
    return x @ w


def squares(w, x):
    return jnp.sum(dense(w, x) ** 2, axis=1)


def wrong_objectives():
    return (
        None,
        1.5,
        "f",
        lambda x: x,
        lambda x: None,
        lambda x: "a",
        lambda x: 1j * quartic(x),
        lambda x: jnp.zeros(3),
        lambda x: jnp.zeros([], jnp.int32),
        jnp.ones(3),
    )


objective = Kind(st.just(quartic), st.sampled_from((quartic, *wrong_objectives())))
point = Kind(
    trees(shapes=((3,), (1,)), floats=("float32",), empty=False),
    st.one_of(wild_trees(), trees(shapes=((0,),))),
)


def batches(sane):
    """Starts of several runs: of one or of many, of none, with NaN and equal ones among them."""
    shapes = ((2, 3), (1, 3)) if sane else ((2, 3), (0, 3), (3, 0), (2,), (), (100_000, 1))
    floats = ("float32",) if sane else ("float32", "bfloat16", "float16")
    drawn = trees(sane=sane, shapes=shapes, floats=floats, empty=not sane)
    return drawn if sane else st.one_of(drawn, wild_trees())


def batch_of_two(sane):
    return batches(sane).filter(lambda tree: {x.shape[0] for x in jax.tree.leaves(tree)} == {2})


two_keys = st.integers(0, 9).map(lambda seed: jax.random.split(jax.random.key(seed), 2))
same_keys = two_keys.map(lambda keys: jnp.stack([keys[0]] * 2))
optimizers = (optax.sgd(0.1), optax.adam(0.1), lambda key: optax.add_noise(0.1, 0.5, key))
matrix = Kind(
    st.sampled_from((jnp.ones((3, 2)), jnp.eye(2))),
    st.sampled_from(
        (jnp.ones((3, 2)), jnp.ones((0, 2)), jnp.ones(3), jnp.float32(1), None, "a", [1.0], 3, ())
    ),
)
folders = st.builds(tempfile.mkdtemp)
null_spaces = (
    None,
    lambda x: jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), x),
    lambda x: x,
    lambda x: None,
    3,
    "a",
    jnp.zeros((1, 3)),
)
KINDS = {
    "fun": objective,
    "x": point,
    "v": Kind(st.just(jnp.ones(3)), wild_trees()),
    "key": keys(),
    "k": sizes(1, 1),
    "which": options("smallest", "largest"),
    "tolerance": positive(1e-4, 1e-2),
    "basis_size": sizes(10, 20),
    "max_products": sizes(50, 100),
    "check_copies": flags(),
    "check": flags(),
    "eval_params": Kind(st.just(None), st.sampled_from((None, 3, "a"))),
    "num_steps": sizes(1, 5),
    "num_probes": sizes(4, 8),
    "reorthogonalize": flags(),
    "max_steps": sizes(1, 20),
    "index": Kind(st.just(0), st.one_of(sizes(0, 2).wild, st.just(np.array([0, 1])))),
    "trust_radius": positive(1e-2, 1.0),
    "merge_tolerance": positive(1e-4, 1e-2),
    "max_points": sizes(1, 5),
    "canonical": constant(None, lambda x: x, 3, "a"),
    "null_space": Kind(st.just(None), st.sampled_from(null_spaces)),
    "gradient_tolerance": positive(1e-6, 1e-2),
    "eigenvalue_tolerance": positive(1e-6, 1e-2),
    "num_eigenvalues": sizes(1, 2),
    "failure_probability": numbers(st.floats(1e-3, 0.1)),
    "num_starts": sizes(1, 8),
    "order": Kind(st.just(2), st.sampled_from((2, 4, 3, None, "2", 2.0, True, [2]))),
    "target_value": numbers(st.floats(-5, 0)),
    "epsilon": positive(1e-4, 1e-2),
    "hessian_lipschitz": positive(),
    "record_every": sizes(1, 5),
    "record_params": flags(),
    "record_min_eigenvalue": flags(),
    "observe": Kind(st.just(None), st.sampled_from(({}, {"a": 3}, {3: jnp.sin}, 3, "a", [1]))),
    "start": Kind(st.sampled_from((None, jnp.ones(3))), wild_trees()),
    "minibatch": Kind(st.just(None), st.sampled_from((None, 0, 2, "a", 1.0))),
    "replacement": Kind(st.just(False), flags().wild),
    "lanes": sizes(1, 2),
    "checkpoint": Kind(st.just(None), st.sampled_from((None, 3, b"folder"))),
    "checkpoint_every": positive(0.5, 60),
    "callback": Kind(st.just(None), st.sampled_from((None, 3, "a"))),
    "progress": flags(),
    "init": Kind(
        st.just(lambda key: jax.random.normal(key, (3,))),
        st.sampled_from((None, 3, lambda key: key, lambda key: {}, lambda key: jnp.int32(3))),
    ),
    "runs": sizes(1, 20),
    "folder": Kind(folders, st.one_of(folders, st.sampled_from((None, 3)))),
    "batch_size": sizes(1, 4),
    "weights": Kind(
        st.just((jnp.ones((3, 2)), jnp.ones((2, 3)))),
        st.sampled_from((
            (jnp.ones((3, 2)), jnp.ones((2, 3))), (jnp.ones((3, 2)), jnp.ones((3, 2))),
            (jnp.ones(3), jnp.ones(2)), (), (jnp.ones((3, 2)),), None, 3, "ab", (1.0, 2.0),
        )),
    ),
    "factor": matrix,
    "incoming": matrix,
    "outgoing": Kind(st.sampled_from((jnp.ones(3), jnp.ones((2, 3)))), matrix.wild),
}  # fmt: skip
starts = Kind(batch_of_two(True), batches(False))
optimizer = Kind(
    st.sampled_from(optimizers[:2]), st.sampled_from((*optimizers, None, 3, "adam", lambda: 1))
)
matrices = Kind(st.just(jnp.ones((2, 3))), wild_trees())
blocks = Kind(
    st.builds(lambda: saddle.kfac_blocks(dense, jnp.ones((2, 3)), jnp.ones((4, 2)))),
    st.sampled_from((None, 3, "a", jnp.ones((2, 3)))),
)
OWN = {
    "classify": {"method": options("auto", "dense", "lanczos")},
    "find": {
        "starts": starts,
        "method": options("newton"),
        "canonical": Kind(st.just(None), st.sampled_from((None, lambda x: x, 3, "a"))),
    },
    "barrier": {
        "start": Kind(st.just(jnp.ones(3)), wild_trees()),
        "end": Kind(st.just(-jnp.ones(3)), wild_trees()),
        "images": sizes(3, 6),
        "steps": sizes(0, 20),
        "learning_rate": positive(1e-3, 1e-1),
        "method": options("newton"),
    },
    "linear_symmetries": {"points": starts},
    "path_saddles": {
        "path": starts,
        "canonical": Kind(st.just(None), st.sampled_from((None, lambda x: x, 3, "a"))),
        "steps": Kind(st.just(None), st.sampled_from((None, 3, "a", jnp.arange(3), jnp.ones([])))),
        "prominence": numbers(st.floats(1, 10)),
        "max_distance": positive(),
    },
    "escape": {
        "starts": starts,
        "epsilon": constant(None),
        "hessian_lipschitz": constant(None),
        "record_params": Kind(st.just(False), flags().wild),
        "record_min_eigenvalue": Kind(st.just(False), flags().wild),
        "optimizer": optimizer,
        "keys": Kind(two_keys, st.one_of(two_keys, same_keys, keys().wild)),
    },
    "escape_to_disk": {
        "optimizer": optimizer,
        "epsilon": constant(None),
        "hessian_lipschitz": constant(None),
    },
    "extreme_eigenpairs": {"x": Kind(st.just(jnp.ones(3)), point.wild)},
    "trace": {"method": options("hutchinson", "hutch++")},
    "diagonal": {"method": options("hutchinson", "diag++")},
    "hvp": {"x": Kind(st.just(jnp.ones(3)), point.wild)},
    "gauss_newton_product": {
        "x": Kind(st.just(jnp.ones(3)), point.wild),
        "model": Kind(st.just(sines), st.sampled_from((sines, None, 3, "a"))),
        "loss": Kind(st.just(quartic), st.sampled_from((quartic, *wrong_objectives()))),
    },
    "fisher_product": {
        "x": Kind(st.just(jnp.ones(3)), point.wild),
        "model": Kind(st.just(scores), st.sampled_from((scores, None, 3, "a", lambda x: "a"))),
        "family": options("gaussian", "bernoulli"),
    },
    "empirical_fisher_product": {
        "x": Kind(st.just(jnp.ones(3)), point.wild),
        "losses": Kind(st.just(sines), st.sampled_from((sines, None, 3, quartic))),
    },
    "kfac_blocks": {
        "model": Kind(st.just(dense), st.sampled_from((dense, None, 3, "a", lambda w, x: "a"))),
        "params": Kind(st.just(jnp.ones((2, 3))), wild_trees()),
        "inputs": Kind(st.just(jnp.ones((4, 2))), wild_trees()),
        "family": options("categorical", "bernoulli", "gaussian"),
        "num_samples": Kind(st.just(None), sizes(1, 3).wild),
        "key": Kind(st.just(None), keys().wild),
        "sharing": options("expand", "reduce"),
    },
    "empirical_kfac_blocks": {
        "losses": Kind(st.just(squares), st.sampled_from((squares, dense, None, 3, "a"))),
        "params": Kind(st.just(jnp.ones((2, 3))), wild_trees()),
        "data": Kind(st.just(jnp.ones((4, 2))), wild_trees()),
        "sharing": options("expand", "reduce"),
    },
    "kfac_product": {"blocks": blocks, "v": matrices},
    "kfac_solve": {"blocks": blocks, "v": matrices, "damping": positive()},
    "kfac_error": {
        "blocks": blocks,
        "params": matrices,
        "product": Kind(st.just(sines), st.sampled_from((sines, None, 3, "a", lambda v: [v]))),
        "num_probes": sizes(2, 4),
        "whole": flags(),
    },
    "mean_over_batches": {
        "loss": Kind(st.just(lambda x, batch: quartic(x)), st.sampled_from((None, 3, "a"))),
        "data": Kind(st.just(jnp.ones((5, 2))), wild_trees()),
    },
    "rescaling_null_space": {"incoming": Kind(st.just(jnp.ones((3, 2))), matrix.wild)},
}


def arrays(result, arguments, data, sane):
    """Every leaf of a result is an array; of sane arguments no floating one is NaN."""
    for path, leaf in jax.tree.leaves_with_path(result):
        assert isinstance(leaf, jax.Array), path
        if sane and jnp.issubdtype(leaf.dtype, jnp.floating):
            assert not bool(jnp.isnan(leaf).any()), (path, leaf)


def stationary(result, arguments, data, sane):
    """A point with NaN in it is never called stationary."""
    arrays(result, arguments, data, False)
    finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(arguments["x"]))
    assert finite or int(result.kind) == saddle.Kind.NOT_STATIONARY
    assert jax.tree.structure(result.escape_direction) == jax.tree.structure(arguments["x"])


def runs(result, arguments, data, sane):
    """Results have the runs in front, whatever the runs met."""
    arrays(result, arguments, data, False)
    (count,) = {leaf.shape[0] for leaf in jax.tree.leaves(arguments["starts"])}
    assert result.steps.shape == result.value.shape == (count,)


def stored(result, arguments, data, sane):
    """All runs are there, whatever they met."""
    assert result.load().steps.shape == (arguments["runs"],)
    shutil.rmtree(arguments["folder"])


def census(result, arguments, data, sane):
    arrays(result, arguments, data, False)
    assert int(result.num_points) <= sum(int(n) for n in result.count)


ACTS = {
    "classify": stationary,
    "find": census,
    "escape": runs,
    "escape_to_disk": stored,
    "mean_over_batches": lambda result, arguments, data, sane: arrays(
        result(jnp.ones(2)), arguments, data, sane
    ),
}
ENTRIES = {
    name: Entry(member, KINDS | OWN.get(name, {}), ACTS.get(name, arrays))
    for name, member in vars(saddle).items()
    if callable(member) and not isinstance(member, type) and not name.startswith("_")
}
NOT_VARIED = {name: {"devices"} for name in ("escape", "escape_to_disk", "find")}
SLOW = (
    "barrier",
    "find",
    "linear_symmetries",
    "path_saddles",
    "escape",
    "escape_to_disk",
    "classify",
)


def test_every_public_function_has_an_entry():
    classes = {"GaussNewton", "MeanOverBatches"}
    check_complete(saddle, ENTRIES)
    assert classes < set(vars(saddle))
    for name, entry in ENTRIES.items():
        names = {p.name for p in entry.parameters()}
        assert not names - set(entry.kinds) - NOT_VARIED.get(name, set()), name


@pytest.mark.parametrize("name", ENTRIES)
def test_functions_work_or_name_the_argument(name):
    fuzz(ENTRIES[name], 2 if name in SLOW else 3)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ENTRIES)
def test_many_examples(name):
    fuzz(ENTRIES[name], 40 if name in SLOW else 60, derandomize=False)
