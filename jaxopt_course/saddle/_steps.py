"""What lanes do together: step, judge, record, give up their runs and take others.

Two things make it fast. The lanes are the last axis where every leaf of the parameters is a scalar
or a vector, so that arithmetic over a few coordinates is vectorised over the many lanes. And the
objective is batched first and differentiated after, which keeps that layout in the gradient; of its
evaluation, the only one a step, XLA drops the value if neither the rule nor a target value asks for
it. A lane whose run has ended, or that does not ask, causes no noise to be drawn and no Hessian to
be decomposed (`update_where`).

A run's arithmetic is that of its lane, and lanes do not look at each other: its bits depend on its
start and key, not on the lane, on who is in the others or on when it was its turn.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_course._batching import lane_axis, rank_and_members, update_where
from jaxopt_course.saddle._lanes import IDLE, RUNNING, Ended, Lanes, Limits, Plan, Queue
from jaxopt_course.saddle.stationary import min_eigenvalue
from jaxopt_course.saddle.stop import Stop

_EIGENVALUE_BLOCK = 16


def idle_lanes(plan: Plan, limits: Limits, start: Any, key: jax.Array) -> Lanes:
    """Return lanes without runs; `start` and `key` are those of any run, which shape them."""
    axis = lane_axis(jax.tree.map(lambda leaf: leaf[None], start))

    def lanes_of(leaf: jax.Array) -> jax.Array:
        return jnp.moveaxis(jnp.broadcast_to(leaf, (plan.lanes, *jnp.shape(leaf))), 0, axis)

    state = _rule(plan, key).init(start)
    value, grads = jax.eval_shape(jax.value_and_grad(plan.fun), start)
    needed = _asks_for_value(plan, key, start, state, value, grads)
    every = partial(jnp.full, (plan.lanes,))
    lanes = Lanes(
        run=every(0, jnp.int32),
        keys=jnp.broadcast_to(key, (plan.lanes,)),
        params=jax.tree.map(lanes_of, start),
        state=jax.tree.map(lambda leaf: lanes_of(jnp.asarray(leaf)), state),
        value=every(0, value.dtype) if needed else None,
        grads=jax.tree.map(lambda leaf: lanes_of(jnp.zeros(leaf.shape, leaf.dtype)), grads),
        gradient_norm=every(0, jax.eval_shape(optax.tree.norm, grads).dtype),
        steps=every(0, jnp.int32),
        reason=every(IDLE, jnp.int32),
        record={},
        clock=jnp.zeros((), jnp.int32),
    )
    if plan.record_every is None:
        return lanes
    entry = jax.eval_shape(Program(plan, limits, axis).entry, lanes)
    entries = plan.max_steps // plan.record_every + 1
    # One row more than is kept: what is written after the steps beyond the last whole stretch.
    record = jax.tree.map(lambda leaf: jnp.zeros((entries + 1, *leaf.shape), leaf.dtype), entry)
    return lanes._replace(record=record)


class Program:
    """The parts of the loop, for lanes whose axis is `axis`."""

    def __init__(self, plan: Plan, limits: Limits, axis: int) -> None:
        self.plan, self.limits, self.axis = plan, limits, axis
        self.over_lanes = partial(jax.vmap, in_axes=axis, out_axes=axis)
        self.values = jax.jit(jax.vmap(plan.fun, in_axes=axis))
        # Compiled twice, for the starts and in the loop, but traced once.
        self.evaluate = jax.jit(self._evaluate)

    def _evaluate(self, params: Any) -> tuple[jax.Array, Any, jax.Array]:
        value, pull_back = jax.vjp(self.values, params)
        (grads,) = pull_back(jnp.ones_like(value))
        return value, grads, self.over_lanes(optax.tree.norm)(grads)

    def take_step(self, lanes: Lanes) -> Lanes:
        """Take a step in every lane with a run."""
        params, state = self.over_lanes(partial(_move, self.plan))(
            lanes.keys, lanes.params, lanes.state, lanes.value, lanes.grads, lanes.reason
        )
        value, grads, gradient_norm = self.evaluate(params)
        steps = lanes.steps + (lanes.reason == RUNNING)
        return lanes._replace(
            params=params,
            state=state,
            value=None if lanes.value is None else value,
            grads=grads,
            gradient_norm=gradient_norm,
            steps=steps,
            reason=self.judge(params, value, gradient_norm, steps, lanes.reason),
            clock=lanes.clock + (self.plan.record_every is not None),
        )

    def judge(self, *arguments: Any) -> jax.Array:
        return self.over_lanes(partial(_judge, self.plan, self.limits))(*arguments)

    def entry(self, lanes: Lanes) -> dict[str, Any]:
        """Return what is recorded of the lanes as they stand."""
        taken = {"value": self.values(lanes.params), "gradient_norm": lanes.gradient_norm}
        if self.plan.record_params:
            taken["params"] = lanes.params
        if self.plan.record_min_eigenvalue:
            lowest = partial(min_eigenvalue, self.plan.fun)
            taken["min_eigenvalue"] = self.over_lanes(lowest)(lanes.params)
        return taken

    def record(self, lanes: Lanes, every: int) -> Lanes:
        """Write an entry: one before its time stays if all have ended, or is overwritten."""
        row = -(-lanes.clock // every)
        record = jax.tree.map(
            lambda rows, new: rows.at[row].set(new), lanes.record, self.entry(lanes)
        )
        return lanes._replace(record=record)

    def row(self, lanes: Lanes) -> dict[str, Any]:
        """Return what is kept of every run, with the lanes as the first axis."""
        value = self.values(lanes.params)
        kept = {
            "run": lanes.run,
            "params": lanes.params,
            "value": value,
            "gradient_norm": lanes.gradient_norm,
            "steps": lanes.steps,
            # The gradient can be finite where the value is not, as that of log(x) at x < 0.
            "reason": jnp.where(jnp.isfinite(value), lanes.reason, Stop.DIVERGED),
        }
        kept = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, self.axis, 0), kept)
        every = self.plan.record_every
        if every is None:
            return kept
        # Entries are stacked in front; the last repeats where all runs had ended before.
        entries = jnp.minimum(
            jnp.arange(self.plan.max_steps // every + 1), -(-lanes.clock // every)
        )
        last = self.axis if self.axis == -1 else self.axis + 1
        return kept | {
            "record": jax.tree.map(lambda rows: jnp.moveaxis(rows[entries], last, 0), lanes.record)
        }

    def retire(self, lanes: Lanes, ended: Ended) -> Ended:
        """Write the runs that have ended behind those that had before."""
        has_ended = lanes.reason >= 0
        _, members = rank_and_members(has_ended)

        def append(rows: jax.Array, new: jax.Array) -> jax.Array:
            # Behind the ended ones comes what the next to be written overwrites.
            return jax.lax.dynamic_update_slice_in_dim(
                rows, jnp.take(new, members, axis=0, mode="clip"), ended.count, axis=0
            )

        return ended._replace(
            rows=jax.tree.map(append, ended.rows, self.row(lanes)),
            count=ended.count + jnp.sum(has_ended, dtype=jnp.int32),
        )

    def refill(
        self, lanes: Lanes, starts: Any, queue: Queue, head: jax.Array
    ) -> tuple[Lanes, jax.Array]:
        """Give every lane without a running run the next of the queue, as far as it goes."""
        free = lanes.reason != RUNNING
        number, _ = rank_and_members(free)
        place = head + number - 1
        filled = free & (place < queue.size)

        def choose(axis: int, new: Any, old: Any) -> Any:
            def where(new: jax.Array, old: jax.Array) -> jax.Array:
                shape = [1] * old.ndim
                shape[axis] = -1
                return jnp.where(filled.reshape(shape), new, old)

            return jax.tree.map(where, new, old)

        take = partial(jnp.take, indices=place, mode="clip")
        keys = choose(0, take(queue.keys, axis=0), lanes.keys)
        params = choose(
            self.axis,
            jax.tree.map(lambda leaf: take(leaf, axis=self.axis), starts),
            lanes.params,
        )
        state = self.over_lanes(lambda key, params: _rule(self.plan, key).init(params))(
            keys, params
        )
        value, grads, gradient_norm = self.evaluate(params)
        steps = jnp.where(filled, 0, lanes.steps)
        begun = jnp.where(filled, RUNNING, IDLE)
        lanes = lanes._replace(
            run=jnp.where(filled, queue.first + place, lanes.run),
            keys=keys,
            params=params,
            state=choose(self.axis, state, lanes.state),
            value=None if lanes.value is None else choose(0, value, lanes.value),
            grads=choose(self.axis, grads, lanes.grads),
            gradient_norm=jnp.where(filled, gradient_norm, lanes.gradient_norm),
            steps=steps,
            reason=jnp.where(
                free, self.judge(params, value, gradient_norm, steps, begun), lanes.reason
            ),
            clock=jnp.zeros((), jnp.int32),
        )
        if self.plan.record_every is not None:
            lanes = self.record(lanes, self.plan.record_every)
        return lanes, head + jnp.sum(filled, dtype=jnp.int32)


def _rule(plan: Plan, key: jax.Array) -> optax.GradientTransformationExtraArgs:
    optimizer = plan.optimizer
    if not isinstance(optimizer, optax.GradientTransformation):
        optimizer = optimizer(key)
    return optax.with_extra_args_support(optimizer)


def _move(
    plan: Plan,
    key: jax.Array,
    params: Any,
    state: optax.OptState,
    value: jax.Array | None,
    grads: Any,
    reason: jax.Array,
) -> tuple[Any, optax.OptState]:
    """Take one run's step, or none if it has ended."""
    running = reason == RUNNING
    # The lane of an ended run goes on, in vain. An infinite gradient is never "small", so it asks
    # for nothing that a rule does at small gradients, and that would cost everyone time.
    grads = jax.tree.map(lambda grad: jnp.where(running, grad, jnp.inf), grads)
    if value is None:  # `_asks_for_value` found that nobody looks.
        value = jnp.full((), jnp.nan, jax.eval_shape(plan.fun, params).dtype)
    updates, state = _rule(plan, key).update(
        grads, state, params, value=value, grad=grads, value_fn=plan.fun
    )
    moved = optax.apply_updates(params, updates)
    return jax.tree.map(partial(jnp.where, running), moved, params), state


