"""Stochastic gradients: at every step a run's gradient is that of examples drawn for it.

    x[t+1] = x[t] + update(gradient of the mean loss over the examples B[t] at x[t], state)

B[t] has `size` examples of the n. With replacement they are drawn independently of each other.
Without, every pass over the data has a new order, cut into batches; the n modulo `size` examples
that are left over wait for the next pass. A run's examples depend on its key alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_at_most, check_count, check_flag
from jaxopt_course._streams import stream
from jaxopt_course.saddle._objectives import MeanOverBatches, num_examples
from jaxopt_course.transforms._protocol import adapt, check_rule


class MinibatchState(NamedTuple):
    """What a run with stochastic gradients remembers between steps.

    Attributes:
        key: The key of the examples.
        count: Batches drawn so far, int32.
        rule: The optimizer's state.
    """

    key: jax.Array
    count: Any
    rule: optax.OptState


def with_minibatches(
    fun: Any, optimizer: Any, size: int, replacement: bool
) -> Callable[[jax.Array], optax.GradientTransformationExtraArgs]:
    """The optimizer on stochastic gradients, a function of a run's key.

    Args:
        fun: The objective, a `MeanOverBatches`.
        optimizer: An optimizer, or a function from a key to one.
        size: How many examples a step's gradient is of.
        replacement: Whether they are drawn independently.

    Returns:
        A function from a key to the rule, which computes its own gradients: of what is passed to
        its `update` only the parameters count.

    Raises:
        TypeError: for another objective, or a size that is not an integer.
        ValueError: for a size below 1 or above the number of examples.
    """
    if not isinstance(fun, MeanOverBatches):
        raise TypeError(
            "fun must be made by saddle.mean_over_batches where minibatch is given, whose loss and "
            f"data it takes, got {brief(fun)}"
        )
    check_flag(replacement=replacement)
    check_count(minibatch=size)
    count = num_examples(fun.data)
    check_at_most(count, "the number of examples", minibatch=size)

    def make(key: jax.Array) -> optax.GradientTransformationExtraArgs:
        rule = adapt(check_rule(optimizer, key))

        def init(params):
            return MinibatchState(
                stream(key, "examples"), jnp.zeros((), jnp.int32), rule.init(params)
            )

        def update(updates, state, params=None, **extra_args):
            del updates  # They come from the gradient of the whole objective.
            numbers = draw_examples(state.key, state.count, count, size, replacement)
            batch = jax.tree.map(lambda leaf: leaf[numbers], fun.data)

            def loss(params):
                return fun.loss(params, batch)

            value, grads = jax.value_and_grad(loss)(params)
            extra_args |= {"value": value, "grad": grads, "value_fn": loss}
            moved, after = rule.update(grads, state.rule, params, **extra_args)
            return moved, MinibatchState(state.key, optax.safe_increment(state.count), after)

        return optax.GradientTransformationExtraArgs(init, update)

    return make


def draw_examples(
    key: jax.Array, number: jax.Array, count: int, size: int, replacement: bool
) -> jax.Array:
    """The numbers of the examples in a batch, shape (size,), each in [0, count).

    Args:
        key: The key of all batches.
        number: The number of the batch.
        count: Number of all examples.
        size: Number of those in a batch.
        replacement: Whether they are drawn independently.
    """
    if replacement:
        return jax.random.randint(jax.random.fold_in(key, number), (size,), 0, count)
    # A pass's order is computed anew at each of its steps: that costs a sort, and no memory.
    a_pass = count // size
    order = jax.random.permutation(jax.random.fold_in(key, number // a_pass), count)
    return jax.lax.dynamic_slice(order, (number % a_pass * size,), (size,))
