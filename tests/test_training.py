"""Training: many runs in one program, each the same whoever trains beside it."""

import operator
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxopt_course import training
from jaxopt_course._checks import is_key
from jaxopt_course._engine._compiled import CompiledLoop
from jaxopt_course._streams import stream
from jaxopt_course.nn import MLP, FunctionalView, functional_view
from tests.compilations import compilations
from tests.spirals_batch import MOMENTUM, network, spirals


def plain_network(key):
    return MLP((2, 16, 2), rngs=nnx.Rngs(key))


ADAM = optax.adam(0.03)
OPTIONS = {"epochs": 4, "batch_size": 20}


def keys():
    return jax.random.split(jax.random.key(7), 3)


def run(tree, index):
    return jax.tree.map(operator.itemgetter(index), tree)


def test_fit_is_the_plain_loop_over_batches():
    """The same examples in the same order, one optax step a batch, written out."""
    inputs, labels = spirals()
    fitted = training.fit(plain_network, ADAM, (inputs, labels), keys()[:1], **OPTIONS)
    key = keys()[0]
    apply, params, state = functional_view(plain_network(stream(key, "model")))
    opt_state = ADAM.init(params)

    @jax.jit
    def step(params, opt_state, x, y):
        def fun(params):
            return training.cross_entropy(apply(params, state, x, train=True)[0], y).mean()

        value, gradient = jax.value_and_grad(fun)(params)
        updates, opt_state = ADAM.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    losses = []
    for epoch in range(4):
        shuffle, _ = jax.random.split(jax.random.fold_in(stream(key, "minibatches"), epoch))
        order = np.asarray(jax.random.permutation(shuffle, 96))[:80].reshape(4, 20)
        of_epoch = []
        for chosen in order:
            params, opt_state, value = step(params, opt_state, inputs[chosen], labels[chosen])
            of_epoch.append(value)
        losses.append(np.mean(of_epoch))
    np.testing.assert_allclose(fitted.history["loss"][0], losses, rtol=1e-5)
    chex.assert_trees_all_close(run(fitted.runs.params, 0), params, rtol=1e-4, atol=1e-6)
    assert int(fitted.runs.steps[0]) == 16


def test_a_run_is_the_same_alone_as_beside_others():
    together = training.fit(network, ADAM, spirals(), keys(), **OPTIONS)
    for index in range(3):
        alone = training.fit(network, ADAM, spirals(), keys()[index : index + 1], **OPTIONS)
        chex.assert_trees_all_close(
            run(alone.runs.params, 0), run(together.runs.params, index), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            alone.history["loss"][0], together.history["loss"][index], rtol=1e-4
        )
    assert len(np.unique(together.history["loss"][:, 0])) == 3


def test_diverged_runs_stop_and_leave_their_neighbours_bit_for_bit():
    def fit(rates):
        return training.fit(
            network,
            MOMENTUM,
            spirals(),
            keys(),
            hyperparams={"learning_rate": jnp.asarray(rates)},
            evaluation={"test": spirals(30, seed=1)},
            **OPTIONS,
        )

    calm, wild = fit([0.1, 0.1, 0.2]), fit([0.1, 1e38, 0.2])
    assert wild.runs.diverged.tolist() == [False, True, False]
    assert int(wild.runs.steps[1]) == 0
    chex.assert_tree_all_finite(wild.runs.params)
    assert wild.runs.steps[jnp.array([0, 2])].tolist() == [16, 16]
    for index in (0, 2):
        chex.assert_trees_all_equal(run(calm.runs.params, index), run(wild.runs.params, index))
        for name, values in wild.history.items():
            np.testing.assert_array_equal(values[index], calm.history[name][index])
    for values in wild.history.values():
        assert np.isnan(values[1]).all()
    # Printed, the runs that are left tell how far it came.
    low, high = sorted(wild.history["loss"][[0, 2], -1])
    assert str(wild).startswith("3 runs of 4 epochs, 1 diverged\n")
    assert f"  {low:.4g} to {high:.4g}\n" in str(wild)


