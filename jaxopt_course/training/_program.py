"""What lanes do under `fit`: an epoch a step, with its evaluations.

A lane holds all of a run: where it stands, how many epochs it has behind it, what was recorded of
them. A run whose epochs are done, or that has diverged, gives its lane to the next.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course import _observe
from jaxopt_course._batching import update_where
from jaxopt_course._checks import is_key
from jaxopt_course._engine._crews import Rows
from jaxopt_course._engine._loop import IDLE, RUNNING, Lanes
from jaxopt_course._equations import digest_of
from jaxopt_course._observe import Observable
from jaxopt_course._streams import stream
from jaxopt_course._tracing import Traced, trace, trace_once
from jaxopt_course.nn._functional_view import FunctionalView, functional_view
from jaxopt_course.transforms._leaves import global_norm
from jaxopt_course.transforms._protocol import adapt, check_rule

Data = tuple[Any, Any]
PerExample = Callable[[Any, Any], jax.Array]

_ENDED = 0
_LEAST_CAPACITY = 64
_OBSERVED_TOGETHER = 8
"""Runs that are observed at once: each computes with all of the training data."""


@flax.struct.dataclass
class Runs:
    """Where a batch of runs stands; every leaf has the runs as its leading axis.

    Attributes:
        key: Typed keys.
        params: Parameters.
        state: Running statistics and random streams of the network.
        opt_state: State of the optimizer.
        steps: Steps taken, int32.
        diverged: Whether the loss or the parameters ceased to be finite, or the loss exceeded the
            limit. Such a run stands where it was before that epoch.
    """

    key: jax.Array
    params: Any
    state: Any
    opt_state: Any
    steps: jax.Array
    diverged: jax.Array


class Sets(NamedTuple):
    """The data: inputs and labels, examples first; before them the runs if each has its own.

    Attributes:
        train: What is trained on.
        evaluation: On what the network is evaluated, by name.
    """

    train: Data
    evaluation: dict[str, Data]


class Epochs(NamedTuple):
    """What a callback of `fit` is told: a device's runs have an epoch more behind them.

    Attributes:
        run: Their numbers, in order.
        epoch: How many epochs each has behind it, of the same shape. A run that is not heard of
            again before the last epoch has diverged.
        record: The entries of `history` for that epoch by name, each of the same shape.
        ended: How many runs have ended.
        runs: How many there are (of several processes, in this one).
    """

    run: np.ndarray
    epoch: np.ndarray
    record: dict[str, np.ndarray]
    ended: int
    runs: int


class Standing(NamedTuple):
    """Where runs stand; every leaf has the lanes as its leading axis.

    Attributes:
        runs: Parameters, states.
        number: Number of the run, int32.
        epoch: Epochs behind it, that in which it diverged included, int32.
        moved: Whether the last step was one of this run.
        history: What was recorded, shape `(lanes, capacity)` by name, NaN where nothing is.
        observed: What was observed, leaves of shape `(lanes, capacity // stride + 1, ...)` by name,
            NaN, or 0 of integers, where nothing is; empty where nothing is asked for.
        memory: What one observation leaves to the next.
    """

    runs: Runs
    number: chex.Array
    epoch: chex.Array
    moved: chex.Array
    history: dict[str, Any]
    observed: dict[str, Any]
    memory: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be trained, and how: what `fit` was told."""

    build: Callable[[jax.Array], Any]
    optimizer: Any
    loss: PerExample
    metrics: dict[str, PerExample]
    batch_size: int
    evaluation_batch_size: int
    max_loss: float
    augment: Callable[..., Any] | None
    gradient_norm: bool
    eval_params: Callable[[Any, Any], Any]
    data_axis: int | None
    observe: dict[str, Observable]
    observe_every: int

    @property
    def written_by_users(self) -> tuple[Any, ...]:
        """What it depends on, besides numbers, what is computed of a batch."""
        return (
            *(self.build, self.optimizer, self.loss),
            *self.metrics.values(),
            *self.observe.values(),
        )

    def transformation(self, key: jax.Array) -> optax.GradientTransformationExtraArgs:
        """Return the optimizer of the run with this key."""
        return adapt(check_rule(self.optimizer, stream(key, "optimizer")))

    def examples(self, data: Data) -> int:
        """Return how many examples a run has in a set."""
        return jax.tree.leaves(data)[0].shape[0 if self.data_axis is None else 1]

    def batch_shapes(self, data: Data, size: int) -> Data:
        """Return the shapes of so many examples of a set."""
        leading = 1 if self.data_axis is None else 2
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[leading:]), leaf.dtype), data
        )

    def measure(self, outputs: Any, labels: Any) -> dict[str, jax.Array]:
        """Return loss and metrics of every example, shape `(N,)`."""
        named = {"loss": self.loss} | self.metrics
        return {name: function(outputs, labels) for name, function in named.items()}


