"""One training step, compiled: value, gradient, update and new parameters in the same buffers.

XLA can write a result into the memory of an argument that the caller gives up (donates). Arguments
are matched with results by shape, in their order: parameters and state that come out as they went
in are updated in place; in another order every buffer is copied, at some five times the cost.

A rule that treats every entry alike also runs faster on one long vector than on hundreds of small
leaves. `flatten_by_dtype` gives such vectors, one a dtype, and the way back:

    flat, unflatten = flatten_by_dtype(params)
    step = make_step(lambda flat, batch: loss(unflatten(flat), batch), optimizer)
    state = optimizer.init(flat)
    flat, state, value = step(flat, state, batch)
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_flag
from jaxopt_course.transforms._protocol import adapt


def make_step(
    fun: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    *,
    has_aux: bool = False,
    donate: bool = True,
) -> Callable[..., tuple[Any, ...]]:
    """One compiled step of `optimizer` on `fun`, for a loop of one's own.

    The optimizer is given what any optimizer may ask for, as `optax.lbfgs` is:
    `update(grads, state, params, value=value, grad=grads, value_fn=value_fn)`.

    Args:
        fun: The objective, `fun(params, *args) -> scalar`, or `-> (scalar, aux)` with `has_aux`.
        optimizer: Any optax transformation; what some of optax's need is in `adapt`.
        has_aux: Whether `fun` returns something besides its value.
        donate: Whether the step may overwrite the parameters and the state that it is given.
            They must not be used again then, as in `params, state, value = step(params, state)`.

    Returns:
        `step(params, state, *args) -> (params, state, value)`, or `(params, state, value, aux)`
        with `has_aux`; `value` is that before the step, `*args` go to `fun` (data goes here: what
        `fun` closes over is compiled in as a constant).

    Raises:
        TypeError: if `fun` is not a function or `optimizer` not a transformation.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> step = make_step(lambda x: jnp.sum(x**2), optax.sgd(0.25))
        >>> x = jnp.array([2.0])
        >>> step(x, optax.sgd(0.25).init(x))[0]
        Array([1.], dtype=float32)
    """
    if not callable(fun):
        raise TypeError(f"fun must be a function of the parameters, got {brief(fun)}")
    check_flag(has_aux=has_aux, donate=donate)
    update = adapt(optimizer).update

    def step(params, state, *args):
        def value_fn(params):
            result = fun(params, *args)
            return result[0] if has_aux else result

        result, grads = jax.value_and_grad(fun, has_aux=has_aux)(params, *args)
        value, *aux = result if has_aux else (result,)
        updates, state = update(grads, state, params, value=value, grad=grads, value_fn=value_fn)
        return optax.apply_updates(params, updates), state, value, *aux

    if not donate:
        return jax.jit(step)
    compiled = jax.jit(step, donate_argnums=(0, 1))

    @functools.wraps(step)
    def donating_step(params, state, *args):
        return compiled(*_unshare((params, state)), *args)

    return donating_step


def _unshare(trees: Any) -> Any:
    """Copy arrays that occur more than once, as in the first state of `optax.lbfgs`.

    A buffer can be given up only once.
    """
    leaves, structure = jax.tree.flatten(trees)
    if len(set(map(id, leaves))) == len(leaves):
        return trees
    seen: set[int] = set()
    for index, leaf in enumerate(leaves):
        if id(leaf) in seen and isinstance(leaf, jax.Array):
            leaves[index] = jnp.copy(leaf)
        seen.add(id(leaf))
    return structure.unflatten(leaves)


def flatten_by_dtype(params: Any) -> tuple[dict[str, jax.Array], Callable[[Any], Any]]:
    """The leaves of `params`, joined to one vector a dtype.

    For rules that treat every entry alike, as all of the first-order rules here do and
    `clip_by_global_norm`; not for `clip_by_leaf_norm`, masks and groups, which then see other
    leaves.

    Args:
        params: A pytree of arrays.

    Returns:
        A dictionary from the name of each dtype to the vector of all its entries, and a function
        from such a dictionary back to a pytree like `params`. Gradients through the function come
        out flat at the cost of one concatenation.

    Raises:
        TypeError: if a leaf is not an array of numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> flat, unflatten = flatten_by_dtype({"w": jnp.ones((2, 2)), "b": jnp.zeros(2)})
        >>> flat
        {'float32': Array([0., 0., 1., 1., 1., 1.], dtype=float32)}
        >>> unflatten(flat)["b"]
        Array([0., 0.], dtype=float32)
    """
    leaves, structure = jax.tree.flatten(params)
    for leaf in leaves:
        if not isinstance(leaf, int | float | complex | np.ndarray | np.generic | jax.Array):
            raise TypeError(f"params must hold arrays, got {brief(leaf)}")
        if getattr(leaf, "dtype", None) is not None and leaf.dtype.kind in "OUSMm":
            raise TypeError(f"params must hold arrays of numbers, got {brief(leaf)}")
    leaves = [jnp.asarray(leaf) for leaf in leaves]
    shapes = [leaf.shape for leaf in leaves]
    groups: dict[str, list[int]] = {}
    for index, leaf in enumerate(leaves):
        groups.setdefault(leaf.dtype.name, []).append(index)

    def unflatten(flat):
        parts: dict[int, jax.Array] = {}
        for name, indices in groups.items():
            sizes = [int(np.prod(shapes[index])) for index in indices]
            # One split, whose derivative is one concatenation; slices would add up padded vectors.
            for index, part in zip(indices, jax.lax.split(flat[name], sizes), strict=True):
                parts[index] = part.reshape(shapes[index])
        return structure.unflatten([parts[index] for index in range(len(shapes))])

    flat = {
        name: jnp.concatenate([leaves[index].ravel() for index in indices])
        for name, indices in groups.items()
    }
    return flat, unflatten
