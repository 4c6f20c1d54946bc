"""How an optimizer is called, whoever wrote it: what its `update` gets, and where it is evaluated.

`make_step`, `path`, `saddle.escape` and `training.fit` call every optimizer as `optax.lbfgs` is
called, `update(grads, state, params, value=value, grad=grads, value_fn=fun)`. Some of optax's want
something else, and `adapt` gives it to them:

- `contrib.sam` takes no other extra arguments than `grad_fn`, `contrib.sophia` wants `obj_fn`;
- `lookahead` wants fast and slow parameters as a pair, where there are only parameters;
- `MultiSteps` is an object with `init` and `update`, but no transformation;
- `masked`, `partition` and what is made of them take leaves out of the parameters and leave
  `value_fn` a function of all of them.

Some optimizers take their gradients at one point and are to be judged at another, which
`eval_params` finds in their state.
"""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_arrays, check_callable
from jaxopt_course.transforms._momentum import (
    NesterovState,
    StepVelocityState,
    nesterov_eval_params,
)

# The extra arguments that rules are called with: those of `optax.lbfgs`, and what else some want.
_EXTRA = ("value", "grad", "value_fn", "obj_fn", "grad_fn")


class LookaheadRunState(NamedTuple):
    """What `adapt(optax.lookahead(...))` remembers between steps.

    Attributes:
        slow: The slow parameters, at which the run is to be evaluated.
        inner: The state of `optax.lookahead` itself.
    """

    slow: optax.Params
    inner: Any


def is_optimizer(value: Any) -> bool:
    """Whether `value` has `init` and `update`, as a transformation or an `optax.MultiSteps`."""
    if isinstance(value, type):
        return False
    return callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))


def adapt(optimizer: Any) -> optax.GradientTransformationExtraArgs:
    """Any optimizer of optax as one that is called like `optax.lbfgs`.

    `make_step`, `path`, `saddle.escape` and `training.fit` do this by themselves. In a loop of
    one's own, `update(grads, state, params, value=value, grad=grads, value_fn=fun)` of what it
    returns serves every optimizer; `obj_fn` and `grad_fn` are made of `value_fn`, and where a mask
    takes leaves out of the parameters, `value_fn` gets them back.

    Args:
        optimizer: A gradient transformation, or an object with `init` and `update` such as
            `optax.MultiSteps`.

    Returns:
        The transformation; its state is the optimizer's own, but for `optax.lookahead`, whose
        state is a `LookaheadRunState`.

    Raises:
        TypeError: if it is no optimizer; from `update`, if a link of a chain (`optax.contrib.sam`)
            refuses extra arguments.
        ValueError: from `update`, if the state is that of `optax.lookahead` without `adapt`.

    Example:
        >>> rule = adapt(optax.contrib.sophia(0.1))
        >>> fun, x = lambda x: jnp.sum(x**2), jnp.ones(2)
        >>> rule.update(jax.grad(fun)(x), rule.init(x), x, value_fn=fun)[0].shape
        (2,)
    """
    if not is_optimizer(optimizer):
        cure = ", a function: call it first" if callable(optimizer) else ""
        raise TypeError(f"optimizer must be a GradientTransformation, got {brief(optimizer)}{cure}")
    if _is_from(optax.lookahead, optimizer):
        return _with_slow_params(optimizer)
    accepted = _extra_arguments(optimizer)

    def update(updates, state, params=None, **extra_args):
        _check_lookahead(state)
        if callable(extra_args.get("value_fn")) and params is not None:
            fun = extra_args["value_fn"] = fill_masked(extra_args["value_fn"], params)
            # Only where it is wanted: `optax.lbfgs` refuses what its objective does not take.
            if accepted is not None or _holds(optax.contrib.HutchinsonState, state):
                extra_args.setdefault("obj_fn", fun)
            if accepted is not None:
                extra_args.setdefault("grad_fn", lambda params, _: jax.grad(fun)(params))
        if accepted is not None:
            extra_args = {name: extra_args[name] for name in extra_args if name in accepted}
        try:
            return optimizer.update(updates, state, params, **extra_args)
        except TypeError as error:
            if not re.search(f"unexpected keyword argument '({'|'.join(_EXTRA)})'", str(error)):
                raise
            raise TypeError(
                f"a link of optimizer takes no extra arguments such as {', '.join(_EXTRA)}: put "
                f"transforms.adapt(link) in its place ({error})"
            ) from error

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def check_rule(optimizer: Any, key: Any = None) -> Any:
    """The optimizer that is used with a key, checked: itself, or what a function makes of the key.

    Args:
        optimizer: An optimizer, or a function from a key to one.
        key: The key. Without one a function is only looked at, and the identity returned.

    Raises:
        TypeError: for anything else, as `optax.sgd`, which makes an optimizer of numbers.
    """
    if is_optimizer(optimizer):
        return optimizer
    wanted = "optimizer must be an optax.GradientTransformation or a function from a key to one"
    if not callable(optimizer):
        raise TypeError(f"{wanted}, got {brief(optimizer)}")
    if not _takes_key(optimizer):
        raise TypeError(
            f"{wanted}, got {brief(optimizer)}, which is no function of a key: call it first"
        )
    if key is None:
        return optax.identity()
    try:
        made = optimizer(key)
    except TypeError as error:
        raise TypeError(f"{wanted}, but of a key it says: {error}") from error
    if not is_optimizer(made):
        raise TypeError(f"{wanted}, got {brief(made)} of a key")
    return made


