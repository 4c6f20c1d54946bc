"""Where runs start: freshly drawn, or where a shorter training has left them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._engine._batch import Batch
from jaxopt_course._engine._crews import Rows
from jaxopt_course._tracing import Traced
from jaxopt_course.training._program import (
    Runs,
    Standing,
    TrainingProgram,
    draw,
    keyed,
    recorded,
    shape_of_drawn,
    with_own_type,
)

Starts = Callable[[int, int, int], Standing]
"""From the number of the first run, how many and the capacity of a history to starts."""


class Fresh:
    """Runs that are initialized when a queue asks for them, so that few lie in memory at once.

    Attributes:
        like: What looks like one of them; every leaf is 0.
    """

    def __init__(
        self,
        program: TrainingProgram,
        start: Traced,
        keys: jax.Array,
        hyperparams: dict[str, jax.Array],
    ) -> None:
        """Draw nothing yet: first it is to be asked whether so many lanes fit into memory."""
        self._start, self._lanes = start, program.lanes
        self._batch = Batch((keys, hyperparams))
        of_lanes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((program.lanes,), leaf.dtype), (keys, hyperparams)
        )
        runs = shape_of_drawn(start, *of_lanes)
        self.like = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), runs)
        self._recorded = recorded(program, runs)
        self._observing = program.observing

    def keys(self, first: int, size: int) -> jax.Array:
        """Return `size` keys; behind the last stand copies of it."""
        return self._batch.take(first, size)[0]

    def about(self) -> dict[str, Any]:
        """Return what tells these runs from all others, as JSON."""
        leaves = {
            jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
            for path, leaf in jax.tree.leaves_with_path(self.like)
        }
        return {
            "recorded": sorted(self._recorded),
            "network or optimizer": leaves,
            "keys and hyperparams": self._batch.digest(),
        }

    def __call__(self, first: int, size: int, capacity: int) -> Standing:
        """Return starts: as many as there are lanes, or one that shows the shapes."""
        if size == self._lanes and first < self._batch.runs:
            # Always of as many as there are lanes, so that it is compiled once.
            runs = draw(self._start, *self._batch.take(first, size))
        else:  # An empty queue holds anything.
            runs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), self.like)
        return self.standing(runs, first, capacity)

    def standing(self, runs: Runs, first: int, capacity: int) -> Standing:
        """Return where runs stand that have no epoch behind them."""
        size = runs.key.shape[0]
        observed, memory = {}, {}
        if self._observing is not None:
            observed = self._observing.empty(size, capacity)
            memory = _remembered_first(self._observing.first, runs.params)
        return Standing(
            runs=runs,
            number=np.arange(first, first + size, dtype=np.int32),
            epoch=np.zeros(size, np.int32),
            moved=np.zeros(size, bool),
            history={
                name: np.full((size, capacity), np.nan, dtype)
                for name, dtype in self._recorded.items()
            },
            observed=observed,
            memory=memory,
        )


@jax.jit
def _remembered_first(first: Traced, params: Any) -> Any:
    return jax.tree.map(with_own_type, jax.vmap(first)(params))


class Continued:
    """Runs that have some epochs behind them; those that have diverged stay so."""

    def __init__(self, fresh: Fresh, rows: Rows, numbers: range) -> None:
        """Take rows of the runs with these numbers, in order."""
        self._fresh, self._rows, self._numbers = fresh, rows, numbers

    def __call__(self, first: int, size: int, capacity: int) -> Standing:
        """Return starts."""
        if not self._numbers:
            return self._fresh(first, size, capacity)
        places = np.minimum(np.arange(first, first + size), self._numbers[-1]) - self._numbers[0]
        kept = jax.tree.map(lambda leaf: leaf[places], self._rows)
        keys = self._fresh.keys(first, size)
        start = self._fresh.standing(as_runs(kept, keys, self._fresh.like), first, capacity)
        for name, values in kept["history"].items():
            common = min(capacity, values.shape[1])
            start.history[name][:, :common] = values[:, :common]
        places = zip(
            jax.tree.leaves(start.observed), jax.tree.leaves(kept["observed"]), strict=True
        )
        for room, values in places:
            common = min(room.shape[1], values.shape[1])
            room[:, :common] = values[:, :common]
        return start._replace(epoch=kept["steps"], memory=keyed(kept["memory"], start.memory))


def as_runs(rows: Rows, keys: jax.Array, like: Runs) -> Runs:
    """Return what was kept of the runs with these keys; `like` says which leaves are keys."""
    return Runs(
        key=keys,
        params=keyed(rows["params"], like.params),
        state=keyed(rows["state"], like.state),
        opt_state=keyed(rows["opt_state"], like.opt_state),
        steps=rows["batches"],
        diverged=rows["diverged"],
    )
