"""What is observed on the way is right, leaves the trajectory alone, and survives interruption."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxopt_course import observables, saddle, training, transforms
from jaxopt_course.nn import MLP
from jaxopt_course.observables import Following
from tests.spirals_batch import spirals

COUNTING = Following(
    begin=lambda params: jnp.zeros((), jnp.int32),
    follow=lambda params, state, fun, seen: (seen, seen + 1),
)
"""Sees how often it was asked before."""


def network(key):
    return MLP((2, 16, 2), activation=jnp.tanh, rngs=nnx.Rngs(key))


def norm(params, state, fun):
    del state, fun
    return optax.tree.norm(params)


def descent(tree):
    return sum(jnp.sum(jnp.cos(leaf) * jnp.arange(1.0, 1 + leaf.size)) for leaf in tree)


OBSERVE = {"sharpness": observables.sharpness(), "norm": norm, "asked": COUNTING}


def fit(**options):
    arguments = {"epochs": 5, "batch_size": 40, "observe": OBSERVE, "observe_every": 2}
    keys = jax.random.split(jax.random.key(1), 3)
    return training.fit(network, optax.adam(0.03), spirals(), keys, **arguments | options)


def arrays(fitted):
    return fitted.runs, fitted.history, fitted.observed


def sharpness_of(fitted, params):
    inputs, labels = spirals()
    _, _, state = training_view()

    def fun(params):
        return training.cross_entropy(fitted.apply(params, state, inputs)[0], labels).mean()

    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return jnp.linalg.eigvalsh(jax.hessian(lambda flat: fun(unravel(flat)))(flat))[-1]


def training_view():
    from jaxopt_course.nn import functional_view

    return functional_view(network(jax.random.key(0)))


def test_a_training_is_the_same_observed_or_not_and_what_is_seen_is_right():
    fitted, plain = fit(epochs=4), fit(epochs=4, observe=None)
    chex.assert_trees_all_equal((fitted.runs, fitted.history), (plain.runs, plain.history))
    assert plain.observed == {}
    assert fitted.observed["sharpness"].value.shape == (3, 3, 1)
    np.testing.assert_array_equal(fitted.observed["asked"], [[0, 1, 2]] * 3)
    ends = jax.vmap(lambda params: norm(params, None, None))(fitted.runs.params)
    np.testing.assert_allclose(fitted.observed["norm"][:, -1], ends, rtol=1e-6)
    expected = jax.vmap(partial(sharpness_of, fitted))(fitted.runs.params)
    np.testing.assert_allclose(fitted.observed["sharpness"].value[:, -1, 0], expected, rtol=1e-3)


def test_a_run_alone_sees_what_it_sees_beside_others_that_diverge():
    rates = jnp.array([0.1, 1e38, 0.3])
    momentum = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1, momentum=0.9)
    keys = jax.random.split(jax.random.key(1), 3)

    def train(chosen):
        return training.fit(
            network,
            momentum,
            spirals(),
            keys[chosen],
            hyperparams={"learning_rate": rates[chosen]},
            epochs=3,
            batch_size=40,
            lanes=2,
            observe=OBSERVE,
        ).observed

    together, alone = train(np.arange(3)), train(np.array([2]))
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf[2:], together), alone)
    diverged = together["sharpness"].value[1, :, 0]
    assert np.isfinite(diverged[0])
    assert np.isnan(diverged[-1])


def test_an_interrupted_training_and_a_longer_one_carry_on_what_was_observed(tmp_path):
    expected = fit(epochs=5)

    def interrupt(epochs):
        if epochs.epoch[0] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=tmp_path / "a", callback=interrupt)
    chex.assert_trees_all_equal(arrays(fit(checkpoint=tmp_path / "a")), arrays(expected))
    fit(epochs=3, checkpoint=tmp_path / "b")
    chex.assert_trees_all_equal(arrays(fit(checkpoint=tmp_path / "b")), arrays(expected))
    with pytest.raises(ValueError, match="observe"):
        fit(checkpoint=tmp_path / "b", observe=OBSERVE | {"norm": observables.index()})


def test_escapes_are_the_same_observed_or_not_and_resume(tmp_path):
    starts = [jax.random.normal(jax.random.key(0), (6, 40)), jnp.linspace(0.1, 0.5, 6)]
    escape = partial(saddle.escape, descent, optax.adam(0.02), starts, max_steps=60, lanes=4)
    every = {"record_every": 20}
    plain, seen = escape(**every), escape(observe=OBSERVE, **every)
    chex.assert_trees_all_equal(plain.params, seen.params)
    np.testing.assert_array_equal(plain.record.value, seen.record.value)
    assert plain.record.observed is None
    observed = seen.record.observed
    np.testing.assert_array_equal(observed["asked"], [[0, 1, 2, 3]] * 6)
    ends = jax.vmap(lambda params: jnp.max(-jnp.cos(params[0]) * jnp.arange(1.0, 41)))(seen.params)
    np.testing.assert_allclose(observed["sharpness"].value[:, -1, 0], ends, rtol=2e-3)

    def interrupt(progress):
        if progress.ended:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        escape(observe=OBSERVE, checkpoint=tmp_path, callback=interrupt, **every)
    resumed = escape(observe=OBSERVE, checkpoint=tmp_path, **every)
    chex.assert_trees_all_equal(resumed, seen)
    with pytest.raises(ValueError, match="observe"):
        escape(observe={"norm": norm}, checkpoint=tmp_path, **every)


def test_what_is_seen_of_a_run_that_has_ended_repeats_however_long_others_go_on():
    starts = jnp.array([[1.0] * 50, [1e-3] + [1.0] * 49])

    def run(rows):
        return saddle.escape(
            lambda x: jnp.sum(x**4 * jnp.arange(1.0, 51)),
            optax.sgd(1e-4),
            starts[rows],
            max_steps=100,
            target_value=700.0,
            record_every=7,
            observe=OBSERVE,
            lanes=2,
        )

    together, alone = run(np.array([0, 1])), run(np.array([0]))
    assert together.steps[0] < together.steps[1] or together.steps[0] > 7
    first = jax.tree.map(lambda leaf: leaf[:1], together.record.observed)
    chex.assert_trees_all_equal(first, alone.record.observed)
    value = np.asarray(alone.record.observed["sharpness"].value[0, :, 0])
    assert (value[-3:] == value[-1]).all()


def test_a_path_of_a_network_has_the_same_bits_observed_at_every_step():
    inputs, labels = spirals()
    _, params, state = training_view()
    apply, *_ = training_view()

    def fun(params):
        return training.cross_entropy(apply(params, state, inputs)[0], labels).mean()

    def run(observe):
        return jax.jit(
            lambda params: transforms.path(fun, optax.adam(0.03), params, 12, observe=observe)
        )(params)

    plain, seen = run({}), run(OBSERVE)
    chex.assert_trees_all_equal(
        (plain.params, plain.state, plain.value), (seen.params, seen.state, seen.value)
    )
    np.testing.assert_array_equal(seen.observed["asked"], np.arange(13))


def test_an_eigenvector_that_is_overtaken_is_left():
    """The top eigenvector becomes another, orthogonal one: the largest eigenvalue is found still.

    Parameters: where the run is, and 400 coordinates whose curvatures depend on that alone.
    """

    def fun(params):
        time, x = params
        curvatures = jnp.linspace(0, 1, 400).at[0].set(6 - time).at[1].set(4 + time)
        return -time + jnp.sum(curvatures * x**2) / 2

    start = (jnp.zeros(()), jnp.zeros(400))
    run = transforms.path(fun, optax.sgd(0.1), start, 30, observe={"s": observables.sharpness()})
    time = np.arange(31) * 0.1
    np.testing.assert_allclose(
        run.observed["s"].value[:, 0], np.maximum(6 - time, 4 + time), rtol=1e-3
    )
    assert (run.observed["s"].error < 1e-2).all()


def test_what_cannot_be_observed_is_named():
    for call in (
        lambda observe: fit(observe=observe),
        lambda observe: saddle.escape(
            descent, optax.sgd(0.1), [jnp.ones((2, 3))], max_steps=3, record_every=1,
            observe=observe,
        ),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"observe\['norm'\] must be a function, got 3"):
            call({"norm": 3})
        with pytest.raises(TypeError, match="observe must be a mapping"):
            call([norm])
    with pytest.raises(ValueError, match="observe need record_every"):
        saddle.escape(descent, optax.sgd(0.1), [jnp.ones((2, 3))], max_steps=3, observe=OBSERVE)
