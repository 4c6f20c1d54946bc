"""What lanes do under `saddle.escape`: step, judge, record.

Two things make it fast. The lanes are the last axis where every leaf of the parameters is a scalar
or a vector, so that arithmetic over a few coordinates is vectorised over the many lanes. And the
objective is batched first and differentiated after, which keeps that layout in the gradient; of its
evaluation, the only one a step, XLA drops the value if neither the rule nor a target value asks for
it. A lane whose run has ended, or that does not ask, causes no noise to be drawn and no Hessian to
be decomposed (`update_where`).
"""

import enum
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course import _observe
from jaxopt_course._batching import lane_axis, update_where
from jaxopt_course._checks import is_key
from jaxopt_course._engine._loop import RUNNING, key_layout
from jaxopt_course._equations import digest_of, fingerprint
from jaxopt_course._observe import Observable
from jaxopt_course._platforms import fast_memory
from jaxopt_course._tracing import Traced, shape_of, trace, trace_objective
from jaxopt_course.saddle._stationary import min_eigenvalue
from jaxopt_course.transforms._leaves import global_norm
from jaxopt_course.transforms._protocol import (
    adapt,
    check_rule,
    eval_params,
    is_optimizer,
    judged_elsewhere,
)

Objective = Callable[[Any], jax.Array]
Optimizer = optax.GradientTransformation | Callable[[jax.Array], optax.GradientTransformation]

_EIGENVALUE_BLOCK = 16
_FEW = 16
"""So many parameters leave a step's fixed cost noticeable with 512 lanes."""
_NUMBERS = 40_000
"""So many numbers, matrices' of all lanes together, hide a step's fixed cost on a CPU."""
_AT_ONCE = 128
"""So many runs of few parameters take their steps in less than twice the time of half of them."""
_QUICK_BYTES = 2**23
"""Bytes of the largest array in a step that takes microseconds."""
_COPIES = 8
"""Arrays of the parameters' size that a step has to do with: these, gradients, state, noise, and
most of them before and after."""


class Stop(enum.IntEnum):
    """Why a run ended; the values are what `EscapeRuns.reason` holds as int32."""

    MAX_STEPS = 0
    """It took `max_steps` steps, and none of the others came first."""
    TARGET_VALUE = 1
    """Its value was at most `target_value`."""
    SECOND_ORDER_STATIONARY = 2
    """Its gradient norm was at most `epsilon`, and no eigenvalue of its Hessian below
    `-sqrt(hessian_lipschitz * epsilon)`."""
    DIVERGED = 3
    """Its gradient norm, or its value, stopped being finite."""


class Limits(NamedTuple):
    """Numbers at which a run ends, see `Stop`; None where it does not end for that reason."""

    target_value: chex.Numeric | None
    epsilon: chex.Numeric | None
    hessian_lipschitz: chex.Numeric | None


class Start(NamedTuple):
    """Where a run starts.

    Attributes:
        params: Its parameters.
        key: Its key, None where the rule asks for none.
    """

    params: Any
    key: Any


class Standing(NamedTuple):
    """Where runs stand; every leaf has the lane axis.

    Attributes:
        key: The run's key, None where the rule asks for none.
        params: Its parameters.
        state: The optimizer's state.
        value: The objective there; None where the rule does not look at it.
        grads: Its gradient.
        gradient_norm: The gradient's norm.
        steps: Steps it has taken, int32.
    """

    key: Any
    params: Any
    state: optax.OptState
    value: jax.Array | None
    grads: Any
    gradient_norm: jax.Array
    steps: jax.Array


