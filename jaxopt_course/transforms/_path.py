"""The path of an optimizer: where it goes step by step, and what is observed on the way.

    params, state = start, optimizer.init(start)
    at steps 0, every, 2 * every, ...: observe; after each step: params += updates

`saddle.escape` runs batches until each run ends on its own condition; this is one run of a given
length, as a pure function, to be compiled, mapped and differentiated by the caller.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course import _observe
from jaxopt_course._checks import (
    check_count,
    check_integer,
    check_non_negative,
    check_not_empty,
    check_objective,
    check_real_floating,
    is_key,
)
from jaxopt_course._dataset import dataset
from jaxopt_course._observe import Observable
from jaxopt_course._reading import Reading, how_many, number, part, readable
from jaxopt_course.transforms._leaves import global_norm
from jaxopt_course.transforms._protocol import adapt

if TYPE_CHECKING:
    import xarray


@readable
class Path(NamedTuple):
    """What a run left behind; arrays along the path have the observations as leading axis.

    Attributes:
        steps: Steps that had been taken at each observation, int32: 0, every, 2 every, ...
        value: The objective there,
        gradient_norm: and the norm of its gradient, in at least float32.
        observed: What was asked for, by name.
        params: The parameters at the end, after all steps,
        state: and the optimizer's state.
    """

    steps: jax.Array
    value: jax.Array
    gradient_norm: jax.Array
    observed: dict[str, Any]
    params: Any
    state: Any

    def _reading(self) -> Reading | None:
        """Where the run began and ended, and what was observed."""
        if np.ndim(self.steps) != 1:
            return None
        rows = [
            (name, f"{number(values[0])} at first, {number(values[-1])} at last")
            for name, values in (("value", self.value), ("gradient norm", self.gradient_norm))
        ]
        rows += [(f"observed[{name!r}]", part(values)) for name, values in self.observed.items()]
        rows.append(("more", ".steps, .params, .to_xarray(); plot.record(it)"))
        seen = how_many(np.size(self.steps), "observation")
        steps = f"steps {number(self.steps[0])} to {number(self.steps[-1])}"
        return Reading(f"one run, {seen} at {steps}", rows)

    def to_xarray(self) -> "xarray.Dataset":
        """What was seen along the path as a dataset, which needs the extra `xarray`.

        The dimension is `step`, with the steps that had been taken, before it `run` where paths
        were mapped over. What was observed has its own names, a variable a leaf.

        Raises:
            ModuleNotFoundError: If xarray is not installed.

        Example:
            >>> found = path(lambda x: x @ x, optax.sgd(0.1), jnp.ones(2), 6, every=3)
            >>> data = found.to_xarray()
            >>> data.params.dims, data.step.values.tolist()
            (('step', 'params_dim_0'), [0, 3, 6])
        """
        dims = ("run",) * (jnp.ndim(self.steps) - 1) + ("step",)
        steps = np.asarray(self.steps)
        variables = {"value": self.value, "gradient_norm": self.gradient_norm} | self.observed
        return dataset(
            {name: (dims, values) for name, values in variables.items()},
            coords={"step": steps.reshape(-1, steps.shape[-1])[0]},
        )


def path(
    fun: Callable[[Any], jax.Array],
    optimizer: Any,
    start: Any,
    steps: int,
    *,
    every: int = 1,
    observe: Mapping[str, Observable] | None = None,
) -> Path:
    """The path of an optimizer from `start`, and what is observed along it.

    The steps are a loop within the compiled program: memory grows with the observations, not with
    the steps. Values and gradient norms cost nothing beside the steps.

    Args:
        fun: The objective, from a pytree of parameters to a scalar.
        optimizer: Any optimizer that `adapt` takes. Its `update` gets `value`, `grad`, `value_fn`.
        start: The parameters to begin with, real floating.
        steps: How many steps to take, a Python int >= 0.
        every: Observe at every so many steps, the start included, >= 1.
        observe: Functions of parameters, optimizer state and objective, by name, such as those of
            `observables`. What one of them remembers from one observation to the next is carried
            along. By default `{"params": lambda params, state, fun: params}`, the path itself.

    Returns:
        A `Path` of `steps // every + 1` observations.

    Raises:
        TypeError: if `fun` is no function to a real scalar, `start` is not real floating, or
            `optimizer` or an observable is none.
        ValueError: if `steps` or `every` is out of range.

    Example:
        >>> found = path(lambda x: jnp.sum(x**2) / 2, optax.sgd(0.5), jnp.array([8.0]), 4, every=2)
        >>> found.observed["params"].ravel().tolist(), found.value.tolist()
        ([8.0, 2.0, 0.5], [32.0, 2.0, 0.125])
    """
    check_not_empty("start", start)
    check_real_floating("start", start)
    check_objective("fun", fun, start)
    check_integer(steps=steps)
    check_non_negative(steps=steps)
    check_count(every=every)
    observables = _observe.check_observe({"params": _params} if observe is None else observe)
    rule = adapt(optimizer)

    def evaluate(params):
        return jax.value_and_grad(fun)(params)

    def move(params, state, value, grads):
        updates, state = rule.update(grads, state, params, value=value, grad=grads, value_fn=fun)
        return optax.apply_updates(params, updates), state

    def step(_, run):
        params, state = run
        return move(params, state, *evaluate(params))

    def look(memory, params, state, value, grads):
        seen, memory = _observe.look(observables, memory, params, state, fun)
        return (value, global_norm(grads), seen), memory

    def stretch(carry, _):
        # The first step needs the gradient where the observation does: it is computed once.
        (params, state), memory = carry
        value, grads = evaluate(params)
        seen, memory = look(memory, params, state, value, grads)
        run = move(params, state, value, grads)
        return (jax.lax.fori_loop(1, every, step, run) if every > 1 else run, memory), seen

    # A loop's state must keep its dtypes, and a weakly typed one, as of a Python number, would not.
    run = jax.tree.map(_with_own_dtype, (start, rule.init(start)))
    memory = jax.tree.map(_with_own_dtype, _observe.begin(observables, run[0]))
    stretches = steps // every
    (run, memory), seen = jax.lax.scan(stretch, (run, memory), length=stretches)
    # The last look, and the steps that are left after it, fewer than `every`.
    params, state = run
    last, _ = look(memory, params, state, *evaluate(params))
    value, gradient_norm, observed = jax.tree.map(
        lambda leaves, leaf: jnp.concatenate([leaves, jnp.asarray(leaf)[None]]), seen, last
    )
    params, state = jax.lax.fori_loop(stretches * every, steps, step, run)
    taken = every * jnp.arange(stretches + 1, dtype=jnp.int32)
    return Path(taken, value, gradient_norm, observed, params, state)


def _params(params: Any, state: Any, fun: Any) -> Any:
    del state, fun
    return params


def _with_own_dtype(leaf: Any) -> jax.Array:
    leaf = jnp.asarray(leaf)
    return leaf if is_key(leaf) else leaf.astype(leaf.dtype)
