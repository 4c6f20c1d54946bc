"""What lanes do under `fit`: an epoch a step, with its evaluations.

A lane holds all of a run: where it stands, how many epochs it has behind it, what was recorded of
them. A run whose epochs are done, or that has diverged, gives its lane to the next.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import is_key
from jaxopt_course._engine._crews import Rows
from jaxopt_course._engine._lanes import IDLE, RUNNING, Lanes
from jaxopt_course.training._programs import Plan, Runs, Sets, run_epoch

_ENDED = 0
_LEAST_CAPACITY = 64


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
    """

    runs: Runs
    number: chex.Array
    epoch: chex.Array
    moved: chex.Array
    history: dict[str, Any]


class Task(NamedTuple):
    """What all runs share.

    Attributes:
        sets: The data.
        epochs: How many in all, int32.
    """

    sets: Sets
    epochs: Any


class TrainingPlan(NamedTuple):
    """What the compiled loop depends on: equal plans share one.

    Attributes:
        training: What an epoch is.
        lanes: How many runs are trained together.
        capacity: For how many epochs a history has room; see `capacity`.
    """

    training: Plan
    lanes: int
    capacity: int

    @property
    def record_every(self) -> None:
        """No record: there is the history."""
        return None

    @property
    def entries(self) -> int:
        """How many entries a record would have."""
        return 0

    def program(self, constants: Task, starts: Any) -> "TrainingProgram":
        """Return what lanes do."""
        del starts
        return TrainingProgram(self, constants)


def capacity(epochs: int) -> int:
    """Return the length of a history, a power of two: few lengths, few programs to compile.

    Example:
        >>> [capacity(epochs) for epochs in (1, 64, 65, 200)]
        [64, 64, 128, 256]
    """
    return max(_LEAST_CAPACITY, 1 << (epochs - 1).bit_length())


class TrainingProgram:
    """The parts of the loop."""

    axis = 0

    def __init__(self, plan: TrainingPlan, task: Task) -> None:
        """Trace nothing yet."""
        self.plan, self.task = plan, task

    def _judge(self, body: Standing, reason: jax.Array) -> jax.Array:
        over = (body.epoch >= self.task.epochs) | body.runs.diverged
        return jnp.where((reason == RUNNING) & over, _ENDED, reason)

    def idle(self, start: Standing, key: jax.Array) -> Standing:
        """Return the body of lanes without runs."""
        del key
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (self.plan.lanes, *jnp.shape(leaf))), start
        )

    def begin(
        self, keys: jax.Array, starts: Standing, reason: jax.Array
    ) -> tuple[Standing, jax.Array]:
        """Return lanes at their starts, where those end that are through."""
        del keys  # Each is in its run.
        return starts, self._judge(starts, reason)

    def step(self, body: Standing, reason: jax.Array) -> tuple[Standing, jax.Array]:
        """Take every run through an epoch."""
        running = reason == RUNNING
        runs, record = run_epoch(
            self.plan.training, self.task.sets, body.runs, body.number, body.epoch, running
        )
        lanes = jnp.arange(self.plan.lanes)
        place = jnp.where(running, body.epoch, self.plan.capacity)
        moved = Standing(
            runs=runs,
            number=body.number,
            epoch=body.epoch + running,
            moved=running,
            history={
                name: values.at[lanes, place].set(record[name], mode="drop")
                for name, values in body.history.items()
            },
        )
        return moved, self._judge(moved, reason)

    def row(self, body: Standing, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every run."""
        kept = {
            "reason": reason,
            "steps": body.epoch,
            "moved": body.moved,
            "batches": body.runs.steps,
            "history": body.history,
        }
        for name in ("params", "state", "opt_state", "diverged"):
            kept[name] = getattr(body.runs, name)
        return bare(kept)

    def entry(self, body: Standing) -> dict[str, Any]:
        """Return nothing: no plan asks."""
        del body
        return {}


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
    body = lanes.body
    return _entries(jnp, lanes.run, body.moved & (lanes.reason != IDLE), body.epoch, body.history)


def _entries(numpy: Any, run: Any, moved: Any, epoch: Any, history: dict[str, Any]) -> Any:
    last = numpy.maximum(epoch - 1, 0)
    return (
        moved,
        run,
        epoch,
        {name: values[numpy.arange(run.shape[0]), last] for name, values in history.items()},
    )