def test_training_ends_when_every_run_has_diverged():
    epochs = []
    fitted = training.fit(
        plain_network,
        MOMENTUM,
        spirals(),
        keys(),
        hyperparams={"learning_rate": jnp.full(3, 1e38)},
        callback=lambda told: epochs.append((told.run.tolist(), told.epoch.tolist())),
        **OPTIONS,
    )
    assert epochs == [([0, 1, 2], [1, 1, 1])]
    assert fitted.history["loss"].shape == (3, 4)
    assert np.isnan(fitted.history["loss"]).all()


def test_a_loss_limit_counts_as_divergence():
    fitted = training.fit(plain_network, ADAM, spirals(), keys(), max_loss=1e-3, **OPTIONS)
    assert fitted.runs.diverged.all()
    assert fitted.runs.steps.tolist() == [0, 0, 0]


def test_a_run_that_diverges_later_goes_back_to_before_that_epoch():
    schedule = optax.piecewise_constant_schedule(0.1, {10: 1e38})
    late = training.fit(plain_network, optax.sgd(schedule), spirals(), keys(), **OPTIONS)
    early = training.fit(
        plain_network, optax.sgd(schedule), spirals(), keys(), **{**OPTIONS, "epochs": 2}
    )
    assert late.runs.diverged.all()
    assert late.runs.steps.tolist() == [8, 8, 8]
    chex.assert_trees_all_equal(late.runs.params, early.runs.params)
    np.testing.assert_array_equal(np.isnan(late.history["loss"][0]), [False, False, True, True])


def test_the_gradient_norm_is_recorded_where_asked_for():
    fitted = training.fit(
        plain_network,
        optax.sgd(0.0),
        spirals(),
        keys(),
        gradient_norm=True,
        epochs=1,
        batch_size=96,
    )
    inputs, labels = spirals()

    def norm(runs):
        def fun(params):
            return training.cross_entropy(
                fitted.apply(params, runs.state, inputs)[0], labels
            ).mean()

        return optax.tree.norm(jax.grad(fun)(runs.params))

    expected = jax.vmap(norm)(fitted.runs)
    np.testing.assert_allclose(fitted.history["gradient_norm"][:, 0], expected, rtol=1e-4)


def test_one_epoch_is_traced_however_many_are_run_and_again_by_a_second_fit():
    traces = []

    def counted(outputs, labels):
        traces.append(None)
        return training.cross_entropy(outputs, labels)

    options = {"loss": counted, "evaluation": {"test": spirals(30)}, "batch_size": 20}
    training.fit(network, ADAM, spirals(), keys(), epochs=3, **options)
    first = len(traces)
    # Training and evaluation, twice each: the second time tells whether it is the same. A later
    # call's only trace is compared with these.
    assert first == 4
    with compilations() as compiled:
        training.fit(network, ADAM, spirals(seed=3), keys(), epochs=2, **options)
    assert (compiled, len(traces)) == ([], first + 2)


def test_a_second_fit_traces_what_users_wrote_once_and_still_sees_what_draws():
    """Fresh functions of the same code count as what an earlier call has traced twice."""
    traces, shifts = [], iter(())

    def fit():
        def build(key):
            traces.append("build")
            return plain_network(key)

        def loss(outputs, labels):
            traces.append("loss")
            return training.cross_entropy(outputs, labels) + next(shifts, 0.0)

        traces.clear()
        training.fit(build, optax.adam(0.03), spirals(), keys(), loss=loss, **OPTIONS)
        return traces.count("build")

    assert fit() == 2
    assert fit() == 1
    shifts = iter(np.arange(1.0, 100.0).tolist())
    with pytest.raises(ValueError, match=r"loss or metrics must be deterministic, but two traces"):
        fit()