def _takes_key(function: Callable[..., Any]) -> bool:
    """Whether a function may take a key.

    Functions of optax and of this package take numbers first, such as a learning rate, unless the
    name of their first argument is `key`.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # Functions written in C may have no signature.
        return True
    first = next((p for p in parameters if p.kind is not p.KEYWORD_ONLY), None)
    while isinstance(function, functools.partial):
        function = function.func
    home = getattr(function, "__module__", None) or ""
    of_numbers = home.startswith(("optax.", "jaxopt_course.transforms"))
    return first is not None and (first.name == "key" or not of_numbers)


def eval_params(state: optax.OptState, params: optax.Params) -> optax.Params:
    """The point at which a run is to be judged, which need not be where its gradient is taken.

    - `optax.contrib.schedule_free`: the average x, by `schedule_free_eval_params`;
    - `nesterov`: the iterate x, by `nesterov_eval_params`; with `learning_rate_in_velocity=False`
      the state does not tell the rate, and the parameters stand for it;
    - `optax.contrib.sam`: the parameters before the ascent;
    - `adapt(optax.lookahead(...))`: the slow parameters;
    - every other rule: `params` themselves, also for `optax.sgd(nesterov=True)`, whose state does
      not tell the iterate.

    Args:
        state: State of any optimizer, made from parameters like `params`.
        params: The parameters that it belongs to. Leaves that a mask keeps from the rule stay.

    Returns:
        A pytree like `params`.

    Raises:
        ValueError: if the state holds several such rules.

    Example:
        >>> rule = optax.contrib.schedule_free_sgd(0.1)
        >>> eval_params(rule.init(jnp.ones(2)), jnp.ones(2)).tolist()
        [1.0, 1.0]
    """
    found = judged_elsewhere(state)
    if not found:
        return params
    if len(found) > 1:
        names = ", ".join(type(node).__name__ for node in found)
        raise ValueError(
            f"state must hold one rule with an evaluation point of its own, got {names}: "
            "pass eval_params=, a function of state and params"
        )
    (node,) = found
    if isinstance(node, NesterovState):
        return nesterov_eval_params(node, params)
    if isinstance(node, LookaheadRunState):
        return fill(node.slow, params)
    if isinstance(node, optax.contrib.SAMState):
        if node.cache is None:  # The opaque mode ascends and comes back in one update.
            return params
        # Between two of its own steps SAM is at the ascent, and the cache holds where it came from.
        at_outer = node.steps_since_sync == 0

        def outer(kept, leaf):
            return leaf if _is_masked(kept) else jnp.where(at_outer, leaf, kept)

        return jax.tree.map(outer, node.cache, params, is_leaf=_is_masked)
    # Schedule-free: what a mask keeps from the rule is masked in its state, and here likewise.
    free = jax.tree.map(
        lambda z, leaf: z if _is_masked(z) else leaf, node.z, params, is_leaf=_is_masked
    )
    average = optax.contrib.schedule_free_eval_params(node, free)
    return fill(average, params)


def fill_masked(fun: Callable[..., Any], params: optax.Params) -> Callable[..., Any]:
    """The objective as a function of what a mask leaves of the parameters.

    `optax.masked`, `partition` and their kin give a rule the parameters with `optax.MaskedNode` in
    the places of the others, but `value_fn` as it is. Give them
    `value_fn=fill_masked(fun, params)`, and the others stand where they stood in `params`.

    Args:
        fun: The objective, `fun(params, ...)`.
        params: The whole parameters of this step.

    Returns:
        A function with the signature of `fun`. Parameters without a `MaskedNode` pass unchanged.

    Raises:
        TypeError: if `fun` is not a function.
        ValueError: when it is called, if the parameters are not a part of `params`.

    Example:
        >>> fun = fill_masked(lambda p: p["w"] * p["b"], {"w": 2.0, "b": 3.0})
        >>> fun({"w": 5.0, "b": optax.MaskedNode()})
        15.0
    """
    check_callable(fun=fun)
    return fun if isinstance(fun, Filling) else Filling(fun, params)


class Filling:
    """A function of parameters that puts its own where a mask has taken some out."""

    def __init__(self, fun: Callable[..., Any], params: optax.Params) -> None:
        """Take the function and the whole parameters."""
        functools.update_wrapper(self, fun, updated=())
        self._fun, self._params = fun, params

    def __call__(self, params: optax.Params, *args: Any, **kwargs: Any) -> Any:
        """The value of the function at the whole parameters."""
        if has_masked(params):
            params = fill(params, self._params)
        return self._fun(params, *args, **kwargs)


def fill(params: optax.Params, whole: optax.Params) -> optax.Params:
    """Put the leaves of `whole` where those of `params` are masked."""
    try:
        return jax.tree.map(
            lambda part, full: full if _is_masked(part) else part, params, whole, is_leaf=_is_masked
        )
    except ValueError as error:
        raise ValueError(
            f"value_fn was made for the parameters {brief(whole)} and got a part of others, "
            f"{brief(params)}: {error}"
        ) from error


def has_masked(tree: Any) -> bool:
    """Whether a mask has taken leaves out of the tree."""
    return any(map(_is_masked, jax.tree.leaves(tree, is_leaf=_is_masked)))


def masked_like(tree: Any, other: Any) -> Any:
    """Take out of `tree` what is taken out of `other`: extra arguments reach a rule unmasked."""
    if not has_masked(other):
        return tree
    return jax.tree.map(
        lambda part, full: part if _is_masked(part) else full, other, tree, is_leaf=_is_masked
    )


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _is_from(factory: Callable[..., Any], optimizer: Any) -> bool:
    """Whether this function of optax made the optimizer: `update` is then defined inside it."""
    update = optimizer.update
    return getattr(update, "__module__", "") == factory.__module__ and getattr(
        update, "__qualname__", ""
    ).startswith(f"{factory.__name__}.")


def _holds(kind: type, state: Any) -> bool:
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kind))
    return any(isinstance(node, kind) for node in nodes)


def _extra_arguments(optimizer: Any) -> frozenset[str] | None:
    """The names of the extra arguments that `update` takes; None where it takes any."""
    plain = isinstance(optimizer, optax.GradientTransformation) and not isinstance(
        optimizer, optax.GradientTransformationExtraArgs
    )
    parameters = inspect.signature(optimizer.update).parameters.values()
    if not plain and any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)


def _check_lookahead(state: Any) -> None:
    """Raise ValueError for the state of an `optax.lookahead` that nobody has adapted."""
    kinds = (LookaheadRunState, optax.LookaheadState)
    for node in jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds)):
        if isinstance(node, optax.LookaheadState):
            raise ValueError(
                "optax.lookahead needs slow parameters of its own: write rule = "
                "transforms.adapt(optax.lookahead(...)), with the whole optimizer inside, and "
                "state = rule.init(params)"
            )


def _with_slow_params(lookahead: Any) -> optax.GradientTransformationExtraArgs:
    """`optax.lookahead` with the slow parameters in its state; the parameters are the fast ones."""

    def init(params):
        check_arrays("params", params)
        return LookaheadRunState(params, lookahead.init(optax.LookaheadParams.init_synced(params)))

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if not isinstance(state, LookaheadRunState):
            _check_lookahead(state)
            raise ValueError(f"state must be a LookaheadRunState, got {type(state).__name__}")
        if params is None:
            raise ValueError("params must be given to the update of optax.lookahead, got None")
        pair = optax.LookaheadParams(fast=params, slow=state.slow)
        steps, inner = lookahead.update(updates, state.inner, pair)
        return steps.fast, LookaheadRunState(optax.apply_updates(state.slow, steps.slow), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def judged_elsewhere(state: Any) -> list[Any]:
    """The states, among those in `state`, of rules to be evaluated elsewhere than at `params`."""
    own = (LookaheadRunState, optax.contrib.SAMState, optax.contrib.ScheduleFreeState)
    kinds = (*own, NesterovState, StepVelocityState)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds))
    # A velocity that sums up gradients does not tell the rate, and so not where the iterate is.
    in_steps = any(isinstance(node, StepVelocityState) for node in nodes)
    return [
        node
        for node in nodes
        if isinstance(node, own) or (in_steps and isinstance(node, NesterovState))
    ]
