"""Trees of arrays in a checkpoint: every structure and every type comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course._engine import _arrays as arrays
from jaxopt_course._engine._files import Damaged


def tree():
    return {
        "params": (jnp.arange(3.0, dtype="bfloat16"), {"b": jnp.ones((2, 2), "float16")}),
        "run": np.arange(2, dtype="int32"),
        "done": np.array([True, False]),
        "keys": jax.random.split(jax.random.key(0), 2),
    }


def written(tmp_path):
    path = tmp_path / "arrays.npz"
    return arrays.read(path, arrays.write(path, tree()))


def test_structure_types_and_keys_come_back(tmp_path):
    back, expected = arrays.unflatten(written(tmp_path), tree()), tree()
    assert jax.tree.structure(back) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        assert np.all(one == other)


def test_without_a_structure_leaves_are_named_by_their_path(tmp_path):
    back = arrays.by_name(written(tmp_path))
    assert back["run"].tolist() == [0, 1]
    assert set(back["params"]) == {"[0]", "[1]['b']"}
    assert back["params"]["[0]"].dtype == jnp.bfloat16


def test_what_would_need_a_pickle_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"\['a'\]\|object must be an array of numbers"):
        arrays.write(tmp_path / "arrays.npz", {"a": np.array([print])})
    assert not list(tmp_path.iterdir())


def test_another_file_is_refused(tmp_path):
    stamp = arrays.write(tmp_path / "one.npz", {"a": np.arange(3)})
    arrays.write(tmp_path / "one.npz", {"a": np.arange(1, 4)})
    with pytest.raises(Damaged, match=r"one.npz has another checksum"):
        arrays.read(tmp_path / "one.npz", stamp)