class Network(NamedTuple):
    """What `fit` was told, traced.

    Attributes:
        start: From a key and hyperparameters to parameters, state and optimizer state.
        apply: The network, as a function of Python.
    """

    start: Traced
    apply: Callable[..., Any]


def trace_start(plan: Plan, keys: jax.Array, hyperparams: dict[str, jax.Array]) -> Network:
    """Trace what draws a run's parameters and sets its hyperparameters."""
    found = []

    def start(key: jax.Array, hyperparams: dict[str, Any]) -> Any:
        built = plan.build(stream(key, "model"))
        view = functional_view(built) if isinstance(built, nnx.Module) else FunctionalView(*built)
        found.append(view.apply)
        opt_state = plan.transformation(key).init(view.params)
        for name, value in hyperparams.items():
            try:
                opt_state = optax.tree.set(opt_state, **{name: value})
            except KeyError:
                raise ValueError(
                    f"hyperparams names {name!r}, which the optimizer does not inject; make it "
                    f"by optax.inject_hyperparams(...)({name}=...)"
                ) from None
        return view.params, view.state, opt_state

    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((), leaf.dtype), (keys, hyperparams))
    return Network(trace("build", start, *one, of=plan.written_by_users), found[-1])


def draw(start: Traced, keys: jax.Array, hyperparams: dict[str, jax.Array]) -> Runs:
    """Draw the parameters of every run and set its hyperparameters."""
    drawn = _draw_on_cpu if jax.default_backend() == "cpu" else _draw_elsewhere
    return drawn(start, keys, hyperparams)


def _draw(start: Traced, keys: jax.Array, hyperparams: dict[str, jax.Array]) -> Runs:
    def one(key: jax.Array, hyperparams: dict[str, jax.Array]) -> Runs:
        params, state, opt_state = start(key, hyperparams)
        none = jnp.zeros((), jnp.int32)
        return Runs(key, params, state, opt_state, none, diverged=jnp.zeros((), bool))

    # A weak type would not survive a checkpoint, and what goes on would be another program.
    return jax.tree.map(with_own_type, jax.vmap(one)(keys, hyperparams))


def with_own_type(leaf: jax.Array) -> jax.Array:
    return leaf if is_key(leaf) else jnp.asarray(leaf, leaf.dtype)


# It runs once. For the random numbers of a ResNet-8 LLVM takes 41 s at its highest level and 5 s at
# the first, with a program that is as fast.
_draw_on_cpu = jax.jit(_draw, compiler_options={"xla_backend_optimization_level": 1})
_draw_elsewhere = jax.jit(_draw)


def shape_of_drawn(start: Traced, keys: Any, hyperparams: Any) -> Runs:
    """Return the shapes of what `draw` draws."""
    return _draw_elsewhere.eval_shape(start, keys, hyperparams)


@flax.struct.dataclass
class Observing:
    """What is observed of every run.

    Attributes:
        first: From parameters to what is remembered before the first observation.
        look: From that, parameters, optimizer state, state and training data to what is observed
            and what is remembered then.
        every: Epochs from one observation to the next.
    """

    first: Traced
    look: Traced
    every: int = flax.struct.field(pytree_node=False)

    def empty(self, lanes: int, capacity: int) -> dict[str, Any]:
        """Return room for what is observed of so many epochs, on the host."""
        entries = capacity // self.every + 1

        def room(leaf: Any) -> np.ndarray:
            missing = np.nan if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0
            return np.full((lanes, entries, *leaf.shape), missing, leaf.dtype)

        return jax.tree.map(room, self.look.result()[0])


