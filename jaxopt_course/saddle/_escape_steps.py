"""What lanes do under `saddle.escape`: step, judge, record.

Two things make it fast. The lanes are the last axis where every leaf of the parameters is a scalar
or a vector, so that arithmetic over a few coordinates is vectorised over the many lanes. And the
objective is batched first and differentiated after, which keeps that layout in the gradient; of its
evaluation, the only one a step, XLA drops the value if neither the rule nor a target value asks for
it. A lane whose run has ended, or that does not ask, causes no noise to be drawn and no Hessian to
be decomposed (`update_where`).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course._batching import lane_axis, update_where
from jaxopt_course._engine._lanes import RUNNING
from jaxopt_course.saddle._stationary import min_eigenvalue
from jaxopt_course.saddle._stop import Stop
from jaxopt_course.transforms._protocol import eval_params, is_judged_elsewhere, optimizer_of

Objective = Callable[[Any], jax.Array]
Optimizer = optax.GradientTransformation | Callable[[jax.Array], optax.GradientTransformation]

_EIGENVALUE_BLOCK = 16
_FEW = 16
"""So many parameters leave a step's fixed cost noticeable with 512 lanes."""


class EscapePlan(NamedTuple):
    """What the compiled program depends on: equal plans share one program."""

    fun: Objective
    optimizer: Optimizer
    max_steps: int
    record_every: int | None
    record_params: bool
    record_min_eigenvalue: bool
    lanes: int
    eval_params: Callable[[Any, Any], Any] | None = None

    @property
    def entries(self) -> int:
        """How many entries a record has."""
        return self.max_steps // (self.record_every or self.max_steps) + 1

    def program(self, constants: "Limits", starts: Any) -> "EscapeProgram":
        """Return what lanes do."""
        return EscapeProgram(self, constants, lane_axis(starts))

    def describe(self, limits: "Limits") -> dict[str, Any]:
        """Return what tells this batch from others, as JSON; functions have no digest."""
        numbers = self._asdict() | limits._asdict()
        del numbers["fun"], numbers["optimizer"], numbers["eval_params"]
        return {
            name: value if value is None or isinstance(value, bool | int) else float(value)
            for name, value in numbers.items()
        }


class Limits(NamedTuple):
    """When a run has arrived; None where that does not end it."""

    target_value: chex.Numeric | None
    epsilon: chex.Numeric | None
    hessian_lipschitz: chex.Numeric | None


class Standing(NamedTuple):
    """Where runs stand; every leaf has the lane axis.

    Attributes:
        keys: The run's key,
        params: its parameters,
        state: optimizer state,
        value: value, None where nothing asks for it,
        grads: gradient
        gradient_norm: and its norm.
        steps: Steps it has taken, int32.
    """

    keys: jax.Array
    params: Any
    state: optax.OptState
    value: jax.Array | None
    grads: Any
    gradient_norm: jax.Array
    steps: jax.Array


def default_lanes(runs: int, starts: Any, platform: str) -> int:
    """Return how many runs (the first axis of `starts`) to take together, a power of two.

    A step on a CPU has a fixed cost of some ten microseconds and is cheapest per run at about 4,000
    lanes of ten numbers or 500 of a hundred; with more, the lanes outgrow the cache. Half as many
    lanes as runs leave work for a second device. An accelerator wants all of them at once. Runs
    whose parameters hold matrices have work enough within themselves.
    """
    vectors = lane_axis(starts) == -1
    few = sum(math.prod(jnp.shape(leaf)[1:]) for leaf in jax.tree.leaves(starts)) <= _FEW
    if platform == "cpu":
        least, most = (8, 2048 if few else 512) if vectors else (1, 8)
        wanted = runs // 2
    else:
        least, most = (64, 16_384) if vectors else (1, 256)
        wanted = 2 * runs - 1
    power = 2 ** max(wanted.bit_length() - 1, 0)
    return min(max(power, least), most)