def test_data_enter_as_arguments_and_not_as_constants(monkeypatch):
    shapes = []
    call = CompiledLoop.__call__
    monkeypatch.setattr(
        CompiledLoop,
        "__call__",
        lambda *args, **control: shapes.append(args[1]) or call(*args, **control),
    )
    inputs, labels = spirals()
    training.fit(plain_network, ADAM, (inputs, labels), keys(), **OPTIONS)
    train = shapes[0].sets.train
    assert [leaf.shape for leaf in train] == [inputs.shape, labels.shape]


class KilledError(Exception):
    pass


def test_a_killed_training_resumes_bit_for_bit(tmp_path):
    grid = training.grid(keys()[:2], learning_rate=[0.05, 0.3])
    options = {
        "hyperparams": grid.hyperparams,
        "evaluation": {"test": spirals(30, seed=1)},
        "batch_size": 20,
        "epochs": 5,
    }
    whole = training.fit(network, MOMENTUM, spirals(), grid.keys, **options)

    def kill(told):
        if told.epoch[0] == 3:
            raise KilledError

    options |= {"checkpoint": tmp_path / "checkpoints"}
    with pytest.raises(KilledError):
        training.fit(network, MOMENTUM, spirals(), grid.keys, callback=kill, **options)
    epochs = []
    resumed = training.fit(
        network,
        MOMENTUM,
        spirals(),
        grid.keys,
        callback=lambda told: epochs.append(told.epoch.tolist()),
        **options,
    )
    assert epochs == [[4] * 4, [5] * 4]
    chex.assert_trees_all_equal(resumed.runs, whole.runs)
    assert resumed.history.keys() == whole.history.keys()
    for name, values in whole.history.items():
        np.testing.assert_array_equal(resumed.history[name], values)


def test_checkpoints_of_another_training_are_refused(tmp_path):
    def fit(build=plain_network, batch_size=20, epochs=2, **options):
        training.fit(
            build,
            ADAM,
            spirals(),
            keys()[:2],
            batch_size=batch_size,
            epochs=epochs,
            checkpoint=tmp_path,
            **options,
        )

    fit()
    with pytest.raises(ValueError, match="with batch_size = 20, this one has 10"):
        fit(batch_size=10)
    with pytest.raises(
        ValueError, match=r"another network or optimizer: it has float32\[16\] at .*\[17\]"
    ):
        fit(lambda key: MLP((2, 17, 2), rngs=nnx.Rngs(key)))
    with pytest.raises(ValueError, match=r"with recorded = \['accuracy', 'loss'\], this one has"):
        fit(gradient_norm=True)
    with pytest.raises(ValueError, match=r"epochs must be at least the 2 of checkpoint .*, got 1"):
        fit(epochs=1)


def test_grid_covers_every_combination_in_order():
    grid = training.grid(keys(), learning_rate=[0.1, 0.2], momentum=[0.0, 0.5, 0.9])
    assert grid.shape == (2, 3, 3)
    rates = np.asarray(grid.hyperparams["learning_rate"]).reshape(grid.shape)
    momenta = np.asarray(grid.hyperparams["momentum"]).reshape(grid.shape)
    np.testing.assert_allclose(rates[:, 1, 2], [0.1, 0.2])
    np.testing.assert_allclose(momenta[0, :, 0], [0.0, 0.5, 0.9])
    assert (grid.keys.reshape(grid.shape)[1, 2] == keys()).all()


def test_evaluation_counts_every_example_once():
    """Chunks and the rest give the mean over all, in evaluation mode."""
    test = spirals(25, seed=2)
    fitted = training.fit(
        network,
        ADAM,
        spirals(),
        keys(),
        evaluation={"test": test},
        evaluation_batch_size=10,
        **OPTIONS,
    )
    outputs, _ = jax.vmap(lambda runs: fitted.apply(runs.params, runs.state, test[0]))(fitted.runs)
    expected = jax.vmap(training.cross_entropy, (0, None))(outputs, test[1]).mean(1)
    np.testing.assert_allclose(fitted.history["test_loss"][:, -1], expected, rtol=1e-5)
    accuracy = (np.asarray(outputs).argmax(-1) == test[1]).mean(1)
    np.testing.assert_allclose(fitted.history["test_accuracy"][:, -1], accuracy, rtol=1e-6)