@flax.struct.dataclass
class TrainingProgram:
    """What lanes do.

    Attributes:
        forward: From parameters, state and a batch to its loss, the new state and what is measured.
        judged: From optimizer state and parameters to where a run is evaluated.
        evaluate: From parameters, state and examples to the sums of what is measured, by the name
            of a set: for a batch, and for what is left over at the end, None if nothing is.
        update: From a run's key, the gradient, optimizer state, parameters, loss, state and batch
            to updates and optimizer state.
        augment: From a key and inputs to inputs, or None.
        observing: What is observed, or None.
        sets: The data.
        epochs: How many in all, int32.
        max_loss: A run whose batch loss exceeds it counts as diverged.
        batch_size: Examples a step.
        gradient_norm: Whether the norm of the gradient is recorded.
        data_axis: 0 if every run has its own data, else None.
        lanes: How many runs are trained together.
        capacity: For how many epochs a history has room; see `capacity`.
    """

    forward: Traced
    judged: Traced
    evaluate: dict[str, tuple[Traced, Traced | None]]
    update: Traced
    augment: Traced | None
    observing: Observing | None
    sets: Sets
    epochs: Any
    max_loss: Any
    batch_size: int = flax.struct.field(pytree_node=False)
    gradient_norm: bool = flax.struct.field(pytree_node=False)
    data_axis: int | None = flax.struct.field(pytree_node=False)
    lanes: int = flax.struct.field(pytree_node=False)
    capacity: int = flax.struct.field(pytree_node=False)
    axis = 0
    in_blocks = False
    is_quick = False

    def begin(self, starts: Standing, reason: jax.Array) -> tuple[Standing, jax.Array]:
        """Return lanes at their starts, where those end that are through."""
        if self.observing is not None:
            starts = observed(self, starts, (reason == RUNNING) & (starts.epoch == 0))
        return starts, self._judge(starts, reason)

    def step(self, state: Standing, reason: jax.Array) -> tuple[Standing, jax.Array]:
        """Take every run through an epoch."""
        running = reason == RUNNING
        runs, record = run_epoch(self, state.runs, state.number, state.epoch, running)
        lanes = jnp.arange(self.lanes)
        place = jnp.where(running, state.epoch, self.capacity)
        moved = Standing(
            runs=runs,
            number=state.number,
            epoch=state.epoch + running,
            moved=running,
            history={
                name: values.at[lanes, place].set(record[name], mode="drop")
                for name, values in state.history.items()
            },
            observed=state.observed,
            memory=state.memory,
        )
        if self.observing is not None:
            at_stride = jnp.asarray(moved.epoch) % self.observing.every == 0
            due = running & at_stride & ~runs.diverged
            moved = observed(self, moved, due)
        return moved, self._judge(moved, reason)

    def row(self, state: Standing, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every run."""
        kept = {
            "reason": reason,
            "steps": state.epoch,
            "moved": state.moved,
            "batches": state.runs.steps,
            "history": state.history,
            "observed": state.observed,
            "memory": state.memory,
        }
        for name in ("params", "state", "opt_state", "diverged"):
            kept[name] = getattr(state.runs, name)
        return bare(kept)

    def _judge(self, state: Standing, reason: jax.Array) -> jax.Array:
        over = (state.epoch >= self.epochs) | state.runs.diverged
        return jnp.where((reason == RUNNING) & over, _ENDED, reason)


def trace_program(
    plan: Plan, network: Network, sets: Sets, keys: jax.Array, *, epochs: int, lanes: int
) -> TrainingProgram:
    """Trace everything that an epoch consists of.

    Args:
        plan: What `fit` was told.
        network: Its network.
        sets: The data.
        keys: Those of the runs.
        epochs: How many in all.
        lanes: How many runs are trained together.
    """
    params, state, opt_state = network.start.result()
    traced = partial(trace, of=plan.written_by_users)
    key = jax.ShapeDtypeStruct((), keys.dtype)

    # What is differentiated, the loss of a batch, and what the optimizer makes of the gradient.
    def batch_loss(params: Any, state: Any, batch: Data) -> Any:
        inputs, labels = batch
        outputs, state = network.apply(params, state, inputs, train=True)
        measured = jax.tree.map(jnp.mean, plan.measure(outputs, labels))
        return measured["loss"], (state, measured)

    def update(
        key: Any, gradient: Any, opt_state: Any, params: Any, value: Any, state: Any, batch: Data
    ) -> Any:
        return plan.transformation(key).update(
            gradient,
            opt_state,
            params,
            value=value,
            grad=gradient,
            value_fn=lambda params: batch_loss(params, state, batch)[0],
        )

    # What is measured on the sets of the evaluation, in batches and a rest.
    def total(params: Any, state: Any, data: Data) -> dict[str, jax.Array]:
        inputs, labels = data
        outputs, _ = network.apply(params, state, inputs, train=False)
        return jax.tree.map(jnp.sum, plan.measure(outputs, labels))

    def evaluation(data: Data) -> tuple[Traced, Traced | None]:
        examples = plan.examples(data)
        size = min(plan.evaluation_batch_size, examples)
        name, rest = "build, loss or metrics", examples % size
        of_batch = traced(name, total, params, state, plan.batch_shapes(data, size))
        if not rest:
            return of_batch, None
        return of_batch, traced(name, total, params, state, plan.batch_shapes(data, rest))

    # What is observed along the way, of the loss over all examples without dropout.
    def observing() -> Observing:
        def look(memory: Any, params: Any, opt_state: Any, state: Any, data: Data) -> Any:
            inputs, labels = data

            def fun(params: Any) -> jax.Array:
                outputs, _ = network.apply(params, state, inputs, train=False)
                return jnp.mean(plan.loss(outputs, labels))

            return _observe.look(plan.observe, memory, params, opt_state, fun)

        first = traced("observe", lambda params: _observe.begin(plan.observe, params), params)
        data = plan.batch_shapes(sets.train, plan.examples(sets.train))
        later = traced("observe", look, first.result(), params, opt_state, state, data)
        return Observing(first, later, plan.observe_every)

    # All of it traced, for batches as the augmentation leaves them.
    inputs, labels = plan.batch_shapes(sets.train, plan.batch_size)
    augment = None
    if plan.augment is not None:
        augment = trace("augment", plan.augment, key, inputs)
        inputs = augment.result()
    batch = (inputs, labels)
    forward = traced("build, loss or metrics", batch_loss, params, state, batch)
    value, _ = forward.result()
    return TrainingProgram(
        forward=forward,
        judged=trace("eval_params", plan.eval_params, opt_state, params),
        evaluate={name: evaluation(data) for name, data in sets.evaluation.items()},
        update=traced("optimizer", update, key, params, opt_state, params, value, state, batch),
        augment=augment,
        observing=observing() if plan.observe else None,
        sets=sets,
        epochs=np.int32(epochs),
        max_loss=jnp.asarray(plan.max_loss),
        batch_size=plan.batch_size,
        gradient_norm=plan.gradient_norm,
        data_axis=plan.data_axis,
        lanes=lanes,
        capacity=capacity(epochs),
    )


def about(plan: Plan, network: Network, program: TrainingProgram) -> dict[str, Any]:
    """Return what tells this training from others, as JSON; what a reader can name comes first."""
    params, state, _ = network.start.result()
    inputs, labels = plan.batch_shapes(program.sets.train, plan.batch_size)
    if program.augment is not None:
        inputs = program.augment.result()
    apply = {
        train: trace_once(partial(network.apply, train=train), params, state, inputs)
        for train in (True, False)
    }
    outputs, _ = apply[True].result()
    measures = {"loss": plan.loss} | {f"metric {name!r}": f for name, f in plan.metrics.items()}
    data = {"train": program.sets.train} | program.sets.evaluation
    return (
        {
            "batch_size": plan.batch_size,
            "examples": plan.examples(program.sets.train),
            "gradient_norm": plan.gradient_norm,
            "max_loss": float(plan.max_loss),
            "data_axis": plan.data_axis,
            "evaluation_batch_size": plan.evaluation_batch_size,
        }
        | {f"data of {name!r}": digest_of(tree) for name, tree in data.items()}
        | {
            name: trace_once(function, outputs, labels).digest()
            for name, function in measures.items()
        }
        | {
            "network": digest_of([traced.digest() for traced in apply.values()]),
            "initial parameters": network.start.digest(),
            "optimizer": program.update.digest(),
            "eval_params": program.judged.digest(),
            "augment": None if program.augment is None else program.augment.digest(),
            "observe": (None if program.observing is None else program.observing.look.digest()),
            "observe_every": plan.observe_every if plan.observe else None,
        }
    )


def capacity(epochs: int) -> int:
    """Return the length of a history, a power of two: few lengths, few programs to compile.

    Example:
        >>> [capacity(epochs) for epochs in (1, 64, 65, 200)]
        [64, 64, 128, 256]
    """
    return max(_LEAST_CAPACITY, 1 << (epochs - 1).bit_length())


@jax.jit
def run_epoch(
    program: TrainingProgram,
    runs: Runs,
    number: jax.Array,
    epoch: jax.Array,
    running: jax.Array,
) -> tuple[Runs, dict[str, jax.Array]]:
    """Take every run through the training data once and evaluate it on every set.

    Args:
        program: What is done.
        runs: Where the runs stand.
        number: Of every run.
        epoch: How many it has behind it.
        running: Whether it moves at all.

    Returns:
        Where they stand then, and what is recorded of the epoch.
    """

    def one(
        runs: Runs, number: jax.Array, epoch: jax.Array, running: jax.Array
    ) -> tuple[Runs, dict[str, jax.Array]]:
        runs, record = _train(program, runs, number, epoch, running)
        for name, data in program.sets.evaluation.items():
            shared = program.data_axis is None
            own = data if shared else jax.tree.map(lambda leaf: leaf[number], data)
            measured = _evaluate(program, name, runs, own)
            record |= {f"{name}_{key}": value for key, value in measured.items()}
        return runs, jax.tree.map(lambda value: jnp.where(runs.diverged, jnp.nan, value), record)

    of_all = (runs, number, epoch, running)
    if number.shape[0] > 1:
        return jax.vmap(one)(*of_all)
    # A single one goes without `vmap`, which would cost it a third more.
    result = one(*jax.tree.map(lambda leaf: leaf[0], of_all))
    return jax.tree.map(lambda leaf: leaf[None], result)


def observed(program: TrainingProgram, state: Standing, due: jax.Array) -> Standing:
    """Observe the runs that are due."""
    observing: Any = program.observing

    def one(
        due: Any, seen: Any, memory: Any, epoch: Any, number: Any, point: Any
    ) -> tuple[Any, Any]:
        def look(last: Any, epoch: Any, number: Any, point: Any) -> tuple[Any, Any]:
            seen, memory = last
            data = program.sets.train
            if program.data_axis is not None:
                data = jax.tree.map(lambda leaf: leaf[number], data)
            now, memory = observing.look(memory, *point, data)
            place = epoch // observing.every
            return jax.tree.map(lambda all, new: all.at[place].set(new), seen, now), memory

        return update_where(look, block=_OBSERVED_TOGETHER)(
            due, (seen, memory), epoch, number, point
        )

    runs = state.runs
    point = (runs.params, runs.opt_state, runs.state)
    of_all = (due, state.observed, state.memory, state.epoch, state.number, point)
    if program.lanes > 1:
        seen, memory = jax.vmap(one)(*of_all)
    else:  # As in `run_epoch`.
        single = one(*jax.tree.map(lambda leaf: leaf[0], of_all))
        seen, memory = jax.tree.map(lambda leaf: leaf[None], single)
    return state._replace(observed=seen, memory=memory)


def _train(
    program: TrainingProgram, runs: Runs, number: jax.Array, epoch: jax.Array, running: jax.Array
) -> tuple[Runs, dict[str, jax.Array]]:
    """Take one run through the training data once."""
    own = stream(runs.key, "minibatches")
    shuffle, augment = jax.random.split(jax.random.fold_in(own, epoch))
    train = program.sets.train
    examples = jax.tree.leaves(train)[0].shape[0 if program.data_axis is None else 1]
    steps = examples // program.batch_size
    order = jax.random.permutation(shuffle, examples)[: steps * program.batch_size]

    def step(runs: Runs, chosen: jax.Array) -> tuple[Runs, dict[str, jax.Array]]:
        index = chosen if program.data_axis is None else (number, chosen)
        return _step(program, jax.tree.map(lambda leaf: leaf[index], train), augment, runs)

    moved, record = jax.lax.scan(step, runs, order.reshape(steps, program.batch_size))
    finite = jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), moved.params)
    diverged = moved.diverged | ~jax.tree.reduce(jnp.logical_and, finite, jnp.array(True))
    # Going back once an epoch is free; to select the new state or the old one at every step
    # takes two to three times as long as the step, since it can no longer be done in place.
    stays = diverged | ~running
    diverged = jnp.where(running, diverged, runs.diverged)
    runs = jax.tree.map(lambda new, old: jnp.where(stays, old, new), moved, runs)
    return dataclasses.replace(runs, diverged=diverged), jax.tree.map(jnp.mean, record)


def _step(
    program: TrainingProgram, batch: Data, augment_key: jax.Array, runs: Runs
) -> tuple[Runs, dict[str, jax.Array]]:
    inputs, labels = batch
    if program.augment is not None:
        inputs = program.augment(jax.random.fold_in(augment_key, runs.steps), inputs)
    batch = (inputs, labels)
    (value, (state, record)), gradient = jax.value_and_grad(program.forward, has_aux=True)(
        runs.params, runs.state, batch
    )
    updates, opt_state = program.update(
        runs.key, gradient, runs.opt_state, runs.params, value, runs.state, batch
    )
    if program.gradient_norm:
        record["gradient_norm"] = global_norm(gradient)
    moved = Runs(
        key=runs.key,
        params=optax.apply_updates(runs.params, updates),
        state=state,
        opt_state=opt_state,
        steps=runs.steps + 1,
        # Written so that NaN counts as diverged.
        diverged=runs.diverged | ~(jnp.isfinite(value) & (value <= program.max_loss)),
    )
    return moved, record


def _evaluate(program: TrainingProgram, name: str, runs: Runs, data: Data) -> dict[str, jax.Array]:
    """Return the means of loss and metrics of one run over a set, in evaluation mode."""
    params = program.judged(runs.opt_state, runs.params)
    of_batch, of_rest = program.evaluate[name]
    examples = jax.tree.leaves(data)[0].shape[0]
    size = jax.tree.leaves(of_batch.arguments()[2])[0].shape[0]
    whole = examples // size
    parts = jax.lax.map(
        lambda data: of_batch(params, runs.state, data),
        jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), data),
    )
    totals = jax.tree.map(jnp.sum, parts)
    if of_rest is not None:
        rest = of_rest(params, runs.state, jax.tree.map(lambda x: x[whole * size :], data))
        totals = jax.tree.map(jnp.add, totals, rest)
    return jax.tree.map(lambda value: value / examples, totals)


def bare(tree: Any) -> Any:
    """Return a tree with the data of its keys in their place."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def keyed(tree: Any, like: Any) -> Any:
    """Return what `bare` took the keys of as it was; `like` says where there are any."""

    def wrap(leaf: Any, like: Any) -> Any:
        if not is_key(like):
            return leaf
        return jax.random.wrap_key_data(jnp.asarray(leaf), impl=jax.random.key_impl(like))

    return jax.tree.map(wrap, tree, like)


def recorded(program: TrainingProgram, runs: Runs) -> dict[str, np.dtype]:
    """Return the types of what is recorded of an epoch of runs of such shapes."""
    number = jax.ShapeDtypeStruct((program.lanes,), np.int32)
    running = jax.ShapeDtypeStruct((program.lanes,), bool)
    _, record = run_epoch.eval_shape(program, runs, number, number, running)
    return {name: value.dtype for name, value in record.items()}


def newest(lanes: Lanes, rows: Rows) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return number, epochs and newest record of the runs that have just moved, in order."""
    here = jax.device_get(_newest(lanes))
    gone = _entries(np, rows["run"], rows["moved"], rows["steps"], rows["history"])
    moved, run, epoch, record = jax.tree.map(lambda *both: np.concatenate(both), here, gone)
    chosen = np.flatnonzero(moved)
    chosen = chosen[np.argsort(run[chosen])]
    return run[chosen], epoch[chosen], {name: values[chosen] for name, values in record.items()}


@jax.jit
def _newest(lanes: Lanes) -> Any:
    state = lanes.state
    moved = state.moved & (lanes.reason != IDLE)
    return _entries(jnp, lanes.run, moved, state.epoch, state.history)


def _entries(numpy: Any, run: Any, moved: Any, epoch: Any, history: dict[str, Any]) -> Any:
    last = numpy.maximum(epoch - 1, 0)
    return (
        moved,
        run,
        epoch,
        {name: values[numpy.arange(run.shape[0]), last] for name, values in history.items()},
    )
