"""What lanes do under `escape` is the same on every kind of device, however it is compiled."""

import operator
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_course import problems, saddle, transforms
from jaxopt_course._engine import _compiled, _loop
from jaxopt_course._platforms import Rhythm, traced_for
from jaxopt_course.saddle._escape_program import (
    Limits,
    Start,
    default_lanes,
    trace_program,
)

OCTOPUS = problems.octopus(dimension=5)
STARTS = 0.3 * jax.random.normal(jax.random.key(0), (40, 5))
KEYS = jax.random.split(jax.random.key(1), 40)


def perturbed(key):
    return transforms.perturbed_gradient_descent(
        0.1, radius=0.02, gradient_threshold=0.02, interval=1, key=key
    )


def noisy(key):
    return transforms.noisy_gradient_descent(0.1, 1e-2, key)


def escape(optimizer, starts=STARTS, keys=KEYS, **options):
    """Runs that end at very different steps, more than there are lanes."""
    options = {"target_value": -3.5, "max_steps": 90, "lanes": 16} | options
    return saddle.escape(OCTOPUS.fun, optimizer, starts, keys, **options)


@pytest.mark.parametrize(
    ("optimizer", "platform", "options"),
    [
        (perturbed, "gpu", {}),
        (noisy, "gpu", {}),
        (perturbed, "tpu", {"epsilon": 0.2, "hessian_lipschitz": 1.0}),
        (perturbed, "tpu", {"record_every": 20, "record_params": True}),
    ],
    ids=["perturbed", "noisy", "epsilon", "recorded"],
)
def test_a_run_has_the_same_bits_by_the_way_of_an_accelerator(optimizer, platform, options):
    expected = escape(optimizer, **options)
    assert len(set(expected.steps.tolist())) > 3
    with traced_for(platform):
        jax.tree.map(np.testing.assert_array_equal, escape(optimizer, **options), expected)


@pytest.mark.parametrize("optimizer", [perturbed, transforms.adam(0.05)], ids=["noise", "adam"])
def test_how_many_steps_are_taken_between_two_looks_does_not_matter(optimizer, monkeypatch):
    expected = escape(optimizer)
    for steps, runs in ((7, 40), (64, 40), (7, 11)):  # The last all have a lane.
        monkeypatch.setattr(_loop, "rhythm", lambda steps=steps: Rhythm(steps, 1))
        monkeypatch.setattr(_compiled, "_known", {})
        found = escape(optimizer, STARTS[:runs], KEYS[:runs])
        first = jax.tree.map(operator.itemgetter(slice(runs)), expected)
        jax.tree.map(np.testing.assert_array_equal, found, first)


def test_a_run_that_waits_for_others_is_reported_where_its_own_state_says():
    nesterov = transforms.nesterov(0.01)
    together = escape(nesterov, keys=None)
    alone = [escape(nesterov, STARTS[i : i + 1], None) for i in range(5)]
    assert together.counts() == {"TARGET_VALUE": 40}
    for i, run in enumerate(alone):
        np.testing.assert_array_equal(run.params[0], together.params[i])


def test_steps_that_move_much_memory_are_taken_one_by_one():
    data = jnp.ones((2000, 500))

    def is_quick(fun, size):
        shapes = Start(jax.ShapeDtypeStruct((size,), jnp.float32), None)
        program = trace_program(
            fun,
            transforms.gradient_descent(0.1),
            shapes,
            at=lambda: jnp.zeros(size),
            limits=Limits(None, None, None),
            max_steps=10,
            lanes=1024,
        )
        return program.is_quick

    assert is_quick(OCTOPUS.fun, 5)
    assert not is_quick(lambda x: jnp.sum((data @ x) ** 2), 500)
    assert not is_quick(lambda x: jnp.sum(x**4), 100_000)


H100 = SimpleNamespace(platform="gpu", device_kind="NVIDIA H100 80GB HBM3")


def test_an_accelerator_takes_as_many_lanes_as_lie_in_its_cache():
    def lanes(runs, *sizes):
        return default_lanes(runs, jax.ShapeDtypeStruct(sizes, jnp.float32), H100)

    assert lanes(1000, 10) == 1024
    assert lanes(3, 10) == 64
    cache = 50 * 2**20
    for sizes in ((10,), (100,), (10_000,), (300, 300)):
        bytes_a_lane = 8 * 4 * np.prod(sizes)
        assert cache / 2 < lanes(10**7, *sizes) * bytes_a_lane <= cache
    assert lanes(1000, 10_000, 1000) == 1


