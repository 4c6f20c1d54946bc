"""Work done for those who ask is right for them, and is not done for the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_course import _batching
from jaxopt_course._batching import _members, update_where
from jaxopt_course._platforms import traced_for


def add_noise(old, key, scale):
    return {"x": old["x"] + scale * jax.random.normal(key, old["x"].shape), "n": old["n"] + 1}


@pytest.mark.parametrize("axis", [0, -1], ids=["members first", "members last"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_members_that_ask_are_updated_and_no_others(share, axis):
    members = 37
    rng = np.random.default_rng(0)
    asks = jnp.asarray(rng.random(members) < share)
    old = {"x": jnp.asarray(rng.normal(size=(members, 3))), "n": jnp.arange(members)}
    old["x"] = jnp.moveaxis(old["x"], 0, axis)
    keys = jax.random.split(jax.random.key(0), members)
    axes = {"x": axis, "n": 0}

    guarded = update_where(add_noise, block=8)
    new = jax.jit(jax.vmap(guarded, in_axes=(0, axes, 0, None), out_axes=axes))(
        asks, old, keys, 0.5
    )

    everyone = jax.vmap(add_noise, in_axes=(axes, 0, None), out_axes=axes)(old, keys, 0.5)
    expected = jax.tree.map(
        lambda axis, e, o: jax.vmap(jnp.where, (0, axis, axis), axis)(asks, e, o),
        axes,
        everyone,
        old,
    )
    np.testing.assert_array_equal(new["n"], expected["n"])
    np.testing.assert_allclose(new["x"], expected["x"], rtol=1e-6)


def test_a_member_has_the_same_bits_alone_and_among_others():
    keys = jax.random.split(jax.random.key(1), 100)
    old = {"x": jnp.ones((100, 5)), "n": jnp.zeros(100, jnp.int32)}
    guarded = jax.vmap(update_where(add_noise), in_axes=(0, 0, 0, None))
    together = guarded(jnp.ones(100, bool), old, keys, 0.1)["x"]
    for member in (0, 63, 64, 99):
        alone = guarded(jnp.arange(100) == member, old, keys, 0.1)["x"]
        np.testing.assert_array_equal(alone[member], together[member])


def test_without_a_batch_it_is_a_condition():
    guarded = jax.jit(update_where(lambda old, x: old * x))
    assert guarded(True, 2.0, 3.0) == 6.0
    assert guarded(False, 2.0, 3.0) == 2.0


def test_a_condition_common_to_all_members_is_allowed():
    new = jax.vmap(update_where(lambda old, x: x), in_axes=(None, 0, 0))(
        True, jnp.zeros(4), jnp.arange(4.0)
    )
    np.testing.assert_array_equal(new, jnp.arange(4.0))


def test_what_the_function_closes_over_may_be_batched():
    def member(asks, old, shift, table):
        return update_where(lambda old, x: old + x + shift + table[1], block=2)(asks, old, 2 * old)

    asks, old, shifts = jnp.arange(5) % 2 == 0, jnp.arange(5.0), 10 * jnp.arange(5.0)
    over_members = jax.vmap(member, in_axes=(0, 0, 0, None))
    new = jax.jit(over_members)(asks, old, shifts, jnp.array([0.0, 100.0]))
    np.testing.assert_array_equal(new, [100.0, 1.0, 126.0, 3.0, 152.0])


def test_nobody_asking_means_nothing_is_computed():
    calls = []

    def counted(old):
        jax.debug.callback(lambda: calls.append(1))
        return old + 1

    guarded = jax.jit(jax.vmap(update_where(counted, block=4)))
    jax.block_until_ready(guarded(jnp.zeros(16, bool), jnp.zeros(16)))
    jax.effects_barrier()
    assert not calls
    jax.block_until_ready(guarded(jnp.arange(16) < 5, jnp.zeros(16)))
    jax.effects_barrier()
    assert calls


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("size", [1, 31, 33, 1000, 1025, 40_000])
def test_members_that_ask_are_found_in_order(size, platform):
    block, rng = 7, np.random.default_rng(size)

    @jax.jit
    def found(condition):
        number, members_from = _members(condition, block)
        blocks = jax.lax.map(members_from, block * jnp.arange(-(-size // block) + 1))
        return number, blocks.reshape(-1)

    for asks in (rng.random(size) < 0.3, np.ones(size, bool), np.zeros(size, bool)):
        with traced_for(platform):
            number, members = found(asks)
        (expected,) = np.nonzero(asks)
        assert number == len(expected)
        np.testing.assert_array_equal(members[: len(expected)], expected)
        np.testing.assert_array_equal(members[len(expected) :], size)


@pytest.mark.parametrize(
    ("members", "options", "together"),
    [(20, {}, 16), (100, {}, 16), (512, {}, 32), (2048, {}, 64), (2048, {"block": 8}, 8)],
)
def test_a_cpu_computes_a_sixteenth_of_the_members_at_once(members, options, together):
    guarded = jax.vmap(update_where(lambda old, x: old + jnp.sin(x), **options))
    traced = jax.jit(guarded).trace(jnp.ones(members, bool), jnp.ones(members), jnp.ones(members))
    assert f"f32[{together}] = sin" in str(traced.jaxpr)


@pytest.mark.parametrize("cheap", [True, False], ids=["cheap", "dear"])
@pytest.mark.parametrize("members", [20, 300])
def test_a_member_has_the_same_bits_on_a_cpu_and_on_an_accelerator(cheap, members):
    keys = jax.random.split(jax.random.key(1), members)
    old = {"x": jnp.ones((members, 5)), "n": jnp.zeros(members, jnp.int32)}
    guarded = jax.jit(
        jax.vmap(update_where(add_noise, block=8, cheap=cheap), in_axes=(0, 0, 0, None))
    )
    # Nobody, one in twenty, most: every way of an accelerator.
    for every in (members + 1, 20, 2):
        asks = jnp.arange(1, members + 1) % every == 0
        in_blocks = guarded(asks, old, keys, 0.1)
        with traced_for("tpu"):
            at_once = guarded(asks, old, keys, 0.1)
        jax.tree.map(np.testing.assert_array_equal, at_once, in_blocks)


def test_an_accelerator_computes_all_members_at_once_as_far_as_memory_goes(monkeypatch):
    keys = jax.random.split(jax.random.key(1), 300)
    old = {"x": jnp.ones((300, 5)), "n": jnp.zeros(300, jnp.int32)}
    asks = jnp.arange(300) % 3 == 0

    def run(platform, **options):
        guarded = jax.jit(jax.vmap(update_where(add_noise, **options), in_axes=(0, 0, 0, None)))
        with traced_for(platform):
            traced = guarded.trace(asks, old, keys, 0.1)
            text = str(traced.jaxpr)
            return text.count("while["), text.count("cond["), guarded(asks, old, keys, 0.1)

    loops, _, in_blocks = run("cpu", block=8)
    assert loops == 1
    assert run("tpu", block=8)[:2] == (0, 1)
    assert run("tpu", block=8, cheap=True)[:2] == (0, 0)

    monkeypatch.setattr(_batching, "_BYTES_AT_ONCE", 1000)
    loops, looks, in_larger_blocks = run("tpu", block=8)
    assert (loops, looks) == (1, 0)
    jax.tree.map(np.testing.assert_array_equal, in_larger_blocks, in_blocks)