def _asks_for_value(plan: Plan, key: Any, start: Any, state: Any, value: Any, grads: Any) -> bool:
    """Return whether the rule looks at the value that it is given."""
    move = jax.make_jaxpr(lambda value, *rest: _move(plan, key, start, state, value, *rest))
    traced = move(value, grads, jnp.int32(RUNNING)).jaxpr
    used = [operand for equation in traced.eqns for operand in equation.invars]
    return any(operand is traced.invars[0] for operand in [*used, *traced.outvars])


def _judge(
    plan: Plan,
    limits: Limits,
    params: Any,
    value: jax.Array,
    gradient_norm: jax.Array,
    steps: jax.Array,
    reason: jax.Array,
) -> jax.Array:
    """Return the reason for which one run ends here, or `reason` as it is."""
    running = reason == RUNNING
    reason = jnp.where(running & (steps >= plan.max_steps), Stop.MAX_STEPS, reason)
    if limits.epsilon is not None and limits.hessian_lipschitz is not None:
        flat = running & (gradient_norm <= limits.epsilon)
        lowest = update_where(
            lambda _, params: min_eigenvalue(plan.fun, params), block=_EIGENVALUE_BLOCK
        )
        bound = -jnp.sqrt(limits.hessian_lipschitz * limits.epsilon)
        arrived = flat & (lowest(flat, jnp.zeros_like(gradient_norm), params) >= bound)
        reason = jnp.where(arrived, Stop.SECOND_ORDER_STATIONARY, reason)
    if limits.target_value is not None:
        reason = jnp.where(running & (value <= limits.target_value), Stop.TARGET_VALUE, reason)
    # The gradient tells: to look at the value too would take as long as the rest of the step.
    return jnp.where(running & ~jnp.isfinite(gradient_norm), Stop.DIVERGED, reason)
