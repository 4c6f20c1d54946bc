"""Where gradient descent on the ReLU teacher-student problem ends, certified.

Safran and Shamir stop at a gradient of 1e-9 and look at the value. Two shortcuts save most of the
time and change no count (`tests/experiments/test_spurious_minima.py` checks it): a run whose value
has fallen below `GLOBAL_BELOW` is on its way to a global minimum and is dropped; and where the
gradient is small, Newton's method takes the last steps, from 1e-4 to their tolerance. Its result is
accepted only if it is near and `saddle.classify` certifies a minimum; near a saddle it is not, and
gradient descent goes on. Some saddles are left so slowly (their lowest eigenvalue is -4e-5) that no
number of steps in reach will do: a run that is still near one at the end is said to be there.
"""

import enum
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import problems, saddle, transforms

from ..lab import resumable

GLOBAL_BELOW = 1e-3
"""The authors' bound between global and other minima, whose values are all above 0.011."""
GRADIENT_TOLERANCE = 1e-9 / (2 * np.pi)
"""The authors stop where 2 pi times the gradient of each neuron is at most 1e-9."""
LEARNING_RATE = 0.1
# Newton's method may take over below this gradient norm, for so many steps, and more from what is
# left at the end; what it finds farther away than its reach is not where the run would have ended.
NEWTON_BELOW = 1e-4
NEWTON_STEPS = 5
NEWTON_STEPS_TO_SADDLE = 20
NEWTON_REACH = 0.1
# Steps of all runs between looks at who has ended, and how many runs share a call of Newton's.
CHUNK = 200
POLISHED_TOGETHER = 8


class End(enum.IntEnum):
    """How a run ended."""

    UNDECIDED = 0
    GLOBAL = 1
    LOCAL = 2
    SADDLE = 3


class Ends(NamedTuple):
    """The ends of a batch of runs, each of shape (runs,).

    Attributes:
        end: An `End`.
        value: Value at the end; for a dropped run where it was dropped.
        min_eigenvalue: Of the Hessian at a local minimum or a saddle, NaN for the others.
        gradient_norm: At the end.
        steps: Of gradient descent.
    """

    end: np.ndarray
    value: np.ndarray
    min_eigenvalue: np.ndarray
    gradient_norm: np.ndarray
    steps: np.ndarray


def teachers(num_students: int, dimension: int) -> np.ndarray:
    """Return a global minimum: the axes, of which the first `n - k` are shared by two students."""
    axes, shared = np.eye(dimension), num_students - dimension
    return np.concatenate([axes[:shared] / 2, axes[:shared] / 2, axes[shared:]])


def descend(
    problem: problems.Problem, starts: jax.Array, *, max_steps: int, newton_below=NEWTON_BELOW
) -> Ends:
    """Follow gradient descent from every start to a certified minimum.

    Args:
        problem: A `problems.relu_teacher_student` with at least as many students as teachers.
        starts: Shape (runs, n, k), float64.
        max_steps: A run that has not ended by then is UNDECIDED, or at a SADDLE if a strict one is
            near.
        newton_below: Gradient norm from which Newton's method may take over.
    """
    descent = transforms.gradient_descent(LEARNING_RATE)
    params = np.array(starts)
    runs = len(params)
    ends = Ends(
        np.full(runs, End.UNDECIDED), *np.full((3, runs), np.nan), steps=np.zeros(runs, int)
    )
    tried = np.full(runs, np.inf)
    # The place of a run that has ended is taken by a global minimum, which stops at once: so all
    # chunks have one shape, and are compiled once.
    idle = teachers(*params.shape[1:])
    for _ in range(max_steps // CHUNK):
        live = np.flatnonzero(ends.end == End.UNDECIDED)
        if not live.size:
            break
        batch = np.broadcast_to(idle, params.shape).copy()
        batch[: live.size] = params[live]
        moved = resumable.escape(
            problem.fun,
            descent,
            jnp.asarray(batch),
            max_steps=CHUNK,
            target_value=GLOBAL_BELOW,
        )
        moved = jax.tree.map(lambda leaf, live=live: np.asarray(leaf)[: live.size], moved)
        params[live] = moved.params
        ends.value[live] = moved.value
        ends.gradient_norm[live] = moved.gradient_norm
        ends.steps[live] += moved.steps
        low = moved.reason == saddle.Stop.TARGET_VALUE
        ends.end[live[low]] = End.GLOBAL
        # Another attempt is worth its Hessians only where the gradient has become much smaller.
        small = np.minimum(newton_below, tried[live] / 10)
        near = live[~low & (moved.gradient_norm <= small)]
        tried[near] = ends.gradient_norm[near]
        _polish(problem, params, near, ends)
    left = np.flatnonzero(ends.end == End.UNDECIDED)
    _polish(problem, params, left, ends, NEWTON_STEPS_TO_SADDLE, End.SADDLE)
    return ends


def _polish(
    problem: problems.Problem,
    params: np.ndarray,
    near: np.ndarray,
    ends: Ends,
    steps: int = NEWTON_STEPS,
    end: End = End.LOCAL,
) -> None:
    """Note the minima, or strict saddles, to which Newton's method leads from the runs `near`."""
    kind = saddle.Kind.MINIMUM if end == End.LOCAL else saddle.Kind.STRICT_SADDLE
    for first in range(0, near.size, POLISHED_TOGETHER):
        some = near[first : first + POLISHED_TOGETHER]
        padded = np.resize(some, POLISHED_TOGETHER)
        value, distance, point = jax.tree.map(
            lambda leaf, some=some: np.asarray(leaf)[: some.size],
            _newton(problem.fun, steps, jnp.asarray(params[padded])),
        )
        right = (point.kind == kind) & (distance <= NEWTON_REACH)
        found = some[right]
        ends.end[found] = end
        ends.value[found] = value[right]
        ends.min_eigenvalue[found] = point.min_eigenvalue[right]
        ends.gradient_norm[found] = point.gradient_norm[right]


@partial(jax.jit, static_argnums=(0, 1))
def _newton(
    fun, steps: int, batch: jax.Array
) -> tuple[jax.Array, jax.Array, saddle.StationaryPoint]:
    """Return value, distance from the start and classification after Newton's method."""

    def step(_, w):
        hessian = jax.hessian(fun)(w).reshape(w.size, w.size)
        return w - jnp.linalg.solve(hessian, jax.grad(fun)(w).ravel()).reshape(w.shape)

    def one(start):
        end = jax.lax.fori_loop(0, steps, step, start)
        point = saddle.classify(fun, end, gradient_tolerance=GRADIENT_TOLERANCE)
        return fun(end), jnp.linalg.norm(end - start), point

    return jax.lax.map(one, batch)
