"""Any number of runs in bounded memory: starts are drawn when their turn comes, results go to disk.

Run `i` of a key starts at `init(a)` and draws its noise from `b`, where `a, b` are
`jax.random.split(jax.random.fold_in(own, i))`, and `own` is
`_streams.stream(key, "runs")`, the batch's own stream.
"""

import dataclasses
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_count,
    check_flag,
    check_key,
    check_not_empty,
    check_path,
    check_positive,
    check_real_floating,
)
from jaxopt_course._engine import _batch as batch
from jaxopt_course._engine import _preemption as preemption
from jaxopt_course._engine._batch import checked_execution
from jaxopt_course._engine._checkpoints import as_ranges, holding, stored_parts
from jaxopt_course._engine._crews import Drawn, Engine, Progress
from jaxopt_course._engine._meshes import within_any_mesh
from jaxopt_course._progress import shown
from jaxopt_course._reading import Reading, how_many, readable
from jaxopt_course._streams import stream
from jaxopt_course._tracing import Traced, shape_of, trace
from jaxopt_course.saddle._escape import EscapeRuns, check_limits
from jaxopt_course.saddle._escape_program import (
    Limits,
    Objective,
    Optimizer,
    Start,
    Stop,
    about,
    default_lanes,
    key_for,
    trace_program,
)
from jaxopt_course.transforms._protocol import check_rule, is_optimizer

if TYPE_CHECKING:
    import xarray


@readable
@dataclasses.dataclass(frozen=True)
class StoredRuns:
    """Runs that lie on disk.

    Attributes:
        folder: The folder, as given to `escape_to_disk`.
        like: Rows of no runs, which show the structure of the parameters. Without, the leaves of a
            tree are in a dictionary, each by its path.
    """

    folder: str | os.PathLike[str]
    like: dict[str, Any] | None = None

    def _reading(self) -> Reading:
        """How many runs have ended, by what the folder says of itself."""
        more = [("more", ".load(), .counts(), .parts(), .to_xarray()")]
        try:
            held = holding(self.folder)
        except FileNotFoundError:
            return Reading(f"no runs in {self.folder}", [])
        total = sum(map(len, held.runs))
        ended = f"{held.ended} of {how_many(total, 'run')}"
        return Reading(f"{ended} ended, in {self.folder}", more)

    def parts(self) -> Iterator[tuple[np.ndarray, EscapeRuns]]:
        """The runs that have ended, part by part, in the order in which they did.

        Yields:
            The numbers of the runs of a part, and the runs, of NumPy arrays.

        Raises:
            FileNotFoundError: If the folder holds no checkpoint.
            ValueError: If a part is damaged; the message says what to do.
        """
        return self._parts(partial=False)

    @overload
    def load(self, *, partial: Literal[False] = False) -> EscapeRuns: ...

    @overload
    def load(self, *, partial: Literal[True]) -> tuple[np.ndarray, EscapeRuns]: ...

    def load(self, *, partial: bool = False) -> EscapeRuns | tuple[np.ndarray, EscapeRuns]:
        """All runs in memory, in their order.

        Args:
            partial: Whether to be content with the runs that have ended and can be read. A warning
                then says which are missing.

        Returns:
            The runs, of NumPy arrays; with `partial` a pair, the numbers of the runs before them.

        Raises:
            FileNotFoundError: If the folder holds no checkpoint.
            ValueError: If not all runs have ended, or a part of them is damaged, unless `partial`;
                if none has ended at all.

        Example:
            >>> import tempfile, optax
            >>> from jaxopt_course import problems
            >>> problem = problems.nesterov_saddle()
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     stored = escape_to_disk(problem.fun, optax.sgd(0.1), problem.init,
            ...                             jax.random.key(0), runs=3, folder=folder, max_steps=50)
            ...     numbers, runs = stored.load(partial=True)
            >>> numbers.tolist(), runs.steps.tolist()
            ([0, 1, 2], [50, 50, 50])
        """
        held = holding(self.folder)
        if not held.ended:
            raise ValueError(f"{self.folder} holds no run that has ended")
        if not (partial or held.finished):
            total = sum(map(len, held.runs))
            missing = f", and nothing of {', '.join(held.absent)}" if held.absent else ""
            raise ValueError(
                f"{self.folder} holds {held.ended} of {total} runs{missing}: give the same call as "
                "before to end the batch, or load(partial=True) for what there is"
            )
        parts = list(self._parts(partial=partial))
        if not parts:
            raise ValueError(f"{self.folder} holds no run that can be read")
        numbers, runs = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        order = np.argsort(numbers)
        numbers, runs = jax.tree.map(lambda leaf: leaf[order], (numbers, runs))
        if not partial:
            return runs
        wanted = np.concatenate([np.arange(share.start, share.stop) for share in held.runs])
        missing = as_ranges(np.setdiff1d(wanted, numbers))
        if missing or held.absent:
            warnings.warn(
                f"{self.folder} holds {numbers.size} of {wanted.size} runs; missing are "
                + ", ".join([*_shortened(missing), *(f"all of {name}" for name in held.absent)]),
                stacklevel=2,
            )
        return numbers, runs

    def counts(self) -> dict[str, int]:
        """How many of the runs that have ended did so for which reason, by the names of `Stop`.

        Read part by part, in memory that does not grow with the runs.

        Raises:
            FileNotFoundError: If the folder holds no checkpoint.
            ValueError: If a part is damaged.
        """
        found = sum((Counter(runs.counts()) for _, runs in self.parts()), Counter())
        return {stop.name: found[stop.name] for stop in Stop if found[stop.name]}

    def to_xarray(self, *, partial: bool = False) -> "xarray.Dataset":
        """The runs as a dataset, as `EscapeRuns.to_xarray` makes it, with their numbers as `run`.

        Args:
            partial: As in `load`.

        Raises:
            FileNotFoundError: As `load`.
            ValueError: As `load`.
            ModuleNotFoundError: If xarray is not installed.
        """
        if not partial:
            runs = self.load()
            numbers = np.arange(runs.steps.size)
        else:
            numbers, runs = self.load(partial=True)
        return runs.to_xarray().assign_coords(run=numbers)

    def _parts(self, *, partial: bool) -> Iterator[tuple[np.ndarray, EscapeRuns]]:
        for rows in stored_parts(self.folder, self.like, partial=partial):
            numbers = rows.pop("run")
            yield numbers, EscapeRuns(record=None, **rows)


