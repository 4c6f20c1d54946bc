"""Lanes that are refilled between calls of a compiled chunk of steps, by the host.

The engine refills them inside its compiled loop. This is the other way, from the same parts: a
chunk of steps whatever happens, then everybody who has ended is exchanged, and the host looks.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._engine._loop import (
    Crowd,
    Ended,
    Queue,
    bare_shapes,
    idle_lanes,
    idle_shapes,
    keyed,
    no_rows,
)
from jaxopt_course._tracing import row_of
from jaxopt_course.saddle._escape_program import Limits, Start, key_for, trace_program


@partial(jax.jit, static_argnames="chunk", donate_argnums=1)
def _advance(program, lanes, queue, *, chunk):
    crowd = Crowd(program, queue)
    state, reason = jax.lax.fori_loop(
        0, chunk, lambda _, standing: program.step(*standing), (lanes.state, lanes.reason)
    )
    lanes = lanes._replace(state=state, reason=reason)
    ended = Ended(no_rows(program, program.lanes, lanes), jnp.int32(0), jnp.int32(0))
    lanes, head, ended = crowd.exchange(lanes, queue.head, ended)
    return lanes, head, ended


def escape(fun, rule, starts, keys, *, max_steps, target_value, lanes, chunk):
    """Return the steps of every run, and the share of all lane-steps that were steps of a run."""
    start = Start(jax.ShapeDtypeStruct(starts.shape[1:], starts.dtype), key_for(rule, keys))
    program = trace_program(
        fun,
        rule,
        start,
        at=lambda: starts[0],
        limits=Limits(target_value, None, None),
        max_steps=max_steps,
        lanes=lanes,
    )
    runs = keys.shape[0]
    shapes = idle_shapes(program, jax.tree.map(row_of, Start(starts, keys)))
    standing = jax.device_put(keyed(idle_lanes(bare_shapes(shapes)), shapes))
    queue = Queue(Start(starts, keys), jnp.int32(0), jnp.int32(0), jnp.int32(runs))
    steps, done, calls = np.zeros(runs, int), 0, 0
    while done < runs:
        standing, head, ended = _advance(program, standing, queue, chunk=chunk)
        queue, count = queue._replace(head=head), int(ended.count)
        steps[np.asarray(ended.rows["run"])[:count]] = np.asarray(ended.rows["steps"])[:count]
        done, calls = done + count, calls + 1
    return steps, steps.sum() / (calls * chunk * lanes)
