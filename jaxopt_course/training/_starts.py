"""Where runs start: freshly drawn, or where a shorter training has left them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import is_key
from jaxopt_course._engine._batch import Batch
from jaxopt_course._engine._crews import Rows
from jaxopt_course._engine._loop import keyed
from jaxopt_course._tracing import Traced
from jaxopt_course.training._program import Runs, Standing, TrainingProgram, recorded


def draw(start: Traced, keys: jax.Array, hyperparams: dict[str, jax.Array]) -> Runs:
    """Draw the parameters of every run and set its hyperparameters."""
    drawn = _draw_on_cpu if jax.default_backend() == "cpu" else _draw_elsewhere
    return drawn(start, keys, hyperparams)


def _draw(start: Traced, keys: jax.Array, hyperparams: dict[str, jax.Array]) -> Runs:
    def one(key: jax.Array, hyperparams: dict[str, jax.Array]) -> Runs:
        params, state, opt_state = start(key, hyperparams)
        none = jnp.zeros((), jnp.int32)
        return Runs(key, params, state, opt_state, none, diverged=jnp.zeros((), bool))

    # A weak type does not survive a checkpoint: what goes on from there would be another program.
    return jax.tree.map(with_own_type, jax.vmap(one)(keys, hyperparams))


def with_own_type(leaf: jax.Array) -> jax.Array:
    """The array without its weak type."""
    return leaf if is_key(leaf) else jnp.asarray(leaf, leaf.dtype)


# The program runs once. For the random numbers of a ResNet-8 LLVM takes 41 s at its highest level
# of optimization and 5 s at the first, with a program that is as fast.
_draw_on_cpu = jax.jit(_draw, compiler_options={"xla_backend_optimization_level": 1})
_draw_elsewhere = jax.jit(_draw)


def shape_of_drawn(start: Traced, keys: Any, hyperparams: Any) -> Runs:
    """The shapes of the runs that `draw` draws."""
    return _draw_elsewhere.eval_shape(start, keys, hyperparams)


class Fresh:
    """New runs, drawn when a queue asks for them, so that few are in memory at once.

    Attributes:
        like: A run in structure, shapes and dtypes; every leaf is 0.
    """

    def __init__(
        self,
        program: TrainingProgram,
        start: Traced,
        keys: jax.Array,
        hyperparams: dict[str, jax.Array],
    ) -> None:
        """Find shapes only: before runs are drawn, the engine asks whether they fit into memory."""
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
        """The keys of `size` runs from number `first` on; copies of the last key fill them up."""
        return self._drawn_from(first, size)[0]

    def _drawn_from(self, first: int, size: int) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Keys and hyperparameters of these runs."""
        return keyed(self._batch.take(first, size), self._batch.start)

    def about(self) -> dict[str, Any]:
        """What tells these runs from others, as JSON."""
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
        """The starts of `size` runs: as many as there are lanes, or one that shows the shapes."""
        if size == self._lanes and first < self._batch.runs:
            # The size is always the same, so that drawing is compiled once.
            runs = draw(self._start, *self._drawn_from(first, size))
        else:  # Nobody starts from these: any values do.
            runs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), self.like)
        return self.standing(runs, first, capacity)

    def standing(self, runs: Runs, first: int, capacity: int) -> Standing:
        """The `Standing` of runs before their first epoch."""
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
    """Runs that go on where a shorter training has left them; those that have diverged stay so."""

    def __init__(self, fresh: Fresh, rows: Rows, numbers: range) -> None:
        """Take the rows of the shorter training, of the runs with these numbers, in order."""
        self._fresh, self._rows, self._numbers = fresh, rows, numbers

    def __call__(self, first: int, size: int, capacity: int) -> Standing:
        """The starts of `size` runs from number `first` on."""
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


Starts = Fresh | Continued
"""Called with the number of the first run, how many, and the capacity of a history."""


def as_runs(rows: Rows, keys: jax.Array, like: Runs) -> Runs:
    """The `Runs` of rows and keys; `like` says which of the other leaves are keys."""
    return Runs(
        key=keys,
        params=keyed(rows["params"], like.params),
        state=keyed(rows["state"], like.state),
        opt_state=keyed(rows["opt_state"], like.opt_state),
        steps=rows["batches"],
        diverged=rows["diverged"],
    )
