"""How every first-order rule is applied: leaf by leaf, in at least float32.

A rule is a function `(update, *states) -> (new_update, *new_states)` of single arrays. Visiting
each leaf once with all its states, rather than each state with all its leaves, keeps tracing short
and lets a rule read as its formula.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._checks import check_arrays, is_concrete_number

_FEW = 16
"""Entries that are summed in order."""


def at_least_float32(dtype: Any) -> jnp.dtype:
    """Return `dtype`, or float32 where `dtype` is a shorter float (bfloat16, float16, float8)."""
    return jnp.promote_types(dtype, jnp.float32)


def cast(x: Any, dtype: Any) -> jax.Array:
    """Cast `x`, or return it as it is: over hundreds of leaves idle casts make tracing slow."""
    return x if x.dtype == dtype else x.astype(dtype)


def widen(x: Any) -> jax.Array:
    """Cast `x` to at least float32: squares of float16 overflow at 256, its epsilons vanish."""
    x = x if isinstance(x, jax.Array) else jnp.asarray(x)
    return x if x.dtype.itemsize >= 4 else x.astype(jnp.float32)


def matching(scalar: Any, x: Any) -> Any:
    """Cast a scalar array to the real dtype of `x`, so that their product has the dtype of `x`.

    Python numbers adapt by themselves and are returned as they are. `x` is `widen`ed.
    """
    if not isinstance(scalar, jax.Array):
        return scalar
    return cast(scalar, jnp.finfo(x.dtype).dtype if x.dtype.kind == "c" else x.dtype)


def widest_dtype(tree: Any) -> jnp.dtype:
    """Return the real dtype, at least float32, in which a number about all of `tree` is kept."""
    leaves = jax.tree.leaves(tree)
    return jnp.finfo(jnp.result_type(jnp.float32, *map(jnp.result_type, leaves))).dtype


def zeros_like(params: Any, dtype: Any = None) -> Any:
    """Return zeros in the shapes of `params`, which may be `ShapeDtypeStruct`s, in their dtypes.

    Args:
        params: A pytree of arrays or shapes; None leaves stay None.
        dtype: One dtype for all leaves instead of their own.
    """
    check_arrays("params", params)
    return jax.tree.map(lambda p: jnp.zeros_like(p, dtype=dtype), params)


def full_like_squares(params: Any, value: Any, dtype: Any = None) -> Any:
    """Return `value` in the shapes of `params`, in the dtype that their squares are kept in.

    That is real and at least float32: in bfloat16 an average of squares with decay 0.999 stalls
    at half its value, since the increments round to nothing.

    Args:
        params: A pytree of arrays or `ShapeDtypeStruct`s.
        value: A number for all entries.
        dtype: One dtype for all leaves instead.
    """
    check_arrays("params", params)

    def full(p):
        real = jnp.finfo(jnp.result_type(p)).dtype
        return jnp.full_like(p, value, dtype=dtype or at_least_float32(real))

    return jax.tree.map(full, params)


def map_leaves(
    rule: Callable[..., tuple[Any, ...]], updates: Any, *states: Any, scalars: bool = False
) -> tuple[Any, ...]:
    """Apply `rule` to every leaf of `updates` with the same leaf of each of the `states`.

    Args:
        rule: A function from one update and its states to the new update and its new states.
        updates: A pytree of arrays. Where a leaf is None nothing happens: the update stays None,
            the states stay as they are.
        *states: Pytrees with the structure of `updates`, and but for `scalars` with its shapes.
        scalars: Whether the leaves of the states are scalars instead.

    Returns:
        The new updates, then the new states, each with the structure of `updates`.

    Raises:
        TypeError: if an update is no floating number.
        ValueError: if the updates are not like the parameters that the states were made for.
    """
    check_arrays("updates", updates)
    leaves, structure = jax.tree.flatten(updates, is_leaf=lambda leaf: leaf is None)
    try:
        columns = [structure.flatten_up_to(state) for state in states]
    except ValueError as error:
        raise ValueError(
            f"updates must have the structure of the params that init was given: {error}"
        ) from error
    rows = list(zip(leaves, *columns, strict=True))
    for row in rows:
        shapes = {getattr(entry, "shape", None) for entry in row}
        if row[0] is not None and (None in shapes or (not scalars and len(shapes) > 1)):
            raise ValueError(
                f"updates must have the structure and shapes of the params that init was given, "
                f"got an update of shape {row[0].shape} for {row[1:]}"
            )
    results = [row if row[0] is None else rule(*row) for row in rows]
    columns = zip(*results, strict=True) if results else [()] * (1 + len(states))
    return tuple(structure.unflatten(column) for column in columns)


def global_norm(tree: Any) -> jax.Array:
    """Return the Euclidean norm of all leaves together, in at least float32.

    In float16 the square of 300 is infinite, and that of 2e-4 is 0.
    """
    return jnp.sqrt(sum_of_squares(tree))


def sum_of_squares(tree: Any) -> jax.Array:
    """Return the sum of squares over all leaves, in at least float32.

    On a CPU few entries are added one after the other. XLA's reduction there takes five times as
    long for a batch of them, and leaves their order to the number of members.
    """
    leaves = [widen(leaf) for leaf in jax.tree.leaves(tree)]
    is_few = 1 < sum(leaf.size for leaf in leaves) <= _FEW
    return (_sum_of_few if is_few else _reduced)(leaves)


@jax.jit
def _sum_of_few(leaves: list[jax.Array]) -> jax.Array:
    # Cut outside: under `vmap`, a choice by platform has the members in front.
    entries = [leaf[index] for leaf in leaves for index in np.ndindex(leaf.shape)]
    return jax.lax.platform_dependent(leaves, entries, cpu=_in_order, default=_reduced)


def _in_order(_: list[jax.Array], entries: list[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, map(abs_square, entries))


def _reduced(leaves: list[jax.Array], _: list[jax.Array] | None = None) -> jax.Array:
    squares = (jnp.sum(abs_square(leaf)) for leaf in leaves)
    return sum(squares, start=jnp.zeros([], widest_dtype(leaves)))


def abs_square(x: Any) -> jax.Array:
    """Return `|x|^2`, real also for complex `x`."""
    return x.real**2 + x.imag**2 if x.dtype.kind == "c" else x**2


def inverse_root(squares: jax.Array, eps: Any, *, eps_in_sqrt: bool, exponent: Any) -> jax.Array:
    """Return what an adaptive rule multiplies the gradient by: `squares**exponent`, guarded.

    Args:
        squares: Sum or average of squared gradients, >= 0.
        eps: The guard, `(squares + eps)**exponent` or `1 / (squares**-exponent + eps)`.
        eps_in_sqrt: Which of the two: the first if true.
        exponent: A negative number, -0.5 but for the lecture's slide with -1, or a traced scalar.

    Returns:
        The factor, 0 where `squares` and `eps` are both 0: there the gradient was always 0.
    """
    is_root = is_concrete_number(exponent) and exponent == -0.5
    if eps_in_sqrt:
        base = positive = squares + eps
    else:
        base = positive = (jnp.sqrt(squares) if is_root else squares**-exponent) + eps
    is_guarded = is_concrete_number(eps) and eps > 0
    if not is_guarded:
        positive = jnp.where(base == 0, 1, base)
    if not eps_in_sqrt:
        factor = 1 / positive
    else:
        factor = jax.lax.rsqrt(positive) if is_root else positive**exponent
    return factor if is_guarded else jnp.where(base == 0, 0, factor)


def reciprocal_bias_correction(decay: Any, count: Any) -> jax.Array:
    """Return `1 / (1 - decay**count)`, a scalar: a product an entry is cheaper than a quotient.

    The weight `1 - decay**count` that an average started at zero has gathered is taken through
    `expm1`: in float32 the difference itself is off by 1e-5 for decay 0.999 and by 1e-2 for
    0.999999, this by 1e-7.

    Args:
        decay: A number in [0, 1), or a traced scalar.
        count: Number of steps taken, an integer scalar >= 1.
    """
    if is_concrete_number(decay):
        log_decay = math.log(decay) if decay > 0 else -math.inf
    else:
        log_decay = jnp.log1p(decay - 1)
    return -1 / jnp.expm1(count * log_decay)
