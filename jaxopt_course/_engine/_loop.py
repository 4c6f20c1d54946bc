"""The compiled loop under the engine: lanes that step together, in blocks or refilled.

How long runs take is heavy-tailed: most of a batch end long before the last. So, where runs wait, a
run that has ended leaves its lane, and the next of the queue takes the lane over. That happens
within the compiled loop, whenever more than a sixteenth of the lanes are free (`refilled`).

Where all runs of a batch have a lane, or where a program asks for it, they begin in a block and
leave in a block, when the last has ended (`in_blocks`). No lane is refilled and no row put aside,
which is most of what the other way compiles: it takes an accelerator's compiler two to three times
as long. Lanes that stand where one way left them can go on in the other, and to the same bits.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._batching import side_by_side
from jaxopt_course._checks import is_key
from jaxopt_course._platforms import rhythm

RUNNING, IDLE = -1, -2
"""Reasons of lanes whose run has not ended, and of lanes without a run."""

_WAITING = 16
"""Lanes are refilled when more than one in this many is without a run."""

_QUEUE_BYTES = 2**25
"""Bytes of starts in a queue; if they would be more, it holds as many runs as there are lanes."""


class Program(Protocol):
    """What lanes do together: a pytree, whose leaves are the arrays that all runs share.

    A program that is given equal static parts and arrays of the same shapes is compiled once. Every
    leaf of a state has the lanes as its axis `axis`; reasons have shape `(lanes,)`. What becomes of
    one lane does not depend on the others. A lane that is not RUNNING costs as little as it can.

    Attributes:
        lanes: How many runs take their steps together.
        axis: The axis of the lanes in states and starts, 0 or -1.
        in_blocks: Whether no lane is to be refilled before all runs in the lanes have ended.
        is_quick: Whether a step takes no longer than to test whether any lane has ended. On an
            accelerator several steps are then taken between two tests; runs that have ended stand
            still.
    """

    @property
    def lanes(self) -> int:
        """How many runs take their steps together."""
        ...

    @property
    def axis(self) -> int:
        """The axis of the lanes."""
        ...

    @property
    def in_blocks(self) -> bool:
        """Whether lanes are refilled all at once."""
        ...

    @property
    def is_quick(self) -> bool:
        """Whether several steps may be taken before lanes are refilled."""
        ...

    def begin(self, starts: Any, reason: jax.Array) -> tuple[Any, jax.Array]:
        """Return the state of lanes at their starts, and which of them have ended there."""
        ...

    def step(self, state: Any, reason: jax.Array) -> tuple[Any, jax.Array]:
        """Take a step in every lane that runs."""
        ...

    def row(self, state: Any, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every lane's run, `reason` and `steps` in any case.

        Every leaf has the lanes as its axis `axis`. Keys are kept as their data.
        """
        ...


class Queue(NamedTuple):
    """Runs that wait for a lane.

    Attributes:
        starts: Leaves of shape `(places, ...)`.
        first: Number of the run in the first place; the others count on from it.
        head: The place whose turn it is.
        size: How many of the places hold a run.
    """

    starts: Any
    first: Any
    head: Any
    size: Any


class Lanes(NamedTuple):
    """Where all lanes stand.

    Attributes:
        run: Number of the run, int32.
        reason: Why it has ended, or that it runs, or that there is none, int32.
        state: What the program keeps of it.
    """

    run: Any
    reason: Any
    state: Any


class Ended(NamedTuple):
    """Runs that have ended, the runs being the first axis.

    Attributes:
        rows: `run`, and what the program keeps of it; where `run` is negative the row is not
            filled.
        count: How many of the rows are filled, int32.
        steps: How many steps the lanes have taken, int32.
    """

    rows: dict[str, Any]
    count: jax.Array
    steps: jax.Array


def idle_lanes(shapes: Lanes) -> Lanes:
    """Lanes of these shapes, which hold no keys but their data, without runs, on the host."""
    lanes = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return lanes._replace(reason=np.full(shapes.reason.shape, IDLE, np.int32))


def idle_shapes(program: Program, start: Any) -> Lanes:
    """The shapes of lanes; `start` is that of any run."""
    number = jax.ShapeDtypeStruct((program.lanes,), jnp.int32)
    return Lanes(run=number, reason=number, state=_begin_idle.eval_shape(program, start))


