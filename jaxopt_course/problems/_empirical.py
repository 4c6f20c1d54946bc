"""The loss of a network on data, as an objective of its parameters.

    f(params) = 1/n sum_k loss(model(params, x_k), y_k)

`fun` is a `jax.tree_util.Partial`: a pytree that holds the examples. Where data is large this
matters. A function that closes over its data has them compiled in as constants, which XLA then
folds at length; a Partial can be an argument of the compiled function:

    @jax.jit
    def curvature(fun, params, direction):
        return jax.jvp(jax.grad(fun), (params,), (direction,))[1]

    curvature(problem.fun, params, direction)

The examples are `problem.fun.keywords["inputs"]` and `["labels"]`; the same loss on others is
`problem.fun.func(params, state=..., inputs=..., labels=...)`. Hence, to go through them in batches,

    loss, data = problem.fun.func, dict(problem.fun.keywords)
    batch_loss = jax.tree_util.Partial(
        lambda params, batch, state: loss(params, state=state, **batch), state=data.pop("state")
    )
    fun = saddle.mean_over_batches(batch_loss, data, batch_size=256)
"""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_flag, check_key
from jaxopt_course.nn._arguments import built_from
from jaxopt_course.nn._functional_view import Apply, FunctionalView, functional_view
from jaxopt_course.problems._problem import Problem

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


def empirical_loss(
    model: nnx.Module | Callable[[chex.PRNGKey], nnx.Module | FunctionalView],
    inputs: chex.Array,
    labels: chex.Array,
    *,
    loss: Callable[[Any, Any], jax.Array] = cross_entropy,
    train: bool = False,
) -> Problem:
    """The mean loss of a network over a data set.

    Dropout is off and batch normalization uses its running statistics, unless `train`. Then the
    examples depend on one another, and the loss is no mean over them: it cannot be summed over
    batches, and a warning says so.

    Args:
        model: A function from a typed key to a new module (or its `functional_view`), as
            `training.fit` takes it, or a module. A module does not know how its parameters were
            drawn: the problem's `init` then raises, and `functional_view(model).params` is the
            point to look at.
        inputs: Of shape (n, ...).
        labels: Of shape (n, ...).
        loss: Of outputs and labels; one number an example, or their mean.
        train: Use the statistics of the whole of `inputs` in batch normalization, and one fixed
            mask in dropout.

    Returns:
        The problem, on nested dictionaries of parameters, as `functional_view` makes them. Its
        `init(key)` draws the parameters of a new module; the state (running statistics) stays that
        of the first one. What `jax.jit` compiled for one problem serves others whose
        modules have the same structure.

    Raises:
        ValueError: inputs and labels of different lengths, or a network in which the answer to one
            example depends on the others although `train` is false.
        TypeError: `model` is neither a module nor makes one, or `loss` does not return numbers.

    Example:
        >>> build = lambda key: nnx.Linear(2, 3, rngs=nnx.Rngs(key))
        >>> problem = empirical_loss(build, jnp.ones((8, 2)), jnp.zeros(8, int))
        >>> params = problem.init(jax.random.key(0))
        >>> params["kernel"].shape, problem.fun(params).shape
        ((2, 3), ())
    """
    check_flag(train=train)
    x, y = _array("inputs", inputs), _array("labels", labels)
    if x.ndim == 0 or y.ndim == 0 or x.shape[0] != y.shape[0] or not x.shape[0]:
        raise ValueError(
            "inputs and labels must have as many examples, at least one; "
            f"got shapes {x.shape} and {y.shape}"
        )
    # A module brings its parameters; a function makes a module, whose structure is that of all.
    if isinstance(model, nnx.Module):
        view, kind = functional_view(model), type(model).__name__
    elif callable(model):
        built = built_from("model", model, jax.random.key(0))
        view, kind = _view(built), type(built).__name__
    else:
        raise TypeError(
            f"model must be a flax.nnx.Module, or a function from a key to one, got {brief(model)}"
        )
    # Tracing shows whether data, model and loss fit together; whether examples depend on one
    # another shows only by evaluating a few.
    mean_loss = MeanLoss(view.apply, loss, train)
    try:
        jax.eval_shape(mean_loss, view.params, state=view.state, inputs=x, labels=y)
    except (TypeError, ValueError) as error:
        raise TypeError(f"inputs and labels must fit the model and the loss: {error}") from error
    if x.shape[0] > 1 and _examples_depend_on_one_another(mean_loss, view, x[:8]):
        _complain(train)

    def init(key):
        check_key(key=key)
        if isinstance(model, nnx.Module):
            raise TypeError(
                "a module cannot draw its parameters anew: give empirical_loss a function from a "
                "key to a module, such as lambda key: MLP(features, rngs=nnx.Rngs(key))"
            )
        return _view(model(key)).params

    return Problem(
        name=f"empirical-loss-{kind}",
        fun=jax.tree_util.Partial(mean_loss, state=view.state, inputs=x, labels=y),
        init=init,
    )


def _array(name, values):
    try:
        return jnp.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be an array, got {brief(values)}") from error


@dataclasses.dataclass(frozen=True)
class MeanLoss:
    """The mean loss as a function of parameters, state and examples.

    Attributes:
        apply: The network's forward pass.
        loss: Of outputs and labels.
        train: Whether the network runs in training mode.
    """

    apply: Apply
    loss: Callable[[Any, Any], jax.Array]
    train: bool = False

    def __call__(
        self, params: chex.ArrayTree, *, state: chex.ArrayTree, inputs: jax.Array, labels: jax.Array
    ) -> jax.Array:
        """Return the mean over these examples."""
        outputs, _ = self.apply(params, state, inputs, train=self.train)
        losses = self.loss(outputs, labels)
        if not jnp.issubdtype(jnp.result_type(losses), jnp.floating):
            raise TypeError(f"loss must return floating numbers, got {jnp.result_type(losses)}")
        return jnp.mean(losses)


def _view(built: nnx.Module | FunctionalView) -> FunctionalView:
    return built if isinstance(built, FunctionalView) else functional_view(built)


def _examples_depend_on_one_another(
    mean_loss: MeanLoss, view: FunctionalView, inputs: jax.Array
) -> bool:
    """Whether the answers to some examples change with the others."""

    @jax.jit
    def answers(inputs):
        return mean_loss.apply(view.params, view.state, inputs, train=mean_loss.train)[0]

    half = inputs.shape[0] // 2
    # The first half in reverse order, again and again: other neighbours, other places.
    order = np.arange(inputs.shape[0])[half - 1 :: -1]
    order = np.resize(order, inputs.shape[0])
    before = jax.tree.map(lambda leaf: leaf[order[:half]], answers(inputs))
    after = jax.tree.map(lambda leaf: leaf[:half], answers(inputs[order]))
    # Far above rounding of a deep network in float32, far below what a batch's statistics do.
    return not all(
        jnp.allclose(a, b, rtol=1e-2, atol=1e-3 * float(jnp.max(jnp.abs(b))), equal_nan=True)
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    )


def _complain(train: bool) -> None:
    """Warn, or raise ValueError, of examples that depend on one another."""
    if train:
        warnings.warn(
            "the examples depend on one another (batch normalization or dropout in training mode): "
            "this loss is not a mean over examples, so sums over batches of the data give another",
            stacklevel=3,
        )
        return
    raise ValueError(
        "the model's answer to an example depends on the other examples although train is False: "
        "batch normalization in training mode? Let it follow use_running_average, or pass "
        "train=True to take the loss of the whole batch"
    )
