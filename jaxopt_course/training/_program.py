"""What runs do under `fit`: an epoch a step, with its evaluations.

A lane holds all of a run: parameters and states, how many epochs it has taken, what was recorded of
them. A run that has taken all its epochs, or has diverged, gives its lane to the next.
"""

import dataclasses
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course._batching import update_where
from jaxopt_course._engine._crews import Rows
from jaxopt_course._engine._loop import IDLE, RUNNING, Lanes, bare
from jaxopt_course._reading import Reading, how_many, part, readable, spread
from jaxopt_course._streams import stream
from jaxopt_course._tracing import Traced
from jaxopt_course.transforms._leaves import global_norm

Data = tuple[Any, Any]

_ENDED = 0
_LEAST_CAPACITY = 64
_OBSERVED_TOGETHER = 8
"""Runs that are observed at once: each computes with all of the training data."""


@readable
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

    def _reading(self) -> Reading | None:
        """How many there are and how far they have come."""
        if np.ndim(self.steps) != 1:
            return None
        diverged = int(np.sum(np.asarray(self.diverged)))
        rows = [
            ("steps", spread(self.steps)),
            ("params", part(self.params)),
            ("state", part(self.state)),
            ("opt_state", part(self.opt_state)),
        ]
        return Reading(f"{how_many(np.size(self.steps), 'run')}, {diverged} diverged", rows)


class Sets(NamedTuple):
    """The data: inputs and labels, examples first; before them the runs if each has its own.

    Attributes:
        train: The training set.
        evaluation: The sets on which the network is evaluated, by name.
    """

    train: Data
    evaluation: dict[str, Data]


@readable
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

    def _reading(self) -> Reading:
        """Which runs have an epoch more behind them, and what was measured."""
        rows = [(name, spread(values)) for name, values in self.record.items()]
        epochs = f"epoch {spread(self.epoch).partition(',')[0]}"
        told = f"{epochs} done by {how_many(np.size(self.run), 'run')}"
        return Reading(f"{told}; {self.ended} of {self.runs} have ended", rows)


class Standing(NamedTuple):
    """Where runs stand; every leaf has the lanes as its leading axis.

    Attributes:
        runs: Parameters and states.
        number: Number of the run, int32.
        epoch: Epochs it has taken, one in which it diverged included, int32.
        moved: Whether it took part in the last step.
        history: What was recorded, shape `(lanes, capacity)` by name; NaN in epochs to come.
        observed: What was observed, leaves of shape `(lanes, capacity // stride + 1, ...)` by name;
            NaN, or 0 of integers, where nothing was yet. Empty without observables.
        memory: What one observation leaves to the next, see `_observe.Following`.
    """

    runs: Runs
    number: chex.Array
    epoch: chex.Array
    moved: chex.Array
    history: dict[str, Any]
    observed: dict[str, Any]
    memory: dict[str, Any]


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
        """Arrays for what will be observed of so many epochs, on the host."""
        entries = capacity // self.every + 1

        def room(leaf: Any) -> np.ndarray:
            missing = np.nan if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0
            return np.full((lanes, entries, *leaf.shape), missing, leaf.dtype)

        return jax.tree.map(room, self.look.result()[0])


@flax.struct.dataclass
class TrainingProgram:
    """What runs do under `fit`: a `Program`.

    Attributes:
        forward: From parameters, state and a batch to its loss, the new state and what is measured.
        judged: From optimizer state and parameters to those at which a run is evaluated.
        evaluate: From parameters, state and examples to the sums of what is measured, by the name
            of a set: for a batch, and for what is left over at the end, None if nothing is.
        update: From a run's key, the gradient, optimizer state, parameters, loss, state and batch
            to updates and optimizer state.
        augment: From a key and inputs to inputs, or None.
        observing: What is observed, or None.
        sets: The data.
        epochs: How many epochs a run takes in all, int32.
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
        """Return lanes at their starts; runs that have taken all epochs before end there."""
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


def capacity(epochs: int) -> int:
    """The length of a history, a power of two, so that few programs are compiled.

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
        program: What runs do.
        runs: Where the runs stand.
        number: The number of every run.
        epoch: How many epochs it has taken.
        running: Whether it runs; others stand still.

    Returns:
        Where the runs stand after the epoch, and what is recorded of it.
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
    # A single run goes without `vmap`, with which it takes a third longer.
    result = one(*jax.tree.map(lambda leaf: leaf[0], of_all))
    return jax.tree.map(lambda leaf: leaf[None], result)


def observed(program: TrainingProgram, state: Standing, due: jax.Array) -> Standing:
    """Observe the runs whose turn it is."""
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
    """Take one run through one batch."""
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


def recorded(program: TrainingProgram, runs: Runs) -> dict[str, np.dtype]:
    """The dtypes of what is recorded of an epoch, by name, for runs of such shapes."""
    number = jax.ShapeDtypeStruct((program.lanes,), np.int32)
    running = jax.ShapeDtypeStruct((program.lanes,), bool)
    _, record = run_epoch.eval_shape(program, runs, number, number, running)
    return {name: value.dtype for name, value in record.items()}


def newest(lanes: Lanes, rows: Rows) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Number, epochs and newest record of the runs that took part in the last step, in order."""
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