def test_every_run_may_have_its_own_data():
    inputs, labels = spirals()
    each = (np.stack([inputs] * 3), np.stack([labels, 1 - labels, labels]))
    options = OPTIONS | {"data_axis": 0, "evaluation": {"same": each}, "lanes": 2}
    own = training.fit(plain_network, ADAM, each, keys(), **options)
    shared = training.fit(plain_network, ADAM, (inputs, labels), keys(), lanes=2, **OPTIONS)
    outputs, _ = jax.vmap(lambda runs, x: own.apply(runs.params, runs.state, x))(own.runs, each[0])
    np.testing.assert_allclose(
        own.history["same_loss"][:, -1],
        jax.vmap(training.cross_entropy)(outputs, each[1]).mean(1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(own.history["loss"][2], shared.history["loss"][2], rtol=1e-5)
    assert not np.allclose(own.history["loss"][1], shared.history["loss"][1], rtol=1e-2)


def test_augmentation_and_noisy_optimizers_get_a_key_of_their_run():
    def noisy(key):
        return optax.chain(optax.add_noise(0.1, 0.55, key), optax.sgd(0.1))

    def shift(key, inputs):
        return inputs + 0.1 * jax.random.normal(key, inputs.shape)

    same_key = jnp.stack([keys()[0]] * 2)
    for options in ({"optimizer": noisy}, {"optimizer": ADAM, "augment": shift}):
        optimizer = options.pop("optimizer")
        twins = training.fit(plain_network, optimizer, spirals(), same_key, **OPTIONS, **options)
        chex.assert_trees_all_equal(run(twins.runs.params, 0), run(twins.runs.params, 1))
        others = training.fit(plain_network, optimizer, spirals(), keys()[:2], **OPTIONS, **options)
        assert others.history["loss"][0, 0] != others.history["loss"][1, 0]
    plain = training.fit(plain_network, ADAM, spirals(), same_key, **OPTIONS)
    assert plain.history["loss"][0, 0] != twins.history["loss"][0, 0]


def test_an_optimizer_gets_the_extra_arguments_of_the_library():
    def update(updates, state, params=None, *, value, grad, value_fn, **extra_args):
        chex.assert_trees_all_equal_shapes(updates, grad)
        steepest = jax.tree.map(lambda g: -0.05 * g, grad)
        worse = value_fn(optax.apply_updates(params, steepest)) > value
        return jax.tree.map(lambda g: jnp.where(worse, 0.0, g), steepest), state

    descent = optax.GradientTransformationExtraArgs(lambda params: (), update)
    fitted = training.fit(plain_network, descent, spirals(), keys(), epochs=20, batch_size=96)
    assert (np.diff(fitted.history["loss"]) <= 1e-7).all()


def test_float64_networks_and_pure_functions_train(x64):
    def linear(key):
        def apply(params, state, inputs, *, train=False):
            return inputs @ params, state

        return FunctionalView(apply, jax.random.normal(key, (2, 2), jnp.float64), {})

    inputs, _ = spirals()
    labels = (inputs[:, 0] > 0).astype(np.int64)
    fitted = training.fit(linear, ADAM, (inputs.astype(np.float64), labels), keys(), **OPTIONS)
    assert fitted.runs.params.dtype == jnp.float64
    assert (fitted.history["loss"][:, -1] < fitted.history["loss"][:, 0]).all()


def test_mistakes_are_named():
    inputs, labels = spirals()
    three = keys()

    def fit(optimizer=ADAM, data=(inputs, labels), keys=three, **options):
        training.fit(plain_network, optimizer, data, keys, **{**OPTIONS, **options})

    with pytest.raises(ValueError, match="epochs must be positive, got 0"):
        fit(epochs=0)
    with pytest.raises(ValueError, match="batch_size must be at most the 96 examples, got 97"):
        fit(batch_size=97)
    with pytest.raises(TypeError, match="keys must be a typed key"):
        fit(keys=np.arange(3))
    with pytest.raises(ValueError, match=r"keys must have shape \(runs,\)"):
        fit(keys=jax.random.key(0))
    with pytest.raises(ValueError, match="hyperparams names 'momentun', which the optimizer does"):
        fit(optimizer=MOMENTUM, hyperparams={"momentun": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"hyperparams\['momentum'\] must have shape \(3,\)"):
        fit(optimizer=MOMENTUM, hyperparams={"momentum": jnp.zeros(2)})
    with pytest.raises(ValueError, match="train must have inputs and labels of one leading axis"):
        fit(data=(inputs, labels[:-1]))
    with pytest.raises(ValueError, match="train must have the 3 runs as leading axis, got 96"):
        fit(data=(inputs, inputs), data_axis=0)
    with pytest.raises(TypeError, match="train must have integers as labels for the loss cross_en"):
        fit(data=(inputs, labels.astype(float)))
    with pytest.raises(ValueError, match=r"one axis more for the classes, .* metrics=\{\} leaves"):
        fit(data=(inputs, inputs), loss=lambda outputs, labels: jnp.mean(outputs - labels, -1))
    for build, said in (
        (plain_network(keys()[0]), "from a key to a network, got a network: lambda key: MLP"),
        (lambda key: jnp.ones(3), "build must return an nnx.Module, .*, got "),
    ):
        with pytest.raises(TypeError, match=said):
            training.fit(build, ADAM, (inputs, labels), three, **OPTIONS)


def test_labels_that_number_no_output_are_named():
    inputs, labels = jnp.ones((8, 2)), jnp.arange(8) % 2
    keys = jax.random.split(jax.random.key(0), 2)

    def fit(labels, **options):
        def build(key):
            return MLP((2, 2), rngs=nnx.Rngs(key))

        rule = optax.sgd(0.1)
        return training.fit(build, rule, (inputs, labels), keys, epochs=1, batch_size=4, **options)

    with pytest.raises(ValueError, match=r"train must have labels from 0 to 1, .* from 1 to 2"):
        fit(labels + 1)
    with pytest.raises(ValueError, match=r"evaluation\['test'\] must have labels from 0 to 1"):
        fit(labels, evaluation={"test": (inputs, labels - 1)})


def on_host(tree):
    """NumPy's arrays of a tree, of keys their data."""
    return jax.tree.map(
        lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree
    )


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("sharded", [False, True], ids=["plain", "sharded"])
def test_within_a_mesh_training_is_what_it_is_without(kind, sharded):
    inputs, labels = spirals()
    own = jax.random.split(jax.random.key(7), 8)
    options = {
        "epochs": 2,
        "batch_size": 24,
        "lanes": 1,
        "evaluation": {"test": (inputs[:8], labels[:8])},
    }
    devices = tuple(jax.devices())
    fit = partial(training.fit, plain_network, ADAM, devices=devices, **options)
    expected = fit((inputs, labels), own)
    mesh = jax.make_mesh((8,), ("d",), axis_types=(kind,))
    with jax.set_mesh(mesh):
        if sharded:
            place = NamedSharding(mesh, PartitionSpec("d"))
            inputs, labels, own = jax.device_put((inputs, labels, own), place)
        found = fit((inputs, labels), own)
    both = (on_host((fitted.runs, fitted.history)) for fitted in (found, expected))
    jax.tree.map(np.testing.assert_array_equal, *both)
    if sharded:
        weights = jax.tree.leaves(found.runs.params)
        assert all(leaf.sharding.is_equivalent_to(place, leaf.ndim) for leaf in weights)