def _shortened(blocks: list[range], most: int = 5) -> list[str]:
    """Ranges of numbers as a text, the first few of them."""
    texts = [
        f"{block.start}" if len(block) == 1 else f"{block.start} to {block.stop - 1}"
        for block in blocks[:most]
    ]
    more = sum(map(len, blocks[most:]))
    return texts if not more else [*texts, f"{more} more"]


@preemption.watched_with("folder")
@within_any_mesh
@shown("runs", limit="max_steps")
def escape_to_disk(
    fun: Objective,
    optimizer: Optimizer,
    init: Callable[[jax.Array], Any],
    key: jax.Array,
    *,
    runs: int,
    folder: str | os.PathLike[str],
    max_steps: int,
    target_value: chex.Numeric | None = None,
    epsilon: chex.Numeric | None = None,
    hessian_lipschitz: chex.Numeric | None = None,
    devices: tuple[jax.Device, ...] | None = None,
    lanes: int | None = None,
    checkpoint_every: float = 60.0,
    callback: Callable[[Progress], Any] | None = None,
    progress: bool = False,
) -> StoredRuns:
    """Runs of an optimizer from random starts, in memory that does not grow with their number.

    What `escape` does, with starts drawn by `init` and results written to `folder`. Whatever
    interrupts it, the same call goes on where the newest checkpoint stands; after the end it
    checks what is stored and returns.

    Args:
        fun: As for `escape`, like all that is not described here.
        optimizer: As for `escape`.
        init: From a key to parameters, as a problem's `init`.
        key: A typed key, from which every run has its own.
        runs: How many.
        folder: For results and checkpoints.
        max_steps: As for `escape`.
        target_value: As for `escape`.
        epsilon: As for `escape`.
        hessian_lipschitz: As for `escape`.
        devices: As for `escape`.
        lanes: As for `escape`.
        checkpoint_every: Seconds between checkpoints.
        callback: Called a few times a second with a `Progress`.
        progress: Whether to show a bar, as in `escape`.

    Returns:
        A `StoredRuns`. A run whose start has no finite gradient ends with `Stop.DIVERGED` at once.

    Raises:
        TypeError: as `escape`.
        ValueError: as `escape`, or if the folder holds another batch.
        OSError: as `escape`.
        training.Preempted: as `escape`.
        MemoryError: as `escape`.

    Example:
        >>> import tempfile, optax
        >>> from jaxopt_course import problems
        >>> problem = problems.nesterov_saddle()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     stored = escape_to_disk(problem.fun, optax.sgd(0.1), problem.init,
        ...                             jax.random.key(0), runs=100, folder=folder, max_steps=50)
        ...     stored.load().value.shape
        (100,)
    """
    check_count(runs=runs, max_steps=max_steps)
    check_flag(progress=progress)
    check_positive(epsilon=epsilon, hessian_lipschitz=hessian_lipschitz, optional=True)
    check_key(key=key)
    check_path(folder=folder)
    check_limits(target_value, epsilon, hessian_lipschitz)
    check_rule(optimizer)
    runs = int(runs)
    if not callable(init):
        raise TypeError(f"init must be a function from a key to parameters, got {brief(init)}")
    execution = checked_execution(devices, lanes, folder, checkpoint_every, callback)
    # What draws a start is traced, too: runs are drawn where they are run, and their number costs
    # nothing.
    try:
        drawn = trace("init", init, key)
    except TypeError as error:
        if "not a valid JAX type" not in str(error):
            raise  # what draws the starts has a mistake of its own
        raise TypeError("init must return parameters, a pytree of arrays") from error
    start = drawn.result()
    check_not_empty("init", start)
    check_real_floating("init", start)
    if lanes is None:
        lanes = default_lanes(runs, start, execution.devices[0])
    # The program of the runs.
    program = trace_program(
        fun,
        optimizer,
        Start(start, key_for(optimizer, key)),
        at=lambda: drawn(key),
        limits=Limits(target_value, epsilon, hessian_lipschitz),
        max_steps=int(max_steps),
        lanes=int(lanes),
    )
    # This process works on its share; the results go to the folder as they come.
    noisy = not is_optimizer(optimizer)
    engine = Engine(
        program,
        Drawn(Start(start, shape_of(key) if noisy else None), partial(_draw, drawn, noisy, key)),
        batch.share(runs, jax.process_index()),
        execution.devices,
        one_first=execution.one_first,
    )
    batch.complete(
        engine,
        checkpoint=folder,
        every=checkpoint_every,
        about=lambda: (
            about(program)
            | batch.circumstances(execution.devices[0])
            | {"runs": int(runs), "init": drawn.digest(), "key": batch.said_of_key(key)}
        ),
        always=True,
        callback=callback,
    )
    return StoredRuns(Path(folder), engine.no_rows())


@partial(jax.jit, static_argnums=(1, 4))
def _draw(init: Traced, noisy: bool, key: jax.Array, first: int, size: int) -> Start:
    """The starts of `size` runs from number `first` on, with a key each if the rule takes one."""
    own = stream(key, "runs")

    def draw(number: jax.Array) -> Start:
        for_start, for_noise = jax.random.split(jax.random.fold_in(own, number))
        # Whatever the dtypes are weakly, strongly they stay what they are.
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), init(for_start))
        return Start(start, for_noise if noisy else None)

    return jax.vmap(draw)(first + jnp.arange(size))
