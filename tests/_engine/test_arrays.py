"""Trees of arrays in a checkpoint: every structure and every type comes back."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._engine import _arrays as arrays


def tree():
    return {
        "params": (jnp.arange(3.0, dtype="bfloat16"), {"b": jnp.ones((2, 2), "float16")}),
        "run": np.arange(2, dtype="int32"),
        "done": np.array([True, False]),
        "keys": jax.random.split(jax.random.key(0), 2),
    }


def written(tmp_path):
    handler = arrays.ArraysHandler()
    handler.save(tmp_path, arrays.ArraysSave(arrays.flatten(tree())))
    return handler.restore(tmp_path)


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
