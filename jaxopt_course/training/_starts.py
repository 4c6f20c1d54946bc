"""Where runs start: freshly drawn, or where a shorter training has left them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._engine._batch import Batch
from jaxopt_course._engine._crews import Rows
from jaxopt_course.training._lanes import Standing, keyed
from jaxopt_course.training._programs import Plan, Runs, Sets, init, run_epoch

Starts = Callable[[int, int, int], tuple[Standing, jax.Array]]
"""From the number of the first run, how many and the capacity of a history to starts and keys."""


class Fresh:
    """Runs that are initialized when a queue asks for them, so that few lie in memory at once.

    Attributes:
        like: What looks like one of them; every leaf is 0.
    """

    def __init__(
        self,
        plan: Plan,
        build: Callable[[jax.Array], Any],
        keys: jax.Array,
        hyperparams: dict[str, jax.Array],
        sets: Sets,
        lanes: int,
    ) -> None:
        """Draw nothing yet: first it is to be asked whether so many lanes fit into memory."""
        self._plan, self._build, self._lanes = plan, build, lanes
        self._batch, self._runs = Batch(hyperparams, keys), keys.shape[0]
        of_lanes = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((lanes,), leaf.dtype), (keys, hyperparams)
        )
        runs = init().eval_shape(plan, build, *of_lanes)
        self.like = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), runs)
        self._recorded = _recorded(plan, sets, runs)

    def keys(self, first: int, size: int) -> jax.Array:
        """Return `size` keys; behind the last stand copies of it."""
        return self._batch.take(first, size)[1]

    def about(self) -> dict[str, Any]:
        """Return what tells these runs from all others, as JSON."""
        leaves = {
            jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}"
            for path, leaf in jax.tree.leaves_with_path(self.like)
        }
        return {
            "keys and hyperparams": self._batch.digest(),
            "recorded": sorted(self._recorded),
            "network or optimizer": leaves,
        }

    def __call__(self, first: int, size: int, capacity: int) -> tuple[Standing, jax.Array]:
        """Return starts and keys: as many as there are lanes, or one that shows the shapes."""
        if size == self._lanes and first < self._runs:
            runs = self._draw(first)
        else:  # An empty queue holds anything.
            runs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), self.like)
        return self.standing(runs, first, capacity), runs.key

    def standing(self, runs: Runs, first: int, capacity: int) -> Standing:
        """Return where runs stand that have no epoch behind them."""
        size = runs.key.shape[0]
        return Standing(
            runs=runs,
            number=np.arange(first, first + size, dtype=np.int32),
            epoch=np.zeros(size, np.int32),
            moved=np.zeros(size, bool),
            history={
                name: np.full((size, capacity), np.nan, dtype)
                for name, dtype in self._recorded.items()
            },
        )

    def _draw(self, first: int) -> Runs:
        """Draw a block: always of as many as there are lanes, so that it is compiled once."""
        hyperparams, keys = self._batch.take(first, self._lanes)
        return init()(self._plan, self._build, keys, jax.tree.map(jnp.asarray, hyperparams))


class Continued:
    """Runs that have some epochs behind them; those that have diverged stay so."""

    def __init__(self, fresh: Fresh, rows: Rows, numbers: range) -> None:
        """Take rows of the runs with these numbers, in order."""
        self._fresh, self._rows, self._numbers = fresh, rows, numbers

    def __call__(self, first: int, size: int, capacity: int) -> tuple[Standing, jax.Array]:
        """Return starts and keys."""
        if not self._numbers:
            return self._fresh(first, size, capacity)
        places = np.minimum(np.arange(first, first + size), self._numbers[-1]) - self._numbers[0]
        kept = jax.tree.map(lambda leaf: leaf[places], self._rows)
        keys = self._fresh.keys(first, size)
        start = self._fresh.standing(as_runs(kept, keys, self._fresh.like), first, capacity)
        for name, values in kept["history"].items():
            common = min(capacity, values.shape[1])
            start.history[name][:, :common] = values[:, :common]
        return start._replace(epoch=kept["steps"]), keys


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


def _recorded(plan: Plan, sets: Sets, runs: Any) -> dict[str, np.dtype]:
    """Return the types of what is recorded of an epoch."""
    lanes = runs.key.shape[0]
    number = jax.ShapeDtypeStruct((lanes,), np.int32)
    running = jax.ShapeDtypeStruct((lanes,), bool)
    _, record = run_epoch.eval_shape(plan, sets, runs, number, number, running)
    return {name: value.dtype for name, value in record.items()}
