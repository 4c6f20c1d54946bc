"""A module as pure functions of its parameters, the form that optax and `saddle` take.

    apply, params, state = functional_view(model)
    outputs, state = apply(params, state, inputs, train=True)

`params` and `state` are nested dictionaries of arrays. `params` is what a gradient is taken of;
`state` is everything else that changes: running statistics of batch normalization, the random
streams of dropout. Hence a loss surface is

    fun = lambda params: loss(apply(params, state, inputs)[0], labels)

and `jax.grad(fun)`, `optax.adam(1e-3).init(params)`, `saddle.classify(fun, params)` need no more.
"""

import dataclasses
from typing import Any, NamedTuple

import chex
import jax
from flax import nnx


@dataclasses.dataclass(frozen=True)
class Apply:
    """A module's forward pass as a pure function.

    Two views of equal modules compare and hash equal, so that what `jax.jit` compiled for one
    serves the other.

    Attributes:
        train_graph: The module's structure in training mode.
        eval_graph: The same in evaluation mode.
    """

    train_graph: nnx.GraphDef
    eval_graph: nnx.GraphDef

    def __hash__(self) -> int:
        """Hash by the structures, or by identity where a module holds something unhashable."""
        try:
            return hash((self.train_graph, self.eval_graph))
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
        """
        graph = self.train_graph if train else self.eval_graph
        # A copy, because the module's variables are written to while it runs.
        module = nnx.merge(graph, *jax.tree.map(lambda leaf: leaf, (params, state)))
        outputs = module(*inputs)
        if not train:
            return outputs, state
        return outputs, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.Param)))


class FunctionalView(NamedTuple):
    """A module, taken apart.

    Attributes:
        apply: The forward pass, `apply(params, state, *inputs, train=False)`.
        params: Nested dictionary of the trainable arrays.
        state: Nested dictionary of running statistics and random streams.
    """

    apply: Apply
    params: dict[str, Any]
    state: dict[str, Any]


def functional_view(model: nnx.Module) -> FunctionalView:
    """Take a module apart into a pure function, its parameters and its state.

    The module itself is left as it is.

    Args:
        model: Any nnx module.

    Returns:
        The function, the parameters and the state.

    Raises:
        TypeError: If `model` is not an nnx module.

    Example:
        >>> apply, params, state = functional_view(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        >>> jax.tree.map(lambda leaf: leaf.shape, params)
        {'bias': (2,), 'kernel': (3, 2)}
        >>> apply(params, state, jax.numpy.ones((5, 3)))[0].shape
        (5, 2)
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {type(model).__name__}")
    training = nnx.view(
        model, raise_if_not_found=False, deterministic=False, use_running_average=False
    )
    evaluating = nnx.view(
        model, raise_if_not_found=False, deterministic=True, use_running_average=True
    )
    graph, params, state = nnx.split(training, nnx.Param, ...)
    return FunctionalView(
        Apply(graph, nnx.graphdef(evaluating)), nnx.to_pure_dict(params), nnx.to_pure_dict(state)
    )
