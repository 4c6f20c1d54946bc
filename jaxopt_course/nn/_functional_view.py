"""A module as pure functions of its parameters, the form that optax and `saddle` take.

    apply, params, state = functional_view(model)
    outputs, state = apply(params, state, inputs, train=True)

`params` and `state` are nested dictionaries of arrays. `params` is what a gradient is taken of;
`state` is everything else that changes: running statistics of batch normalization, the random
streams of dropout. Hence a loss surface is

    fun = lambda params: loss(apply(params, state, inputs)[0], labels)

and `jax.grad(fun)`, `optax.adam(1e-3).init(params)`, `saddle.classify(fun, params)` need no more.

A module may learn the mode in two ways. Its layers have `nnx.view`'s attributes `deterministic` and
`use_running_average`; and where its own `__call__` takes `train`, `training`, `deterministic` or
`use_running_average`, as ports of linen modules do, that argument is passed.
"""

import dataclasses
import inspect
import re
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_course._checks import check_flag
from jaxopt_course._reading import readable
from jaxopt_course.nn._arguments import check_module

# What a `__call__` may take, and its value in training.
_MODES = {"train": True, "training": True, "deterministic": False, "use_running_average": False}
# Other names that tell of a mode, in a sense that a caller would have to guess.
_MODE_LIKE = re.compile(r"(^|_)(train|infer|eval|test|mode(_|$)|determin|running|dropout)")


@dataclasses.dataclass(frozen=True)
class Apply:
    """A module's forward pass as a pure function.

    Two views of equal modules compare and hash equal, so that what `jax.jit` compiled for one
    serves the other.

    Attributes:
        train_graph: The module's structure in training mode.
        eval_graph: The same in evaluation mode.
        mode: Arguments of the module's call that tell the mode, with their values in training.
    """

    train_graph: nnx.GraphDef
    eval_graph: nnx.GraphDef
    mode: tuple[tuple[str, bool], ...] = ()

    def __hash__(self) -> int:
        """Hash by the structures, or by identity where a module holds something unhashable."""
        try:
            return hash((self.train_graph, self.eval_graph, self.mode))
        except TypeError:
            return id(self)

    def __call__(
        self, params: chex.ArrayTree, state: chex.ArrayTree, *inputs: Any, train: bool = False
    ) -> tuple[Any, chex.ArrayTree]:
        """Run the module.

        Args:
            params: Parameters.
            state: Running statistics and random streams.
            *inputs: What the module takes.
            train: Whether batch statistics are used (and running ones updated) and dropout drops.

        Returns:
            The outputs and the new state (which is `state` unless `train`).

        Raises:
            TypeError: If `train` is not True or False.
        """
        check_flag(train=train)
        graph = self.train_graph if train else self.eval_graph
        # A copy, because the module's variables are written to while it runs.
        module = nnx.merge(graph, *jax.tree.map(lambda leaf: leaf, (params, state)))
        told = {name: in_training == train for name, in_training in self.mode}
        outputs = module(*inputs, **told)
        if not train:
            return outputs, state
        return outputs, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param)))


@readable
class FunctionalView(NamedTuple):
    """A module taken apart: a pure function, its parameters and its state.

    Attributes:
        apply: The forward pass, `apply(params, state, *inputs, train=False)`.
        params: Nested dictionary of the trainable arrays.
        state: Nested dictionary of running statistics and random streams.
    """

    apply: Apply
    params: dict[str, Any]
    state: dict[str, Any]


def functional_view(model: nnx.Module) -> FunctionalView:
    """A module as a pure function, its parameters and its state.

    The module itself is left as it is.

    Args:
        model: Any nnx module.

    Returns:
        The function, the parameters and the state.

    Raises:
        TypeError: If `model` is not an nnx module, its `__call__` takes an argument that seems to
            tell the mode in a sense that is not known, or a parameter is not a floating number.

    Example:
        >>> apply, params, state = functional_view(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        >>> jax.tree.map(lambda leaf: leaf.shape, params)
        {'bias': (2,), 'kernel': (3, 2)}
        >>> apply(params, state, jax.numpy.ones((5, 3)))[0].shape
        (5, 2)
    """
    check_module(model)
    mode = _mode_arguments(model)
    training = nnx.view(
        model, raise_if_not_found=False, deterministic=False, use_running_average=False
    )
    evaluating = nnx.view(
        model, raise_if_not_found=False, deterministic=True, use_running_average=True
    )
    graph, params, state = nnx.split(training, nnx.Param, ...)
    params = nnx.to_pure_dict(params)
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"model must have parameters of floating dtype, but the nnx.Param "
                f"{jax.tree_util.keystr(path, simple=True, separator='.')} has "
                f"{jnp.result_type(leaf)}: make it an nnx.Variable, which is not trained"
            )
    apply = Apply(graph, nnx.graphdef(evaluating), mode)
    return FunctionalView(apply, params, nnx.to_pure_dict(state))


def _mode_arguments(model: nnx.Module) -> tuple[tuple[str, bool], ...]:
    """Return the arguments of the model's call that tell the mode, with their training values.

    Raises:
        TypeError: for one whose name tells of a mode but not which, and for one that is needed.
    """
    taken = inspect.signature(type(model).__call__).parameters.values()
    mode = tuple((p.name, _MODES[p.name]) for p in taken if p.name in _MODES)
    for p in taken:
        if p.name in _MODES or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        needed = p.kind is p.KEYWORD_ONLY and p.default is p.empty
        is_flag = isinstance(p.default, bool) or p.annotation in (bool, "bool")
        if needed or (is_flag and not mode and _MODE_LIKE.search(p.name)):
            raise TypeError(
                f"model must be told its mode by {', '.join(_MODES)} or not at all, but the call "
                f"of {type(model).__name__} takes {p.name}: wrap it in a module that does"
            )
    return mode
