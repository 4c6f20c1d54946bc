r"""Minibatch training of networks, many runs at once, one compiled scan an epoch.

Every epoch draws a permutation of the examples, cuts it into batches (a rest smaller than a batch
waits for the next epoch's permutation) and takes one step a batch,

    x[t+1] = x[t] + update(gradient of the mean loss of batch t at x[t], optimizer state).

A run is a key: from it come the initial parameters, the order of the examples, dropout and
augmentation. Several keys are trained side by side by `vmap`, and so are values of
hyperparameters that `optax.inject_hyperparams` has moved into the optimizer's state; `grid` makes
every combination. Devices and processes divide the runs among them; where there are fewer lanes
than runs, a run that is over gives its lane to the next. What a run does depends on its key and
hyperparameters alone, and its last bits on the number of lanes: not on its neighbours, not on the
number of devices, not on whether it was interrupted and resumed.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import transforms
from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_flag,
    check_key,
    check_mapping,
    check_number,
    check_one_of,
    check_real_array,
    is_key,
    is_traced,
)
from jaxopt_course._dataset import dataset
from jaxopt_course._engine import _preemption as preemption
from jaxopt_course._engine._batch import checked_execution
from jaxopt_course._engine._meshes import within_any_mesh
from jaxopt_course._observe import Observable, check_observe
from jaxopt_course._progress import shown
from jaxopt_course._reading import Reading, how_many, part, readable, spread
from jaxopt_course.nn._functional_view import FunctionalView
from jaxopt_course.training import _stages as stages
from jaxopt_course.training._plan import (
    Network,
    PerExample,
    Plan,
    about,
    trace_program,
    trace_start,
)
from jaxopt_course.training._program import Data, Epochs, Runs, Sets
from jaxopt_course.training._starts import Fresh, as_runs
from jaxopt_course.transforms._protocol import check_rule

if TYPE_CHECKING:
    import xarray


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The cross entropy of each example, `-log softmax(logits)[label]`.

    Args:
        logits: Unnormalized logarithms of probabilities, shape `(..., classes)`.
        labels: Classes from 0, integers of shape `(...)`.

    Returns:
        Shape `(...)`, by `optax.softmax_cross_entropy_with_integer_labels`.

    Example:
        >>> round(float(cross_entropy(jnp.array([0.0, 0.0]), jnp.array(1))), 4)  # ln 2
        0.6931
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def correct(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """For every example 1 if its largest output is that of its label, else 0."""
    check_real_array("outputs", outputs)
    check_real_array("labels", labels)
    if outputs.shape[:-1] != labels.shape or not outputs.shape or not outputs.shape[-1]:
        raise ValueError(
            f"outputs must have the shape of labels, {labels.shape}, and one axis more for the "
            f"classes, got {outputs.shape}; metrics={{}} leaves the accuracy out"
        )
    return (outputs.argmax(-1) == labels).astype(jnp.float32)


@readable
class Fit(NamedTuple):
    """The result of a training.

    Attributes:
        runs: Where every run ended.
        history: Arrays of shape `(runs, epochs)`: `loss`, the `metrics` and `gradient_norm` if
            asked for, means over the epoch's batches, and for every set of `evaluation` the loss
            and the metrics after the epoch, as `<set>_<metric>`. NaN from the epoch in which a run
            diverged.
        apply: The network as a pure function, `apply(params, state, inputs, train=False)`.
        observed: What was observed, by name, leaves of shape `(runs, observations, ...)`: before
            the first epoch and after every `observe_every`. NaN, or 0 of integers, from the epoch
            in which a run diverged.
    """

    runs: Runs
    history: dict[str, np.ndarray]
    apply: Callable[..., Any]
    observed: dict[str, Any]

    def _reading(self) -> Reading | None:
        """What every quantity was after the last epoch, by the runs that are left."""
        epochs = {np.shape(values)[1:] for values in self.history.values()}
        if len(epochs) != 1 or len(next(iter(epochs))) != 1:
            return None
        ((length,),) = epochs
        diverged = int(np.sum(np.asarray(self.runs.diverged)))
        rows = [("after", "the last epoch")]
        for name, values in self.history.items():
            last = np.asarray(values)[~np.asarray(self.runs.diverged), -1]
            rows.append((name, spread(last)))
        rows += [(f"observed[{name!r}]", part(values)) for name, values in self.observed.items()]
        rows.append(("more", ".history, .runs.params, .observed, .to_xarray(); plot.band"))
        runs = how_many(np.size(self.runs.diverged), "run")
        ended = f", {diverged} diverged" if diverged else ""
        return Reading(f"{runs} of {how_many(length, 'epoch')}{ended}", rows)

    def to_xarray(self) -> "xarray.Dataset":
        """The history as a dataset, which needs the extra `xarray`.

        Dimensions are `run` and `epoch`, counted from 1; of every run also its `steps` and whether
        it `diverged`. What was observed is called `observed.<name>` and has the dimension
        `observation` in place of the epochs.

        Raises:
            ModuleNotFoundError: If xarray is not installed.
        """
        variables: dict[str, Any] = {
            name: (("run", "epoch"), values) for name, values in self.history.items()
        }
        epochs = next(iter(self.history.values())).shape[1]
        variables |= {name: (("run",), getattr(self.runs, name)) for name in ("steps", "diverged")}
        variables["observed"] = (("run", "observation"), self.observed)
        return dataset(variables, coords={"epoch": np.arange(1, epochs + 1)})


@preemption.watched_with("checkpoint")
@within_any_mesh
@shown("epochs", limit="epochs")
def fit(
    build: Callable[[jax.Array], nnx.Module | FunctionalView],
    optimizer: Any,
    train: Data,
    keys: jax.Array,
    *,
    epochs: int,
    batch_size: int,
    hyperparams: Mapping[str, jax.Array] | None = None,
    evaluation: Mapping[str, Data] | None = None,
    data_axis: int | None = None,
    loss: PerExample = cross_entropy,
    metrics: Mapping[str, PerExample] | None = None,
    augment: Callable[[jax.Array, Any], Any] | None = None,
    gradient_norm: bool = False,
    eval_params: Callable[[Any, Any], Any] | None = None,
    observe: Mapping[str, Observable] | None = None,
    observe_every: int = 1,
    max_loss: float = np.inf,
    evaluation_batch_size: int = 1000,
    devices: tuple[jax.Device, ...] | None = None,
    lanes: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    callback: Callable[[Epochs], Any] | None = None,
    progress: bool = False,
) -> Fit:
    """A network trained from every key.

    The epoch is compiled once for given shapes, lanes, and what network, optimizer, loss and
    metrics compute, whatever objects they are; a second call compiles nothing, unless the epochs
    are more than 64 and twice as many.

    Under `jax.distributed`, every process calls this with the same arguments, works on its share of
    the runs with its own devices and gets all results.

    Args:
        build: From a key to a network: an nnx module or its `functional_view`.
        optimizer: Any `optax.GradientTransformation`; or, for a rule with noise, a function from a
            key to one, which gives every run its own. Its `update` gets `value`, `grad` and
            `value_fn` (of the batch) as extra arguments.
        train: Inputs and labels, arrays (or pytrees of them) with the examples as leading axis.
        keys: Typed keys, shape `(runs,)`.
        epochs: How many in all, those before a resumption included.
        batch_size: Examples a step.
        hyperparams: Values of shape `(runs,)` for hyperparameters that the optimizer injects.
        evaluation: Sets on which the network is evaluated after every epoch, by name.
        data_axis: 0 if every run has its own data: all arrays have the runs as leading axis. Every
            device gets all of them.
        loss: Of outputs and labels, for every example.
        metrics: Likewise, by name; `{"accuracy": correct}` by default.
        augment: Function of a key and a batch of inputs, applied in training.
        gradient_norm: Whether to record the Euclidean norm of the gradient.
        eval_params: Function from optimizer state and parameters to the point at which a run is
            evaluated; by default `transforms.eval_params`, which knows that of Nesterov's method,
            schedule-free rules, SAM and lookahead. `runs.params` stay where gradients are taken.
        observe: What to observe on the way: functions of parameters, optimizer state and objective,
            by name, such as those of `observables`. The objective is the mean loss over all
            training data at once, in evaluation mode, where gradients are taken. A run's epochs are
            the same with them and without. One of data of its own closes over them.
        observe_every: Epochs from one observation to the next; with `batch_size` as large as the
            data an epoch is a step.
        max_loss: A run whose batch loss exceeds it counts as diverged.
        evaluation_batch_size: Most examples that are evaluated at once.
        devices: Devices among which the runs are divided, by default all local ones; of CPU
            devices, which share the cores, the first.
        lanes: How many runs a device trains together; whenever some have ended, others take their
            place. Memory grows with it. By default the runs (or what the checkpoint has), divided
            evenly among devices and processes. A run has the same bits for the same number of
            lanes, whatever the number of runs, devices and processes.
        checkpoint: Folder for checkpoints (of every process, on a disk of its own or a shared one).
            If it has one, training continues from there, bit for bit, on as many devices as there
            are now; also if it is one of fewer epochs. SIGTERM then ends training after the epoch
            at hand, with a checkpoint; so do Ctrl-C and other exceptions.
        checkpoint_every: Seconds between checkpoints; the end of training always leaves one.
        callback: Called with an `Epochs` after every epoch of every device's runs, before they
            begin the next: for `TensorBoard`, say.
        progress: Whether to show a bar, as in `saddle.escape`.

    Returns:
        A `Fit`. A run that diverges goes back to where it stood before that epoch, ends there and
        leaves the others as they are; its history is filled up with NaN.

    Raises:
        TypeError: If `keys` is not an array of typed keys.
        ValueError: For numbers out of range, leading axes that differ, a hyperparameter that the
            optimizer does not inject, or a checkpoint of another training or of more epochs.
        MemoryError: Before anything is trained, if the compiled program needs more memory than a
            device has free; the message says how many lanes would fit.
        OSError: Before anything is trained, if the folder for checkpoints cannot be written to or
            (a `BlockingIOError`) another process works in it; later, if the disk is full.
        Preempted: After SIGTERM, where there is a folder for checkpoints and the program has no
            handler of its own; a `SystemExit` with the status 75.

    Example:
        >>> from jaxopt_course.nn import MLP
        >>> x = jax.random.normal(jax.random.key(0), (100, 2))
        >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
        >>> result = fit(lambda key: MLP((2, 16, 2), rngs=nnx.Rngs(key)), optax.adam(0.05), (x, y),
        ...              jax.random.split(jax.random.key(1), 3), epochs=20, batch_size=20)
        >>> result.history["accuracy"].shape, bool((result.history["accuracy"][:, -1] > 0.8).all())
        ((3, 20), True)
    """
    # Everything is checked before anything is traced.
    check_mapping(hyperparams=hyperparams, evaluation=evaluation, metrics=metrics, optional=True)
    hyperparams = {name: _hyperparam(name, values) for name, values in (hyperparams or {}).items()}
    evaluation = {
        name: _checked_pair(f"evaluation[{name!r}]", pair)
        for name, pair in (evaluation or {}).items()
    }
    metrics = {"accuracy": correct} if metrics is None else dict(metrics)
    for name, metric in metrics.items():
        if not callable(metric):
            raise TypeError(f"metrics[{name!r}] must be a function, got {brief(metric)}")
    _check_functions(build, loss, augment, eval_params, optimizer)
    check_count(epochs=epochs, batch_size=batch_size, evaluation_batch_size=evaluation_batch_size)
    observables = {} if observe is None else check_observe(observe)
    check_count(observe_every=observe_every)
    check_number(max_loss=max_loss)
    check_flag(gradient_norm=gradient_norm, progress=progress)
    examples = _check_shapes(train, keys, hyperparams, data_axis)
    if batch_size > examples:
        raise ValueError(f"batch_size must be at most the {examples} examples, got {batch_size}")
    if devices is None and jax.default_backend() == "cpu":
        devices = tuple(jax.local_devices()[:1])
    execution = checked_execution(devices, lanes, checkpoint, checkpoint_every, callback)
    plan = Plan(
        build=build,
        optimizer=optimizer,
        loss=loss,
        metrics=metrics,
        batch_size=int(batch_size),
        evaluation_batch_size=int(evaluation_batch_size),
        max_loss=max_loss,
        augment=augment,
        gradient_norm=bool(gradient_norm),
        eval_params=transforms.eval_params if eval_params is None else eval_params,
        data_axis=data_axis,
        observe=observables,
        observe_every=int(observe_every),
    )

    # Functions become what they compute.
    sets = Sets(*jax.tree.map(jnp.asarray, (tuple(train), evaluation)))
    network = trace_start(plan, keys, hyperparams)
    if loss is cross_entropy:
        _check_labels(plan, network, sets)
    # The training itself, from the newest checkpoint if there is one.
    with stages.held(checkpoint):
        stages.check_epochs(epochs, checkpoint)
        if lanes is None:
            lanes = stages.default_lanes(keys.shape[0], execution.devices, checkpoint)
        program = trace_program(plan, network, sets, keys, epochs=int(epochs), lanes=int(lanes))
        fresh = Fresh(program, network.start, keys, hyperparams)
        rows = stages.train(
            program,
            fresh,
            runs=keys.shape[0],
            about=lambda: about(plan, network, program),
            execution=execution,
        )
    # The arrays of the engine have room for more epochs than there were.
    history = {name: values[:, :epochs] for name, values in rows["history"].items()}
    looks = int(epochs) // plan.observe_every + 1
    observed = jax.tree.map(lambda values: values[:, :looks], rows["observed"])
    return Fit(jax.device_put(as_runs(rows, keys, fresh.like)), history, network.apply, observed)


def _check_functions(build: Any, loss: Any, augment: Any, eval_params: Any, optimizer: Any) -> None:
    """Raise TypeError unless everything that is to be called can be."""
    if isinstance(build, nnx.Module):
        raise TypeError(
            "build must be a function from a key to a network, got a network: "
            f"lambda key: {type(build).__name__}(..., rngs=nnx.Rngs(key))"
        )
    if any(base.__module__.startswith("flax.linen") for base in type(build).__mro__):
        raise TypeError(
            "build must be a function from a key to a network, got a module of flax.linen: give "
            "lambda key: (apply, module.init(key, inputs), {}), where "
            "apply(params, state, inputs, train=False) returns outputs and state"
        )
    check_callable(build=build, loss=loss)
    check_callable(augment=augment, eval_params=eval_params, optional=True)
    check_rule(optimizer)


def _hyperparam(name: str, values: Any) -> jax.Array:
    """The values of a hyperparameter as an array."""
    try:
        array = jnp.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"hyperparams[{name!r}] must be an array, got {brief(values)}") from error
    if is_key(array):
        raise TypeError(f"hyperparams[{name!r}] must be numbers, got keys")
    return array


def _checked_pair(name: str, pair: Any) -> Any:
    """The pair itself, unless it is none: inputs and labels, each with arrays in it."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{name} must be a pair, inputs and labels, got {type(pair).__name__}")
    return pair


