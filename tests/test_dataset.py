"""Results as datasets: named dimensions, the same numbers, to files and back."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray
from flax import nnx

from jaxopt_course import saddle, training, transforms
from jaxopt_course.nn import MLP

KEY = jax.random.key(0)


def fun(x):
    return jnp.sum(x["a"] ** 2) + x["b"] ** 2


def test_runs_have_dimensions_run_and_step(tmp_path):
    starts = {"a": jnp.ones((3, 2, 4)), "b": jnp.arange(3.0)}
    options = {"max_steps": 9, "record_every": 4, "record_params": True}
    options |= {"observe": {"twice": lambda x, state, fun: 2 * x["b"]}}
    runs = saddle.escape(fun, optax.sgd(0.1), starts, record_min_eigenvalue=True, **options)
    data = runs.to_xarray()
    assert data["value"].dims == ("run",)
    assert data["params.a"].dims == ("run", "params.a_dim_0", "params.a_dim_1")
    assert data["recorded_params.b"].dims == ("run", "step")
    assert data.step.values.tolist() == [0, 4, 8]
    np.testing.assert_array_equal(data.recorded_value.sel(step=8), runs.record.value[:, 2])
    np.testing.assert_array_equal(data["recorded_observed.twice"], 2 * data["recorded_params.b"])
    np.testing.assert_array_equal(data.recorded_min_eigenvalue, runs.record.min_eigenvalue)
    meanings = dict(zip(data.reason.flag_values, data.reason.flag_meanings.split(), strict=True))
    assert {meanings[reason] for reason in data.reason.values} == {"MAX_STEPS"}
    data.to_netcdf(tmp_path / "runs.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "runs.nc") as again:
        xarray.testing.assert_identical(again.load(), data)
    assert "step" not in saddle.escape(fun, optax.sgd(0.1), starts, max_steps=2).to_xarray().dims


def test_runs_on_disk_count_and_convert_as_those_in_memory(tmp_path):
    def init(key):
        return {"a": jax.random.normal(key, (2,)), "b": jnp.zeros(())}

    options = {"max_steps": 40, "target_value": 0.01, "folder": tmp_path}
    stored = saddle.escape_to_disk(fun, optax.sgd(0.05), init, KEY, runs=20, **options)
    runs = stored.load()
    assert stored.counts() == runs.counts()
    for data in (stored.to_xarray(), stored.to_xarray(partial=True)):
        assert data.run.values.tolist() == list(range(20))
        np.testing.assert_array_equal(data["params.a"], runs.params["a"])


def test_paths_have_the_steps_that_were_taken_and_the_runs_they_were_mapped_over():
    observe = {"size": lambda x, state, fun: jnp.linalg.norm(x)}

    def run(x):
        return transforms.path(lambda x: x @ x, optax.sgd(0.1), x, 6, every=3, observe=observe)

    data = jax.vmap(run)(jnp.ones((2, 5))).to_xarray()
    assert data["size"].dims == data["value"].dims == ("run", "step")
    assert data.step.values.tolist() == [0, 3, 6]
    assert run(jnp.ones(5)).to_xarray().gradient_norm.dims == ("step",)


def test_a_training_has_runs_and_epochs():
    sets = (jnp.linspace(-1, 1, 8)[:, None], jnp.arange(8) % 2)
    result = training.fit(
        lambda key: MLP((1, 2, 2), rngs=nnx.Rngs(key)),
        optax.sgd(0.1),
        sets,
        jax.random.split(KEY, 2),
        epochs=3,
        batch_size=4,
        evaluation={"test": sets},
        observe={"one": lambda params, state, fun: jnp.ones(())},
    )
    data = result.to_xarray()
    assert data.epoch.values.tolist() == [1, 2, 3]
    assert data.test_accuracy.dims == ("run", "epoch")
    assert data["observed.one"].dims == ("run", "observation")
    assert data.steps.values.tolist() == [6, 6]
    np.testing.assert_array_equal(data.loss, result.history["loss"])


def test_who_lacks_xarray_is_told_the_extra(monkeypatch):
    found = transforms.path(lambda x: x**2, optax.sgd(0.1), jnp.ones(()), 1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxopt_course\[xarray\]'"):
        found.to_xarray()