class EscapeProgram:
    """The parts of the loop, for lanes whose axis is `axis`."""

    def __init__(self, plan: EscapePlan, limits: Limits, axis: int) -> None:
        """Trace nothing yet."""
        self.plan, self.limits, self.axis = plan, limits, axis
        self._over_lanes = partial(jax.vmap, in_axes=axis, out_axes=axis)
        self._values = jax.jit(jax.vmap(plan.fun, in_axes=axis))
        # Compiled twice, for the starts and in the loop, but traced once.
        self._evaluate = jax.jit(self._evaluate_all)

    def _evaluate_all(self, params: Any) -> tuple[jax.Array, Any, jax.Array]:
        value, pull_back = jax.vjp(self._values, params)
        (grads,) = pull_back(jnp.ones_like(value))
        return value, grads, self._over_lanes(optax.tree.norm)(grads)

    def _judge(self, *arguments: Any) -> jax.Array:
        return self._over_lanes(partial(_judge, self.plan, self.limits))(*arguments)

    def idle(self, start: Any, key: jax.Array) -> Standing:
        """Return the body of lanes without runs."""
        plan = self.plan
        state = _rule(plan, key).init(start)
        value, grads = jax.eval_shape(jax.value_and_grad(plan.fun), start)

        def lanes_of(leaf: jax.Array) -> jax.Array:
            every = jnp.broadcast_to(leaf, (plan.lanes, *jnp.shape(leaf)))
            return jnp.moveaxis(every, 0, self.axis)

        every = partial(jnp.zeros, (plan.lanes,))
        return Standing(
            keys=jnp.broadcast_to(key, (plan.lanes,)),
            params=jax.tree.map(lanes_of, start),
            state=jax.tree.map(lambda leaf: lanes_of(jnp.asarray(leaf)), state),
            value=every(value.dtype) if self._asks_for_value(key, start, grads, value) else None,
            grads=jax.tree.map(lambda leaf: lanes_of(jnp.zeros(leaf.shape, leaf.dtype)), grads),
            gradient_norm=every(jax.eval_shape(optax.tree.norm, grads).dtype),
            steps=every(jnp.int32),
        )

    def begin(self, keys: jax.Array, starts: Any, reason: jax.Array) -> tuple[Standing, jax.Array]:
        """Return the body of lanes at their starts, and which of them have ended there."""
        state = self._over_lanes(lambda key, params: _rule(self.plan, key).init(params))(
            keys, starts
        )
        value, grads, gradient_norm = self._evaluate(starts)
        steps = jnp.zeros_like(reason)
        of_one = partial(jax.tree.map, partial(jnp.take, indices=0, axis=self.axis))
        asks = self._asks_for_value(keys[0], of_one(starts), of_one(grads), value[0])
        body = Standing(keys, starts, state, value if asks else None, grads, gradient_norm, steps)
        return body, self._judge(starts, value, gradient_norm, steps, reason)

    def step(self, body: Standing, reason: jax.Array) -> tuple[Standing, jax.Array]:
        """Take a step in every lane that runs."""
        params, state = self._over_lanes(partial(_move, self.plan))(
            body.keys, body.params, body.state, body.value, body.grads, reason
        )
        value, grads, gradient_norm = self._evaluate(params)
        steps = body.steps + (reason == RUNNING)
        asked = None if body.value is None else value
        moved = Standing(body.keys, params, state, asked, grads, gradient_norm, steps)
        return moved, self._judge(params, value, gradient_norm, steps, reason)

    def entry(self, body: Standing) -> dict[str, Any]:
        """Return what is recorded of the lanes as they stand."""
        taken = {"value": self._values(body.params), "gradient_norm": body.gradient_norm}
        if self.plan.record_params:
            taken["params"] = body.params
        if self.plan.record_min_eigenvalue:
            lowest = partial(min_eigenvalue, self.plan.fun)
            taken["min_eigenvalue"] = self._over_lanes(lowest)(body.params)
        return taken

    def row(self, body: Standing, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every run."""
        params, gradient_norm = body.params, body.gradient_norm
        value = self._values(params)
        if self.plan.eval_params is not None or is_judged_elsewhere(body.state):
            judge_at = self.plan.eval_params or eval_params
            params = self._over_lanes(judge_at)(body.state, params)
            value, _, gradient_norm = self._evaluate(params)
        return {
            "params": params,
            "value": value,
            "gradient_norm": gradient_norm,
            "steps": body.steps,
            # The gradient can be finite where the value is not, as that of log(x) at x < 0.
            "reason": jnp.where(jnp.isfinite(value), reason, Stop.DIVERGED),
        }

    def _asks_for_value(self, key: jax.Array, start: Any, grads: Any, value: Any) -> bool:
        """Return whether the rule looks at the value that it is given."""
        plan = self.plan

        def move(value, key, params, grads, reason):
            state = _rule(plan, key).init(params)
            return _move(plan, key, params, state, value, grads, reason)

        traced = jax.make_jaxpr(move)(value, key, start, grads, jnp.int32(RUNNING)).jaxpr
        used = [operand for equation in traced.eqns for operand in equation.invars]
        return any(operand is traced.invars[0] for operand in [*used, *traced.outvars])


def _rule(plan: EscapePlan, key: jax.Array) -> optax.GradientTransformationExtraArgs:
    return optimizer_of(plan.optimizer, key)


def _move(
    plan: EscapePlan,
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


def _judge(
    plan: EscapePlan,
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