def test_a_cpu_takes_the_more_lanes_of_matrices_the_smaller_these_are():
    def lanes(runs, *sizes):
        params = [jax.ShapeDtypeStruct(size, jnp.float32) for size in sizes]
        return default_lanes(runs, params, SimpleNamespace(platform="cpu"))

    assert lanes(1000, (2, 2), (2, 2)) == lanes(1000, (10, 10)) == 128
    assert lanes(1000, (20, 20), (20, 20), (20, 20)) == 32
    assert lanes(1000, (50, 50), (50, 50)) == lanes(1000, (784, 256), (256, 10)) == 8
    assert lanes(64, (2, 2)) == 32
    assert lanes(1, (2, 2)) == 1
    assert lanes(10_000, (10,)) == 2048
    # Few runs of few numbers are taken at once, more leave half for a second device.
    assert lanes(100, (10,)) == lanes(128, (10,)) == 128
    assert lanes(129, (10,)) == lanes(100, (100,)) * 2 == 64


@pytest.mark.parametrize("runs", [1, 11, 16])
@pytest.mark.parametrize("optimizer", [perturbed, transforms.adam(0.05)], ids=["noise", "adam"])
def test_runs_that_all_have_a_lane_have_the_bits_of_runs_that_wait_for_one(optimizer, runs):
    expected = escape(optimizer)
    program = jax.jit(lambda starts, keys: escape(optimizer, starts, keys))
    ours = program(STARTS[:runs], KEYS[:runs])
    jax.tree.map(np.testing.assert_array_equal, ours, jax.tree.map(lambda x: x[:runs], expected))


def test_where_every_run_has_a_lane_none_is_refilled_and_the_lanes_are_vectors():
    def program(runs):
        traced = jax.jit(lambda starts: escape(transforms.adam(0.05), starts, None))
        return traced.lower(jax.ShapeDtypeStruct((runs, 5), jnp.float32))

    assert program(16).as_text().count("stablehlo.while") == 1
    assert program(17).as_text().count("stablehlo.while") > 1
    # Number i of all lanes lies together, though the starts lie otherwise.
    (carried,) = [line for line in program(16).compile().as_text().splitlines() if "while(" in line]
    assert "f32[5,16]{1,0}" in carried
    assert "f32[16,5]" not in carried


def test_a_gradient_is_hidden_from_ended_runs_only_where_a_rule_would_ask_for_more():
    def selects(optimizer, start):
        traced = trace_program(
            OCTOPUS.fun,
            optimizer,
            start,
            at=lambda: STARTS[0],
            limits=Limits(None, None, None),
            max_steps=3,
            lanes=1,
        )
        return traced.rule.update.has_branches()

    start = Start(STARTS[0], None)
    assert not selects(transforms.gradient_descent(0.1), start)
    assert not selects(transforms.adam(0.1), start)
    assert not selects(noisy, start._replace(key=KEYS[0]))
    assert selects(perturbed, start._replace(key=KEYS[0]))


def test_a_tpu_is_asked_for_no_layout_of_float64_which_it_emulates(x64):
    del x64

    def asked(dtype):
        starts = jax.ShapeDtypeStruct((16, 5), dtype)
        program = jax.jit(lambda starts: escape(transforms.gradient_descent(0.05), starts, None))
        with traced_for("tpu"):
            return "LayoutConstraint" in program.lower(starts).as_text()

    assert asked(jnp.float32)
    assert not asked(jnp.float64)


def test_a_rule_of_a_part_that_is_judged_elsewhere_needs_to_be_told_where():
    inner = transforms.nesterov(0.01)

    def update(updates, state, params):
        move, state = inner.update(updates["x"], state, params["x"])
        return {"x": move, "cost": jnp.ones_like(params["cost"])}, state

    counted = optax.GradientTransformation(lambda params: inner.init(params["x"]), update)
    starts = {"x": jnp.ones((2, 3)), "cost": jnp.zeros(2)}

    def run(**options):
        return saddle.escape(
            lambda params: jnp.sum(params["x"] ** 2), counted, starts, max_steps=3, **options
        )

    with pytest.raises(ValueError, match="eval_params must be given"):
        run()
    ended = run(
        eval_params=lambda state, params: {
            **params,
            "x": transforms.eval_params(state, params["x"]),
        }
    )
    assert ended.params["cost"].tolist() == [3, 3]
