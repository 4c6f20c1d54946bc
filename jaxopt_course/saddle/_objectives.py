r"""Objectives over a data set in batches, and the Gauss-Newton matrix as a curvature.

    f(x) = sum over batches of (n_b / n) loss(x, batch_b),    n_b examples of n in batch b,

for a loss that is a mean over the examples of its batch. The batches are gone through one after
another, and what one of them computes on the way is forgotten and computed again when a derivative
asks for it, so the memory of a value, a gradient or a Hessian-vector product is that of one batch.

An objective may say which curvature is meant by a method `curvature(x)` that returns a linear map
`v -> A v` on parameters; without it the Hessian is, in every function of `saddle.curvature`,
`saddle.stochastic` and `saddle.density`. `GaussNewton` is one that does:

    A = J^T H_loss J,    J the Jacobian of the model, H_loss the Hessian of the loss by its outputs,

which is positive semidefinite for a convex loss: Schraudolph (2002),
https://doi.org/10.1162/08997660260028683.

Both are pytrees: passed as an argument of a jitted function, their data is an argument too. Data
that a function closes over is a constant to the compiler, which then computes with it for minutes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxopt_course._brief import brief, shapes
from jaxopt_course._checks import check_count
from jaxopt_course._reading import readable


@readable
@flax.struct.dataclass
class MeanOverBatches:
    """An objective `params -> scalar` over a data set; made by `mean_over_batches`.

    Attributes:
        loss: `(params, batch) -> scalar`, a pytree.
        data: Pytree of arrays with the examples along the first axis.
        batch_size: Examples at a time.
    """

    loss: Callable[[Any, Any], jax.Array]
    data: chex.ArrayTree
    batch_size: int = flax.struct.field(pytree_node=False)

    def __call__(self, params: chex.ArrayTree) -> jax.Array:
        """Compute the mean loss."""
        return batch_mean(self.loss, self.data, self.batch_size, params, remember=False)


@readable
@flax.struct.dataclass
class GaussNewton:
    """The objective `loss(model(params))` with its Gauss-Newton matrix for curvature.

    Attributes:
        model: `params -> outputs`; with data, `(params, batch) -> outputs`.
        loss: `outputs -> scalar`; with data, `(outputs, batch) -> scalar`, a mean over examples.
        data: Pytree of arrays with the examples along the first axis; None for none.
        batch_size: Examples at a time; None for all.

    Example:
        >>> objective = GaussNewton(jnp.sin, lambda outputs: jnp.sum(outputs**2))
        >>> objective.curvature(jnp.zeros(2))(jnp.ones(2)).tolist()
        [2.0, 2.0]
    """

    model: Callable[..., Any]
    loss: Callable[..., jax.Array]
    data: chex.ArrayTree | None = None
    batch_size: int | None = flax.struct.field(pytree_node=False, default=None)

    def __post_init__(self) -> None:
        # `object.__setattr__` because the dataclass is frozen.
        object.__setattr__(self, "model", _as_pytree(self.model))
        object.__setattr__(self, "loss", _as_pytree(self.loss))

    def __call__(self, params: chex.ArrayTree) -> jax.Array:
        """Compute the loss of the model."""
        if self.data is None:
            return self.loss(self.model(params))

        def batch_loss(params: Any, batch: Any) -> jax.Array:
            return self.loss(self.model(params, batch), batch)

        return batch_mean(batch_loss, self.data, self._size(), params, remember=False)

    def curvature(self, params: chex.ArrayTree) -> Callable[[Any], Any]:
        """The Gauss-Newton matrix at `params` as a linear map."""
        if self.data is None:
            return gauss_newton_map(self.model, self.loss, params)

        def batch_product(operands: Any, batch: Any) -> Any:
            params, v = operands
            model = partial(_call_with, self.model, batch)
            return gauss_newton_map(model, partial(_call_with, self.loss, batch), params)(v)

        return lambda v: batch_mean(batch_product, self.data, self._size(), (params, v))

    def _size(self) -> int:
        return num_examples(self.data) if self.batch_size is None else self.batch_size


def mean_over_batches(
    loss: Callable[[Any, Any], jax.Array], data: chex.ArrayTree, batch_size: int
) -> MeanOverBatches:
    """An objective over a data set, from a loss on a batch, in the memory of one batch.

    Args:
        loss: `(params, batch) -> scalar`, a mean over the examples of the batch. A function with
            arrays of its own is best a `jax.tree_util.Partial`, whose arguments are data too.
        data: Pytree of arrays with the n examples along the first axis. It may be sharded along
            that axis if `batch_size` divides n and the devices divide `batch_size`: a batch then
            has examples from all devices, which compute it together.
        batch_size: Examples at a time. Batch i holds the examples i, i + b, i + 2 b, ..., where b
            is the number of whole batches; what is left over at the end is a smaller batch of its
            own, weighted by its size.

    Returns:
        The objective: a pytree, to be called with the parameters alone.

    Raises:
        TypeError: if `batch_size` is not an integer.
        ValueError: if it is not positive, or the arrays disagree about the number of examples.

    Example:
        >>> data = jnp.arange(5.0)
        >>> fun = mean_over_batches(lambda x, batch: jnp.mean((x - batch) ** 2), data, 2)
        >>> print(fun(0.0), jax.jit(lambda fun, x: jax.grad(fun)(x))(fun, 0.0))
        6.0 -4.0
    """
    if not callable(loss):
        raise TypeError(f"loss must be a function of parameters and a batch, got {brief(loss)}")
    check_count(batch_size=batch_size)
    num_examples(data)
    return MeanOverBatches(_as_pytree(loss), jax.tree.map(jnp.asarray, data), batch_size)


def gauss_newton_map(
    model: Callable[[Any], Any], loss: Callable[[Any], jax.Array], params: Any
) -> Callable[[Any], Any]:
    """Linearize `model` and the gradient of `loss` once, for many products with J^T H_loss J."""
    with jax.default_matmul_precision("highest"):
        outputs, jacobian = jax.linearize(model, params)
        _, loss_hessian = jax.linearize(jax.grad(loss), outputs)
        transposed = jax.linear_transpose(jacobian, params)
    return lambda v: transposed(loss_hessian(jacobian(v)))[0]


def _call_with(fun: Callable[..., Any], batch: Any, argument: Any) -> Any:
    return fun(argument, batch)


def _as_pytree(fun: Callable[..., Any]) -> Any:
    """Wrap a plain function into a pytree without leaves; leave a callable that is one as it is."""
    return Partial(fun) if callable(fun) and jax.tree_util.all_leaves([fun]) else fun


def num_examples(data: Any, name: str = "data") -> int:
    """The number of examples that all arrays have, checked."""
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        raise ValueError(
            f"{name} must hold arrays with the same positive number of examples along the first "
            f"axis, got shapes {shapes(data)}"
        )
    return sizes.pop()[0]


def batch_mean(
    fun: Callable[[Any, Any], Any],
    data: Any,
    batch_size: int,
    operands: Any,
    *,
    remember: bool = True,
) -> Any:
    """Average `fun(operands, batch)` over batches, weighted by their examples.

    Where `fun` is to be differentiated, `remember=False` keeps nothing of a batch but its number.
    """
    count = num_examples(data)
    num_batches = count // batch_size
    whole = num_batches * batch_size

    def take(leaf: jax.Array, i: jax.Array) -> jax.Array:
        if whole == count:
            # Costs no copy, and an axis of examples that is sharded stays so.
            return leaf.reshape(batch_size, num_batches, *leaf.shape[1:])[:, i]
        return leaf[i + num_batches * jnp.arange(batch_size)]

    def of_batch(operands: Any, i: jax.Array) -> Any:
        return fun(operands, jax.tree.map(lambda leaf: take(leaf, i), data))

    def of_rest(operands: Any) -> Any:
        return fun(operands, jax.tree.map(lambda leaf: leaf[whole:], data))

    if not remember:
        of_batch = jax.checkpoint(of_batch, prevent_cse=False)
        of_rest = jax.checkpoint(of_rest)

    def add(total: Any, value: Any, part: int) -> Any:
        weight = part / count
        return jax.tree.map(lambda t, v: t + weight * v.astype(t.dtype), total, value)

    first = of_rest if num_batches == 0 else partial(of_batch, i=jnp.zeros((), jnp.int32))
    # Half precision would lose small terms of a long sum.
    total = jax.tree.map(
        lambda out: jnp.zeros(out.shape, jnp.promote_types(out.dtype, jnp.float32)),
        jax.eval_shape(first, operands),
    )
    if num_batches:
        total, _ = jax.lax.scan(
            lambda total, i: (add(total, of_batch(operands, i), batch_size), None),
            total,
            jnp.arange(num_batches),
        )
    if whole < count:
        total = add(total, of_rest(operands), count - whole)
    return total