def default_lanes(runs: int, params: Any, device: jax.Device) -> int:
    """How many runs to take together, a power of two; `params` has the shapes of one run's.

    A step on a CPU has a fixed cost of some microseconds and is cheapest per run at about 4,000
    lanes of ten numbers or 500 of a hundred; with more, the lanes outgrow the cache. Half as many
    lanes as runs leave work for a second device, except that few runs of few numbers take little
    longer together than half of them; runs whose parameters hold matrices have work enough within
    themselves if these are large: 128 lanes of two by two, 8 of fifty by fifty. An accelerator
    wants all of them at once, as long as the lanes lie in the memory next to its arithmetic; beyond
    that a step takes as long as its arrays take to pass.
    """
    vectors, leaves = lane_axis(params, batched=False) == -1, jax.tree.leaves(params)
    numbers = sum(math.prod(leaf.shape) for leaf in leaves)
    if device.platform == "cpu":
        hiding = 2 ** (_NUMBERS // max(numbers, 1)).bit_length() // 2
        of_vectors, of_matrices = 2048 if numbers <= _FEW else 512, min(max(hiding, 8), 128)
        least, most = (8, of_vectors) if vectors else (1, of_matrices)
        at_once = vectors and numbers <= _FEW and runs <= _AT_ONCE
        wanted = 2 * runs - 1 if at_once else runs // 2
    else:
        one = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        fitting = fast_memory(device) // (_COPIES * max(one, 1))
        most = 2 ** max(fitting.bit_length() - 1, 0)
        least, wanted = (64 if vectors and most >= 64 else 1), 2 * runs - 1
    power = 2 ** max(wanted.bit_length() - 1, 0)
    return min(max(power, least), most)


class Rule(NamedTuple):
    """A traced optimizer.

    Attributes:
        init: From a key and parameters to its state.
        update: From a key, gradients, its state, parameters and their value to updates and state.
        judged: From its state and parameters to those at which a run is reported, None for these.
    """

    init: Traced
    update: Traced
    judged: Traced | None

    @property
    def looks_at_value(self) -> bool:
        """Whether the update depends on the value that it is given."""
        return self.update.depends_on(4)


def trace_rule(
    optimizer: Optimizer,
    fun: Objective,
    value: jax.ShapeDtypeStruct,
    start: Start,
    judge_at: Callable[[Any, Any], Any] | None,
) -> Rule:
    """Trace an optimizer.

    Args:
        optimizer: It, or what makes it of a key.
        fun: The objective, which some rules evaluate themselves.
        value: Shape and dtype of its values.
        start: Where a run starts: shapes of the parameters, a key or None.
        judge_at: From its state and parameters to those at which a run is reported.
    """
    # Noted is whether the optimizer evaluates the objective: what it holds does not say that one.
    calls: list[Any] = []

    def value_fn(params: Any) -> jax.Array:
        calls.append(params)
        return fun(params)

    value_fn.is_deterministic = True  # pyrefly: ignore[missing-attribute]

    def rule(key: Any) -> optax.GradientTransformationExtraArgs:
        return adapt(check_rule(optimizer, key))

    def init(key: Any, params: Any) -> Any:
        return rule(key).init(params)

    def update(key: Any, grads: Any, state: Any, params: Any, value: jax.Array) -> Any:
        extra = {"value": value, "grad": grads, "value_fn": value_fn}
        return rule(key).update(grads, state, params, **extra)

    params, key = start
    held = fingerprint(check_rule(optimizer, key), key)
    of_key = None if key is None else shape_of(key)
    traced = trace("optimizer", init, of_key, params, known=held)
    state = traced.result()
    moved = trace(
        "optimizer",
        update,
        of_key,
        params,
        state,
        params,
        value,
        known=held,
        unless=lambda: bool(calls),
    )
    if judge_at is not None:
        return Rule(traced, moved, trace("eval_params", judge_at, state, params))
    if not judged_elsewhere(state):
        return Rule(traced, moved, None)
    try:
        return Rule(traced, moved, trace("eval_params", eval_params, state, params))
    except ValueError as error:
        # A rule within the optimizer may know a part of the parameters alone.
        raise ValueError(
            "eval_params must be given, a function of state and params: the optimizer's state "
            f"holds a rule that is judged elsewhere, but not all of its parameters ({error})"
        ) from error


@flax.struct.dataclass
class EscapeProgram:
    """What runs do under `escape`: a `Program`.

    Attributes:
        fun: The objective.
        wide: The objective, of parameters in the precision in which curvature is computed.
        rule: The optimizer.
        limits: Numbers at which a run ends.
        max_steps: Steps after which it is given up, int32.
        lanes: How many runs take their steps together.
        axis: The axis of the lanes.
    """

    fun: Traced
    wide: Traced
    rule: Rule
    limits: Limits
    max_steps: Any
    lanes: int = flax.struct.field(pytree_node=False)
    axis: int = flax.struct.field(pytree_node=False)
    in_blocks = False

    @property
    def is_quick(self) -> bool:
        """Whether a step takes no longer than to test how it ended: it moves little memory."""
        parts = (self.fun, self.rule.update)
        one = max(part.largest_array() for part in parts)
        return self.axis == -1 and self.lanes * one <= _QUICK_BYTES

    def begin(self, starts: Start, reason: jax.Array) -> tuple[Standing, jax.Array]:
        """Return the state of lanes at their starts, and which of them have ended there."""
        params, key = starts
        state = self.over_lanes(self.rule.init)(key, params)
        state = jax.tree.map(_with_own_type, state)
        value, grads, gradient_norm = self._evaluate(params)
        steps = jnp.zeros_like(reason)
        asked = value if self.rule.looks_at_value else None
        standing = Standing(key, params, state, asked, grads, gradient_norm, steps)
        return standing, self._judge(params, value, gradient_norm, steps, reason)

    def step(self, state: Standing, reason: jax.Array) -> tuple[Standing, jax.Array]:
        """Take a step in every lane that runs."""
        running, grads = reason == RUNNING, state.grads
        if self.rule.update.has_branches():
            # A lane whose run has ended computes along. With an infinite gradient it never asks for
            # what a rule does at small ones (noise, an eigenvector), which would cost every lane.
            grads = self._where(running, grads, jax.tree.map(lambda _: jnp.inf, grads))
        moved, rule_state = self.over_lanes(self._move)(
            state.key, state.params, state.state, state.value, grads
        )
        params = self._where(running, moved, state.params)
        if self.rule.judged is not None:
            # `row` takes the point to be judged from the state: it must be that of the run's end.
            rule_state = self._where(running, rule_state, state.state)
        value, grads, gradient_norm = self._evaluate(params)
        steps = state.steps + running
        asked = None if state.value is None else value
        moved = Standing(state.key, params, rule_state, asked, grads, gradient_norm, steps)
        return moved, self._judge(params, value, gradient_norm, steps, reason)

    def row(self, state: Standing, reason: jax.Array) -> dict[str, Any]:
        """Return what is kept of every run."""
        params, gradient_norm = state.params, state.gradient_norm
        value = self.values(params)
        if self.rule.judged is not None:
            params = self.over_lanes(self.rule.judged)(state.state, params)
            value, _, gradient_norm = self._evaluate(params)
        return {
            "params": params,
            "value": value,
            "gradient_norm": gradient_norm,
            "steps": state.steps,
            # The gradient can be finite where the value is not, as that of log(x) at x < 0.
            "reason": jnp.where(jnp.isfinite(value), reason, Stop.DIVERGED),
        }

    def values(self, params: Any) -> jax.Array:
        """Return the objective's value in every lane."""
        return jax.vmap(self.fun, in_axes=self.axis)(params)

    def lowest_eigenvalues(self, params: Any) -> jax.Array:
        """Return the smallest eigenvalue of the Hessian in every lane."""
        return self.over_lanes(partial(min_eigenvalue, self.wide))(params)

    def over_lanes(self, fun: Callable[..., Any]) -> Callable[..., Any]:
        """Map a function of one run over the lanes."""
        return jax.vmap(fun, in_axes=self.axis, out_axes=self.axis)

    def _evaluate(self, params: Any) -> tuple[jax.Array, Any, jax.Array]:
        """Return value, gradient and gradient norm in every lane."""
        value, pull_back = jax.vjp(self.values, params)
        (grads,) = pull_back(jnp.ones_like(value))
        return value, grads, self.over_lanes(global_norm)(grads)

    def _judge(self, *arguments: Any) -> jax.Array:
        return self.over_lanes(self._judge_one)(*arguments)

    def _where(self, condition: jax.Array, new: Any, old: Any) -> Any:
        """Choose by lane. Under `vmap` a choice has the lanes in front, and data would move."""

        def choose(new: jax.Array, old: Any) -> jax.Array:
            shape = [1] * new.ndim
            shape[self.axis] = -1
            return jnp.where(condition.reshape(shape), new, old)

        return jax.tree.map(choose, new, old)

    def _move(
        self, key: Any, params: Any, state: Any, value: jax.Array | None, grads: Any
    ) -> tuple[Any, optax.OptState]:
        """Take one run's step."""
        if value is None:  # The rule does not look at it.
            value = jnp.full((), jnp.nan, self.fun.result().dtype)
        updates, new = self.rule.update(key, grads, state, params, value)
        return optax.apply_updates(params, updates), new

    def _judge_one(
        self,
        params: Any,
        value: jax.Array,
        gradient_norm: jax.Array,
        steps: jax.Array,
        reason: jax.Array,
    ) -> jax.Array:
        """Return the reason for which one run ends here, or `reason` as it is."""
        limits = self.limits
        running = reason == RUNNING
        reason = jnp.where(running & (steps >= self.max_steps), Stop.MAX_STEPS, reason)
        if limits.epsilon is not None and limits.hessian_lipschitz is not None:
            flat = running & (gradient_norm <= limits.epsilon)
            lowest = update_where(
                lambda _, params: min_eigenvalue(self.wide, params), block=_EIGENVALUE_BLOCK
            )
            bound = -jnp.sqrt(limits.hessian_lipschitz * limits.epsilon)
            unknown = jnp.zeros((), self.wide.result().dtype)
            arrived = flat & (lowest(flat, unknown, params) >= bound)
            reason = jnp.where(arrived, Stop.SECOND_ORDER_STATIONARY, reason)
        if limits.target_value is not None:
            reason = jnp.where(running & (value <= limits.target_value), Stop.TARGET_VALUE, reason)
        # By the gradient alone: computing the value, too, would take as long as the rest of a step.
        return jnp.where(running & ~jnp.isfinite(gradient_norm), Stop.DIVERGED, reason)


def trace_program(
    fun: Objective,
    optimizer: Optimizer,
    start: Start,
    *,
    at: Callable[[], Any],
    limits: Limits,
    max_steps: int,
    lanes: int,
    eval_params: Callable[[Any, Any], Any] | None = None,
    hint: AbstractContextManager[None] | None = None,
) -> EscapeProgram:
    """Trace objective and optimizer into the program of their runs.

    Args:
        fun: The objective.
        optimizer: The optimizer.
        start: Where a run starts: shapes of the parameters, a key or None.
        at: Returns parameters at which the objective can be evaluated.
        limits: Numbers at which a run ends.
        max_steps: Steps after which a run is given up.
        lanes: How many runs take their steps together.
        eval_params: From optimizer state and parameters to those at which a run is reported.
        hint: What adds a hint to errors of the objective.
    """
    with hint or nullcontext():
        traced = trace_objective("fun", fun, start.params, at)
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(start.params))
    wide = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), start.params)
    curved = traced if wide == start.params else trace_objective("fun", fun, wide, at)
    return EscapeProgram(
        fun=traced,
        wide=curved,
        rule=trace_rule(optimizer, fun, traced.result(), start, eval_params),
        limits=jax.tree.map(jnp.asarray, limits),
        max_steps=np.int32(max_steps),
        lanes=lanes,
        axis=lane_axis(start.params, batched=False),
    )


