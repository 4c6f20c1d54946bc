import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course.transforms import _leaves


def test_a_rule_is_applied_leaf_by_leaf_and_none_leaves_keep_their_states():
    updates = {"a": jnp.array(1.0), "b": None, "c": [jnp.array(2.0)]}
    states = {"a": jnp.array(10.0), "b": jnp.array(20.0), "c": [jnp.array(30.0)]}
    new, kept = _leaves.map_leaves(lambda u, s: (u + s, -s), updates, states)
    assert new == {"a": 11.0, "b": None, "c": [32.0]}
    assert kept == {"a": -10.0, "b": 20.0, "c": [-30.0]}
    assert _leaves.map_leaves(lambda u, s: (u, s), {}, {}) == ({}, {})


def test_short_floats_are_widened_and_others_are_not(x64):
    names = {"bfloat16": "float32", "float16": "float32", "float64": "float64"}
    for dtype, wide in names.items():
        assert _leaves.widen(jnp.ones(1, dtype)).dtype == wide
    assert _leaves.widen(jnp.ones(1, jnp.complex64)).dtype == jnp.complex64


def test_a_float64_scalar_does_not_widen_a_float32_array(x64):
    scalar = jnp.float64(0.1)
    assert (_leaves.matching(scalar, jnp.ones(1, jnp.float32)) * jnp.float32(1)).dtype == "float32"
    assert _leaves.matching(scalar, jnp.ones(1, jnp.complex64)).dtype == jnp.float32
    assert _leaves.matching(0.1, jnp.ones(1)) == 0.1


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 0.999999])
@pytest.mark.parametrize("traced", [False, True])
def test_the_correction_is_exact_in_float32(decay, traced):
    """Beside Python's double precision; a traced decay is itself rounded to float32 first."""
    given = jnp.float32(decay) if traced else decay
    exact = float(given)
    for count in (1, 7, 5_000):
        ours = _leaves.reciprocal_bias_correction(given, jnp.array(count))
        np.testing.assert_allclose(ours, 1 / (1 - exact**count), rtol=5e-7)


@pytest.mark.parametrize("eps", [0.0, 0.5, jnp.float32(0.5)])
@pytest.mark.parametrize("eps_in_sqrt", [True, False])
@pytest.mark.parametrize("exponent", [-0.5, -1.0, jnp.float32(-0.5)])
def test_the_inverse_root_is_its_formula_and_zero_at_zero(eps, eps_in_sqrt, exponent):
    squares = np.array([0.0, 0.25, 4.0])
    ours = _leaves.inverse_root(
        jnp.float32(squares), eps, eps_in_sqrt=eps_in_sqrt, exponent=exponent
    )
    power = -float(exponent)
    base = (squares + eps) ** power if eps_in_sqrt else squares**power + eps
    expected = np.divide(1, base, out=np.zeros(3), where=base > 0)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_numbers_about_a_whole_tree_are_real_and_at_least_float32(x64):
    assert _leaves.widest_dtype({}) == jnp.float32
    assert _leaves.widest_dtype([jnp.ones(1, jnp.bfloat16)]) == jnp.float32
    assert _leaves.widest_dtype([jnp.ones(1, jnp.complex64)]) == jnp.float32
    assert _leaves.widest_dtype([jnp.ones(1, jnp.bfloat16), jnp.ones(1)]) == jnp.float64


def test_a_sum_of_few_squares_has_the_same_bits_among_any_number_of_members(x64):
    rng = np.random.default_rng(0)
    leaves = {"a": rng.normal(size=(10, 200)), "b": rng.normal(size=(2, 3, 200)) * 1j}
    tree = {"a": jnp.asarray(leaves["a"], jnp.float32), "b": jnp.asarray(leaves["b"])}
    total = jax.jit(jax.vmap(_leaves.sum_of_squares, in_axes=-1))
    every = total(tree)
    assert every.dtype == jnp.float64
    squares = sum((np.abs(leaf) ** 2).reshape(-1, 200).sum(0) for leaf in leaves.values())
    np.testing.assert_allclose(every, squares, rtol=1e-6)
    few = total(jax.tree.map(lambda leaf: leaf[..., :3], tree))
    one = _leaves.sum_of_squares(jax.tree.map(lambda leaf: leaf[..., 5], tree))
    np.testing.assert_array_equal(few, every[:3])
    np.testing.assert_array_equal(one, every[5])


def test_few_squares_are_summed_in_order_on_a_cpu_and_by_a_reduction_elsewhere():
    def text(size, platform):
        traced = jax.jit(_leaves.sum_of_squares).trace(jnp.ones(size))
        return traced.lower(lowering_platforms=(platform,)).as_text()

    # In float32 a large square swallows the smaller ones behind it, not those before.
    entries = jnp.array([1.0, *[1e-4] * 15])
    ahead, behind = _leaves.sum_of_squares(entries[::-1]), _leaves.sum_of_squares(entries)
    assert behind == 1 < ahead
    assert "stablehlo.reduce" not in text(16, "cpu")
    for size, platform in ((17, "cpu"), (16, "tpu"), (16, "cuda")):
        assert "stablehlo.reduce" in text(size, platform)
