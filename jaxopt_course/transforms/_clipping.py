r"""Clipping: a bound on the updates, by entry, by global norm or leaf by leaf.

By norm (Pascanu, Mikolov, Bengio 2013, https://arxiv.org/abs/1211.5063, algorithm 1) the direction
stays and only the length is bounded:

    u <- u * max_norm / ||u||    if ||u|| > max_norm

The state holds the norm before clipping and the number of clipped steps, ready to be logged.

Norms are finite wherever they are representable: the squares are summed in at least float32, and
where the sum still leaves the range of the dtype the entries are divided by the largest first.
`optax.clip_by_global_norm` returns zero there (float32 entries of 1e20, float16 ones above 256).
An infinite or NaN entry makes the result NaN; `optax.apply_if_finite` skips such a step.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course._checks import check_arrays, check_positive, check_real_floating
from jaxopt_course.transforms._leaves import abs_square, map_leaves, widen, widest_dtype


class ClipState(NamedTuple):
    """What clipping reports about the steps so far.

    Attributes:
        norm: Norm of the last updates before clipping: a scalar, the largest magnitude of an entry
            for `clip_by_value` and the Euclidean norm for `clip_by_global_norm`; a pytree of
            scalars, one a leaf, for `clip_by_leaf_norm`.
        clipped_count: Number of steps in which anything was clipped, a scalar int32.
    """

    norm: Any
    clipped_count: jax.typing.ArrayLike


def clip_by_value(max_delta: chex.Numeric) -> optax.GradientTransformation:
    """Clipping of every entry to `[-max_delta, max_delta]`.

    Args:
        max_delta: Largest magnitude of an entry, > 0.

    Returns:
        A transformation with a `ClipState`. Its update raises TypeError for leaves that are not
        real floating, since complex numbers have no order.

    Raises:
        ValueError: if `max_delta` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> clip = clip_by_value(1.0)
        >>> updates, state = clip.update(jnp.array([0.5, -3.0]), clip.init(jnp.zeros(2)))
        >>> updates, state.norm, state.clipped_count
        (Array([ 0.5, -1. ], ...), Array(3., dtype=float32), Array(1, dtype=int32))
    """
    check_positive(max_delta=max_delta)

    def update(updates, state, params=None):
        del params
        check_real_floating("updates", updates)
        largest = _largest(updates).astype(state.norm.dtype)

        def clip(update):
            clipped = jnp.clip(widen(update), jnp.negative(max_delta), max_delta)
            return (clipped.astype(update.dtype),)

        (clipped,) = map_leaves(clip, updates)
        return clipped, _report(state, largest, largest > max_delta)

    return optax.GradientTransformation(_init_scalar, update)


def clip_by_global_norm(max_norm: chex.Numeric) -> optax.GradientTransformation:
    """Clipping of the updates to Euclidean norm `max_norm`, taken over all leaves together.

    Args:
        max_norm: Largest norm, > 0.

    Returns:
        A transformation with a `ClipState`.

    Raises:
        ValueError: if `max_norm` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> clip = clip_by_global_norm(1.0)
        >>> updates, state = clip.update({"a": jnp.array([3e30, 4e30])}, clip.init(jnp.zeros(2)))
        >>> updates["a"].round(3), state.clipped_count
        (Array([0.6, 0.8], dtype=float32), Array(1, dtype=int32))
    """
    check_positive(max_norm=max_norm)

    def update(updates, state, params=None):
        del params
        check_arrays("updates", updates)
        norm = _euclidean_norm(updates).astype(state.norm.dtype)
        (clipped,) = map_leaves(lambda update: (_shorten(update, norm, max_norm),), updates)
        return clipped, _report(state, norm, _exceeds(norm, max_norm))

    return optax.GradientTransformation(_init_scalar, update)


def clip_by_leaf_norm(max_norm: chex.Numeric) -> optax.GradientTransformation:
    """Clipping of every leaf of the updates to Euclidean norm `max_norm`, each by itself.

    Args:
        max_norm: Largest norm of a leaf, > 0.

    Returns:
        A transformation with a `ClipState`.

    Raises:
        ValueError: if `max_norm` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> clip = clip_by_leaf_norm(1.0)
        >>> updates = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.5])}
        >>> updates, state = clip.update(updates, clip.init(updates))
        >>> updates["a"].round(3), updates["b"], state.norm["a"]
        (Array([0.6, 0.8], dtype=float32), Array([0.5], dtype=float32), Array(5., dtype=float32))
    """
    check_positive(max_norm=max_norm)

    def init(params):
        check_arrays("params", params)
        norm = jax.tree.map(lambda leaf: jnp.zeros([], widest_dtype(leaf)), params)
        return ClipState(norm=norm, clipped_count=jnp.zeros([], jnp.int32))

    def update(updates, state, params=None):
        del params

        def clip(update, last):
            norm = _euclidean_norm(update).astype(last.dtype)
            return _shorten(update, norm, max_norm), norm

        clipped, norms = map_leaves(clip, updates, state.norm, scalars=True)
        exceeding = [_exceeds(norm, max_norm) for norm in jax.tree.leaves(norms)]
        return clipped, _report(state, norms, jnp.any(jnp.array(exceeding, bool)))

    return optax.GradientTransformation(init, update)


def _init_scalar(params: Any) -> ClipState:
    check_arrays("params", params)
    return ClipState(
        norm=jnp.zeros([], widest_dtype(params)), clipped_count=jnp.zeros([], jnp.int32)
    )


def _report(state: ClipState, norm: Any, clipped: jax.Array) -> ClipState:
    incremented = optax.safe_increment(state.clipped_count)
    return ClipState(norm, jnp.where(clipped, incremented, state.clipped_count))


def _exceeds(norm: jax.Array, max_norm: chex.Numeric) -> jax.Array:
    """Whether to clip: also where the norm is NaN, so that one NaN leaf does not go unnoticed."""
    return ~(norm <= max_norm)


def _shorten(update: jax.Array, norm: jax.Array, max_norm: chex.Numeric) -> jax.Array:
    """Rescale `update`, part of something of length `norm`, where `norm` is too long."""
    exceeds = _exceeds(norm, max_norm)
    divisor = jnp.where(exceeds, norm, 1).astype(widest_dtype(update))
    return jnp.where(exceeds, widen(update) / divisor * max_norm, update).astype(update.dtype)


def _largest(tree: Any) -> jax.Array:
    """Return the largest magnitude of an entry, 0 for a tree without any."""
    largest = jnp.zeros([], widest_dtype(tree))
    for leaf in jax.tree.leaves(tree):
        largest = jnp.maximum(largest, jnp.max(jnp.abs(widen(leaf)), initial=0))
    return largest


def _euclidean_norm(tree: Any) -> jax.Array:
    """Return the Euclidean norm, without overflow or underflow of the squares on the way."""
    leaves = [widen(leaf) for leaf in jax.tree.leaves(tree)]
    dtype = widest_dtype(leaves)

    def sum_of_squares(scale):
        squares = [jnp.sum(abs_square(leaf / scale)) for leaf in leaves]
        return sum(squares, start=jnp.zeros([], dtype))

    def scaled_norm():
        largest = _largest(leaves)
        regular = (largest > 0) & jnp.isfinite(largest)
        scale = jnp.where(regular, largest, 1)
        # Neither root is ever taken of 0, where its slope is infinite.
        return jnp.where(
            regular, scale * jnp.sqrt(jnp.where(regular, sum_of_squares(scale), 1)), largest
        )

    direct = sum_of_squares(1)
    limits = jnp.finfo(dtype)
    # Below this the squares of the larger entries lose digits; zero itself takes the slow way too.
    in_range = (direct > limits.tiny / limits.eps) & (direct <= limits.max)
    return jax.lax.cond(in_range, lambda: jnp.sqrt(jnp.where(in_range, direct, 1)), scaled_norm)