@jax.jit  # So that JAX remembers the shapes of a program that it has traced.
def _begin_idle(program: Program, start: Any) -> Any:
    """The state of lanes that all begin at one start and have no run."""

    def of_lanes(leaf: jax.Array) -> jax.Array:
        every = jnp.broadcast_to(leaf, (program.lanes, *leaf.shape))
        return jnp.moveaxis(every, 0, program.axis)

    reason = jnp.full(program.lanes, IDLE, jnp.int32)
    return program.begin(jax.tree.map(of_lanes, start), reason)[0]


@functools.lru_cache
def key_layout(dtype: Any) -> tuple[jax.ShapeDtypeStruct, Any]:
    """Shape and dtype of the data of a key of this dtype, and the generator that it is of."""
    generators: list[Any] = []

    def look(key: jax.Array) -> jax.Array:
        generators.append(jax.random.key_impl(key))
        return jax.random.key_data(key)

    return jax.eval_shape(look, jax.ShapeDtypeStruct((), dtype)), generators[0]


def bare(tree: Any) -> Any:
    """The tree with keys replaced by their data."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)


def bare_shapes(tree: Any) -> Any:
    """The shapes of `bare` of a tree of such shapes."""

    def shape(leaf: Any) -> Any:
        if not is_key(leaf):
            return leaf
        bits, _ = key_layout(leaf.dtype)
        return jax.ShapeDtypeStruct((*leaf.shape, *bits.shape), bits.dtype)

    return jax.tree.map(shape, tree)


def keyed(tree: Any, like: Any) -> Any:
    """The tree that `bare` was given, from what it returned; `like` says which leaves are keys."""

    def wrap(leaf: Any, like: Any) -> Any:
        if not is_key(like):
            return leaf
        return jax.random.wrap_key_data(jnp.asarray(leaf), impl=key_layout(like.dtype)[1])

    return jax.tree.map(wrap, tree, like)


def places(program: Program, start: Any) -> int:
    """Return how many runs a queue holds where lanes are refilled.

    Enough that control seldom leaves the compiled loop, few enough to cost little memory.
    """
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(start))
    return (8 if 8 * program.lanes * size <= _QUEUE_BYTES else 1) * program.lanes


def advance(
    program: Program,
    lanes: Lanes,
    queue: Queue,
    *,
    room: int | None,
    budget: chex.Numeric,
    more: chex.Numeric,
) -> tuple[Lanes, jax.Array, Ended]:
    """Let the lanes step, and fill them from the queue, until the caller has something to do.

    Args:
        program: What runs do.
        lanes: Where the lanes stand.
        queue: The runs that wait.
        room: How many runs that have ended can be returned where lanes are refilled, at least as
            many as there are lanes; None to work in blocks: then the queue has a place a lane.
        budget: Steps after which to return in any case; some may be taken in addition.
        more: Whether there are more runs than the queue holds. If so, this returns as soon as a
            lane is free and the queue empty; if not, when all runs have ended. In blocks it
            returns when all runs in the lanes have ended.

    Returns:
        The lanes, the place in the queue whose turn it is, and the runs that have ended.
    """
    if room is None:
        return _in_blocks(program, lanes, queue, budget)
    return _refilled(program, lanes, queue, room, budget, more)


def together(program: Program, starts: Any) -> dict[str, Any]:
    """Let runs that all have a lane step until the last has ended: a block without a budget.

    Args:
        program: What runs do.
        starts: Leaves of shape `(runs, ...)`, at most as many runs as there are lanes.

    Returns:
        What the program keeps of the runs, in their order.
    """
    runs = jax.tree.leaves(starts)[0].shape[0]
    if runs < program.lanes:  # The lanes without a run have copies of the last start.
        starts = jax.tree.map(lambda leaf: padded(leaf, program.lanes), starts)
    take_steps, _ = stepper(program)
    lanes = _seated(program, starts, 0, runs)
    state, reason = jax.lax.while_loop(
        lambda carry: jnp.any(carry[1] == RUNNING),
        lambda carry: take_steps(*carry),
        (lanes.state, lanes.reason),
    )
    rows = _rows(program, lanes._replace(state=state, reason=reason))
    rows.pop("run")
    return jax.tree.map(lambda leaf: leaf[:runs], rows)


def padded(leaf: jax.Array, rows: int) -> jax.Array:
    """The array with copies of its last row behind it."""
    copies = jnp.broadcast_to(leaf[-1:], (rows - leaf.shape[0], *leaf.shape[1:]))
    return jnp.concatenate([leaf, copies])


def _in_blocks(
    program: Program, lanes: Lanes, queue: Queue, budget: chex.Numeric
) -> tuple[Lanes, jax.Array, Ended]:
    """`advance`, in blocks: all in the queue begin once no lane has a run."""
    begins = jnp.all(lanes.reason == IDLE)
    lanes = jax.lax.cond(
        begins,
        lambda _: _seated(program, queue.starts, queue.first, queue.size),
        lambda lanes: lanes,
        lanes,
    )
    take_steps, several = stepper(program)

    def may_go_on(carry: tuple[Lanes, jax.Array]) -> jax.Array:
        lanes, taken = carry
        return (taken < budget) & jnp.any(lanes.reason == RUNNING)

    def step(carry: tuple[Lanes, jax.Array]) -> Any:
        lanes, taken = carry
        state, reason = take_steps(lanes.state, lanes.reason)
        return lanes._replace(state=state, reason=reason), taken + several

    lanes, steps = jax.lax.while_loop(may_go_on, step, (lanes, jnp.zeros((), jnp.int32)))
    # What is kept is computed when the last run has ended.
    over = ~jnp.any(lanes.reason == RUNNING)
    rows = jax.lax.cond(
        over, partial(_rows, program), partial(no_rows, program, program.lanes), lanes
    )
    ended = Ended(rows, jnp.sum(rows["run"] >= 0, dtype=jnp.int32), steps)
    lanes = lanes._replace(reason=jnp.where(over, IDLE, lanes.reason))
    return lanes, jnp.where(begins, queue.size, queue.head), ended


def _seated(program: Program, starts: Any, first: chex.Numeric, size: chex.Numeric) -> Lanes:
    """Lanes of which the first `size` have a run, the first with number `first`, at its start."""
    axis = program.axis

    def placed(leaf: jax.Array) -> jax.Array:
        leaf = jnp.moveaxis(leaf, 0, axis)
        # In memory, too: arguments have the lanes in front.
        return leaf if axis == 0 else side_by_side(leaf, axis)

    number = jnp.arange(program.lanes, dtype=jnp.int32)
    reason = jnp.where(number < size, RUNNING, IDLE).astype(jnp.int32)
    state, reason = program.begin(jax.tree.map(placed, starts), reason)
    return Lanes(first + number, reason, state)


def _rows(program: Program, lanes: Lanes) -> dict[str, Any]:
    """The rows of all lanes, with the lanes as the first axis; filled are those of ended runs."""
    kept = program.row(lanes.state, lanes.reason)
    number = jnp.where(lanes.reason >= 0, lanes.run, -1)
    return {"run": number} | jax.tree.map(lambda leaf: jnp.moveaxis(leaf, program.axis, 0), kept)


def no_rows(program: Program, room: int, lanes: Lanes) -> dict[str, Any]:
    """So many rows that are not filled."""
    shapes = jax.eval_shape(partial(_rows, program), lanes)
    rows = jax.tree.map(lambda leaf: jnp.zeros((room, *leaf.shape[1:]), leaf.dtype), shapes)
    return rows | {"run": jnp.full(room, -1, jnp.int32)}


def _refilled(
    program: Program,
    lanes: Lanes,
    queue: Queue,
    room: int,
    budget: chex.Numeric,
    more: chex.Numeric,
) -> tuple[Lanes, jax.Array, Ended]:
    """`advance`, with lanes that the next of the queue take over as others leave them."""
    crowd = Crowd(program, queue)
    # So many lanes may be free before they are refilled.
    patience = program.lanes // _WAITING
    take_steps, several = stepper(program)
    none = jnp.zeros((), jnp.int32)
    ended = Ended(no_rows(program, room, lanes), count=none, steps=none)

    def vacant(lanes: Lanes) -> jax.Array:
        return jnp.sum(lanes.reason != RUNNING, dtype=jnp.int32)

    def may_go_on(carry: tuple[Lanes, jax.Array, jax.Array]) -> jax.Array:
        lanes, taken, patient = carry
        return (taken < budget) & (vacant(lanes) <= patient)

    def step(carry: tuple[Lanes, jax.Array, jax.Array]) -> Any:
        lanes, taken, patient = carry
        state, reason = take_steps(lanes.state, lanes.reason)
        return lanes._replace(state=state, reason=reason), taken + several, patient

    def turn(carry: tuple[Lanes, jax.Array, Ended]) -> tuple[Lanes, jax.Array, Ended]:
        lanes, head, ended = carry
        # With an empty queue, free lanes wait for the last run to end.
        patient = jnp.where((head < queue.size) | more, patience, program.lanes - 1)
        lanes, taken, _ = jax.lax.while_loop(may_go_on, step, (lanes, ended.steps, patient))
        ended = ended._replace(steps=taken)
        return jax.lax.cond(
            vacant(lanes) > patient, crowd.exchange, lambda *carry: carry, lanes, head, ended
        )

    def goes_on(carry: tuple[Lanes, jax.Array, Ended]) -> jax.Array:
        lanes, head, ended = carry
        unfinished = jnp.any(lanes.reason != IDLE) | (head < queue.size)
        asks_in_vain = more & (head >= queue.size) & jnp.any(lanes.reason == IDLE)
        fits = ended.count <= room - program.lanes
        return unfinished & ~asks_in_vain & fits & (ended.steps < budget)

    return jax.lax.while_loop(goes_on, turn, (lanes, queue.head, ended))


def stepper(program: Program) -> tuple[Callable[[Any, jax.Array], Any], int]:
    """Return what takes steps in every lane that runs, between two looks, and how many."""
    several, at_a_time = rhythm() if program.is_quick else (1, 1)
    if several == 1:
        return program.step, 1

    def one(carry: Any, _: None) -> tuple[Any, None]:
        return program.step(*jax.lax.optimization_barrier(carry)), None

    def take_steps(state: Any, reason: jax.Array) -> Any:
        carry, _ = jax.lax.scan(one, (state, reason), length=several, unroll=at_a_time)
        return carry

    return take_steps, several


class Crowd:
    """What lanes that are refilled and the runs that wait do with each other."""

    def __init__(self, program: Program, queue: Queue) -> None:
        self.program, self.queue = program, queue
        self.starts = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, program.axis), queue.starts)

    def exchange(
        self, lanes: Lanes, head: jax.Array, ended: Ended
    ) -> tuple[Lanes, jax.Array, Ended]:
        """Write down the runs that have ended, and give their lanes to the next of the queue."""
        # Lanes in order: those whose runs have ended, those without a run, those that run.
        group = jnp.where(lanes.reason == RUNNING, 2, jnp.where(lanes.reason == IDLE, 1, 0))
        number = jnp.arange(self.program.lanes, dtype=jnp.int32)
        _, order = jax.lax.sort((group.astype(jnp.int32), number), num_keys=1, is_stable=True)
        _, turn = jax.lax.sort((order, number), num_keys=1)
        ended = self._retire(lanes, order, ended)
        lanes, head = self._refill(lanes, turn, head)
        return lanes, head, ended

    def _retire(self, lanes: Lanes, order: jax.Array, ended: Ended) -> Ended:
        """Append the rows of the lanes, in this order, to those of runs that ended before."""

        def append(rows: jax.Array, new: jax.Array) -> jax.Array:
            # The rows of lanes that still run come last, and the next call overwrites them.
            return jax.lax.dynamic_update_slice_in_dim(
                rows, jnp.take(new, order, axis=0, mode="clip"), ended.count, axis=0
            )

        return ended._replace(
            rows=jax.tree.map(append, ended.rows, _rows(self.program, lanes)),
            count=ended.count + jnp.sum(lanes.reason >= 0, dtype=jnp.int32),
        )

    def _refill(self, lanes: Lanes, turn: jax.Array, head: jax.Array) -> tuple[Lanes, jax.Array]:
        """Give every lane without a running run the next of the queue, as far as it goes."""
        free = lanes.reason != RUNNING
        place = head + turn
        filled = free & (place < self.queue.size)
        axis = self.program.axis
        take = partial(jnp.take, indices=place, axis=axis, mode="clip")
        state, reason = self.program.begin(
            jax.tree.map(take, self.starts), jnp.where(filled, RUNNING, IDLE).astype(jnp.int32)
        )

        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            shape = [1] * old.ndim
            shape[axis] = -1
            return jnp.where(filled.reshape(shape), new, old)

        lanes = Lanes(
            run=jnp.where(filled, self.queue.first + place, lanes.run),
            reason=jnp.where(free, reason, lanes.reason),
            state=jax.tree.map(choose, state, lanes.state),
        )
        return lanes, head + jnp.sum(filled, dtype=jnp.int32)