def about(program: EscapeProgram) -> dict[str, Any]:
    """What tells a batch of this program from batches of others, as JSON."""
    numbers = program.limits._asdict()
    return {
        "objective": program.fun.digest(),
        "optimizer": digest_of([traced.digest() for traced in program.rule if traced is not None]),
        "max_steps": int(program.max_steps),
        "lanes": program.lanes,
    } | {name: None if value is None else float(value) for name, value in numbers.items()}


def _with_own_type(leaf: jax.Array) -> jax.Array:
    """The array without its weak type, which would be lost in the first step of a loop."""
    return leaf if is_key(leaf) else jnp.asarray(leaf, leaf.dtype)


@flax.struct.dataclass
class Observed:
    """What is recorded of runs besides value and gradient norm: see `Recorder`.

    Attributes:
        first: From parameters to what is remembered before the first entry. None, as `look` is,
            where no observables are asked for.
        look: From what is remembered, parameters and the rule's state to what is observed, and
            what is remembered after it.
        params: Whether the parameters are recorded.
        min_eigenvalue: Whether the smallest eigenvalue of the Hessian is.
    """

    first: Traced | None
    look: Traced | None
    params: bool = flax.struct.field(pytree_node=False)
    min_eigenvalue: bool = flax.struct.field(pytree_node=False)

    def begin(self, program: EscapeProgram, state: Standing) -> Any:
        """Return what is remembered before the first entry."""
        return {} if self.first is None else program.over_lanes(self.first)(state.params)

    def __call__(self, program: EscapeProgram, state: Standing, memory: Any) -> tuple[Any, Any]:
        """Return what is recorded of the lanes as they stand."""
        taken = {"value": program.values(state.params), "gradient_norm": state.gradient_norm}
        if self.params:
            taken["params"] = state.params
        if self.min_eigenvalue:
            taken["min_eigenvalue"] = program.lowest_eigenvalues(state.params)
        if self.look is not None:
            look = program.over_lanes(self.look)
            taken["observed"], memory = look(memory, state.params, state.state)
        return taken, memory

    def about(self) -> dict[str, Any]:
        """What tells this record from others, as JSON."""
        return {
            "record_params": self.params,
            "record_min_eigenvalue": self.min_eigenvalue,
            "observe": None if self.look is None else self.look.digest(),
        }


def trace_observed(
    program: EscapeProgram,
    fun: Objective,
    observe: Mapping[str, Observable],
    *,
    params: bool,
    min_eigenvalue: bool,
) -> Observed:
    """Trace what is to be observed of a program's runs."""
    if not observe:
        return Observed(None, None, params, min_eigenvalue)
    (_, point), state = program.rule.init.arguments(), program.rule.init.result()
    first = trace("observe", lambda params: _observe.begin(observe, params), point)
    look = trace(
        "observe",
        lambda memory, params, state: _observe.look(observe, memory, params, state, fun),
        first.result(),
        point,
        state,
    )
    return Observed(first, look, params, min_eigenvalue)


def key_for(optimizer: Optimizer, keys: Any) -> Any:
    """A key of the dtype of `keys`, whose data are zeros; None if the optimizer asks for no key."""
    if is_optimizer(optimizer):
        return None
    bits, generator = key_layout(keys.dtype)
    # `jax.random.key` would do as well, but compiles a program.
    zeros: Any = np.zeros(bits.shape, bits.dtype)
    return jax.random.wrap_key_data(zeros, impl=generator)
