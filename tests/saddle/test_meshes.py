"""Within `jax.set_mesh`, axes of both kinds: results as without a mesh, shardings kept.

Types and shardings are held on eight devices, where tracing is enough; values of programs that
span devices on two, as collectives of many devices on few cores may starve, and XLA then ends the
process. Batches of runs have no such programs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxopt_course import problems, saddle, transforms
from jaxopt_course._platforms import traced_for

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
DATA = {"x": RNG.standard_normal((16, 8)), "y": np.sin(np.arange(16.0))}
POINT = {"w": RNG.standard_normal((8, 3)), "o": RNG.standard_normal((3,)), "b": 0.5}
SPECS = {"w": PartitionSpec("d"), "o": PartitionSpec(), "b": PartitionSpec()}
BOTH_KINDS = pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)


def loss(params, batch):
    # A contraction over a sharded axis has to say what it gives; without a mesh it must not.
    explicit = AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types
    wanted = {"out_sharding": PartitionSpec("d")} if explicit else {}
    w = jax.sharding.reshard(params["w"], PartitionSpec()) if explicit else params["w"]
    out = jnp.tanh(jnp.matmul(batch["x"], w, **wanted)) @ params["o"]
    return jnp.mean((out - batch["y"]) ** 2) + params["b"] ** 4 + jnp.sum(params["w"] ** 4)


def curvature(data, params):
    """What the curvature functions find, and as which pytrees."""
    fun = functools.partial(loss, batch=data)
    pairs = saddle.extreme_eigenpairs(fun, params, which="both", key=KEY, basis_size=8)
    probing = {"num_probes": 6, "key": KEY}
    density = saddle.spectral_density(fun, params, num_steps=3, num_probes=2, key=KEY)
    return {
        "like params": {
            "hvp": saddle.hvp(fun, params, params),
            "diagonal": saddle.diagonal(fun, params, method="diag++", **probing).value,
        },
        "rows like params": pairs.eigenvectors,
        "numbers": {
            "eigenvalues": pairs.eigenvalues,
            "trace": saddle.trace(fun, params, method="hutch++", **probing).value,
            "nodes": density.nodes,
        },
    }


WAYS = {"dense": {}, "fourth": {"order": 4}, "lanczos": {"method": "lanczos", "key": KEY}}


def classified(data, params, ways=tuple(WAYS)):
    fun = functools.partial(loss, batch=data)
    return {way: saddle.classify(fun, params, **WAYS[way]) for way in ways}


def placed(mesh):
    """Data and parameters sharded over the mesh."""
    params = jax.device_put(
        jax.tree.map(jnp.asarray, POINT), jax.tree.map(lambda s: NamedSharding(mesh, s), SPECS)
    )
    rows = NamedSharding(mesh, PartitionSpec("d"))
    return jax.device_put(jax.tree.map(jnp.asarray, DATA), rows), params


def names(leaf):
    """The axes that a traced array is sharded over, dimension by dimension."""
    spec = () if leaf.sharding is None else leaf.sharding.spec
    return (*spec, *[None] * (leaf.ndim - len(spec)))


def test_curvature_is_sharded_like_the_parameters():
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        found = jax.tree.map(names, jax.eval_shape(curvature, *placed(mesh)))
    expected = {"w": ("d", None), "o": (None,), "b": ()}
    assert all(tree == expected for tree in found["like params"].values())
    assert found["rows like params"] == {leaf: (None, *axes) for leaf, axes in expected.items()}
    assert not any(any(axes) for axes in found["numbers"].values())


def test_what_a_point_is_has_its_directions_sharded_like_the_parameters():
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        points = jax.eval_shape(classified, *placed(mesh))
    for point in points.values():
        directions = jax.tree.map(names, point.escape_direction)
        assert directions == {"w": ("d", None), "o": (None,), "b": ()}
        assert not any(names(point.eigenvalues))


def test_a_point_is_what_it_is_without_a_mesh(x64):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))
    dense = jax.jit(functools.partial(classified, ways=["dense"]))
    with jax.set_mesh(mesh):
        data, params = placed(mesh)
        found = dense(data, jax.tree.map(jnp.zeros_like, params))["dense"]
    at_zero = jax.tree.map(jnp.zeros_like, POINT)
    expected = dense(jax.tree.map(jnp.asarray, DATA), at_zero)["dense"]
    assert found.kind == expected.kind
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, atol=1e-9)


@BOTH_KINDS
def test_curvature_has_the_values_that_it_has_without_a_mesh(kind, x64):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        found = jax.jit(curvature)(*placed(mesh))
    expected = jax.jit(curvature)(*jax.tree.map(jnp.asarray, (DATA, POINT)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-9), found, expected)


STARTS = RNG.standard_normal((8, 2)).astype(np.float32)


def valley(x):
    return jnp.sum((x**2 - 1) ** 2)


def descents(starts):
    return saddle.escape(valley, optax.sgd(0.05), starts, max_steps=20, lanes=8)


def census(starts):
    return saddle.find(valley, starts, max_steps=20, lanes=8)


@BOTH_KINDS
@pytest.mark.parametrize("axes", [None, "d"], ids=["plain", "sharded"])
def test_batches_of_runs_are_what_they_are_without_a_mesh(kind, axes):
    mesh = jax.make_mesh((8,), ("d",), axis_types=(kind,))
    expected = descents(STARTS), census(STARTS)
    with jax.set_mesh(mesh):
        starts = STARTS
        if axes is not None:
            starts = jax.device_put(STARTS, NamedSharding(mesh, PartitionSpec(axes)))
        found = descents(starts), census(starts)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    if axes is not None:
        assert all(
            leaf.sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec("d")), leaf.ndim)
            for leaf in jax.tree.leaves(found[0])
        )


@BOTH_KINDS
def test_stored_runs_are_what_they_are_without_a_mesh(kind, tmp_path):
    def stored(name, devices):
        return saddle.escape_to_disk(
            valley,
            optax.sgd(0.05),
            lambda key: jax.random.normal(key, (2,)),
            jax.random.key(3),
            runs=24,
            folder=tmp_path / name,
            max_steps=20,
            lanes=2,
            devices=devices,
        ).load()

    expected = stored("alone", None)
    mesh = jax.make_mesh((8,), ("d",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        found = stored("within", tuple(jax.devices()))
        # What a mesh has begun goes on, or is read, without one and the other way round.
        again = stored("alone", tuple(jax.devices()))
    for runs in (found, again, stored("within", None)):
        jax.tree.map(np.testing.assert_array_equal, runs, expected)


def test_batches_of_runs_within_a_program_of_explicit_axes():
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        starts = jax.device_put(STARTS, NamedSharding(mesh, PartitionSpec("d")))
        runs = jax.eval_shape(descents, starts)
        points = jax.eval_shape(functools.partial(saddle.find, valley, max_points=4), starts)
    assert runs.params.shape == STARTS.shape
    assert points.count.shape == (4,)


def test_data_sharded_over_explicit_axes_are_refused_by_batches_of_runs():
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        data = jax.device_put(np.ones((8, 2)), NamedSharding(mesh, PartitionSpec("d")))
        with pytest.raises(ValueError, match="sharded over explicit axes"):
            saddle.escape(
                lambda x: jnp.sum((data * x[None]) ** 2), optax.sgd(0.1), STARTS, max_steps=2
            )


@pytest.mark.parametrize("runs", [32, 28])
def test_within_jit_devices_divide_the_steps_of_runs_that_all_have_a_lane(runs):
    octopus = problems.octopus(dimension=5)
    starts = 0.3 * jax.random.normal(KEY, (runs, 5))
    mesh = jax.make_mesh((2,), ("d",), (AxisType.Auto,), devices=jax.devices()[:2])
    divided = jax.device_put(starts, NamedSharding(mesh, PartitionSpec("d")))

    @jax.jit
    def escape(starts):
        rule = transforms.gradient_descent(0.1)
        return saddle.escape(octopus.fun, rule, starts, max_steps=50, lanes=32)

    with traced_for("tpu"):
        alone, together = (escape.lower(place).compile() for place in (starts, divided))
    jax.tree.map(np.testing.assert_array_equal, together(divided), alone(starts))
    one, each = (program.cost_analysis()["flops"] for program in (alone, together))
    assert each < 0.6 * one