def _check_labels(plan: Plan, network: Network, sets: Sets) -> None:
    """Raise ValueError unless the labels number the network's outputs from 0."""
    params, state, _ = network.start.result()
    inputs, _ = plan.batch_shapes(sets.train, 1)
    outputs, _ = jax.eval_shape(partial(network.apply, train=False), params, state, inputs)
    classes = jax.tree.leaves(outputs)[0].shape[-1]
    named = {"train": sets.train} | {f"evaluation[{n!r}]": s for n, s in sets.evaluation.items()}
    for name, (_, labels) in named.items():
        if hasattr(labels, "dtype") and not jnp.issubdtype(labels.dtype, jnp.integer):
            raise TypeError(
                f"{name} must have integers as labels for the loss cross_entropy, got "
                f"{labels.dtype}; to fit numbers give loss=, one value an example, and metrics={{}}"
            )
        if not isinstance(labels, jax.Array) or is_traced(labels) or not labels.size:
            continue
        lowest, highest = int(labels.min()), int(labels.max())
        if lowest < 0 or highest >= classes:
            raise ValueError(
                f"{name} must have labels from 0 to {classes - 1}, as the network has {classes} "
                f"outputs, got labels from {lowest} to {highest}"
            )


def _check_shapes(
    train: Data, keys: jax.Array, hyperparams: dict[str, jax.Array], data_axis: int | None
) -> int:
    """Return the number of examples, having checked that all leading axes agree."""
    check_key(keys=keys)
    if keys.ndim != 1 or not keys.size:
        raise ValueError(f"keys must have shape (runs,) with at least one run, got {keys.shape}")
    check_one_of((None, 0), data_axis=data_axis)
    for name, values in hyperparams.items():
        if values.shape != keys.shape:
            raise ValueError(
                f"hyperparams[{name!r}] must have shape {keys.shape}, one value a run, "
                f"got {values.shape}"
            )
    _checked_pair("train", train)
    leading = 1 if data_axis is None else 2
    shapes = {jnp.shape(leaf)[:leading] for leaf in jax.tree.leaves(train)}
    if len(shapes) != 1 or len(next(iter(shapes))) != leading:
        raise ValueError(f"train must have inputs and labels of one leading axis, got {shapes}")
    (shape,) = shapes
    if data_axis == 0 and shape[0] != keys.size:
        raise ValueError(f"train must have the {keys.size} runs as leading axis, got {shape[0]}")
    return shape[-1]
