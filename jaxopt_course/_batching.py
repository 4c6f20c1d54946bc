"""Work for a few members of a batch, where `vmap` would do it for all.

Under `vmap` a `lax.cond` becomes a `select`: both branches run for every member. That is ruinous
where one branch is expensive and rarely taken, as drawing noise or decomposing a Hessian is in a
batch of optimization runs. `update_where` keeps the meaning of the condition and does the expensive
work for the members that ask for it, gathered into blocks. On an accelerator, where to gather costs
more than to compute, it does the work at once, for all of them (see `_platforms`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.layout import Layout, with_layout_constraint

from jaxopt_course import _loops
from jaxopt_course._checks import is_key
from jaxopt_course._equations import largest_array
from jaxopt_course._platforms import is_emulated, is_for_cpu, target

_FEW_IN = 16
"""If at most one member in so many asks, an accelerator gathers them; a CPU has blocks of these."""
_LEAST_BLOCK = 16
"""Members that a CPU computes at once, though fewer may ask: those of a vector register."""
_BYTES_AT_ONCE = 2**30
"""Bytes of the largest array that may be computed for all members at once on an accelerator."""


def update_where(
    fun: Callable[..., Any], *, block: int = 64, cheap: bool = False
) -> Callable[..., Any]:
    """Turn `fun(old, *operands) -> new` into `guarded(condition, old, *operands)`.

    The result is `new` where the condition holds and `old` elsewhere. Unbatched it is a `lax.cond`.
    Under `vmap` on a CPU the members whose condition holds are gathered into blocks of `block` and
    `fun` is mapped over one block after another; with nobody asking, nothing is computed. On an
    accelerator `fun` is mapped over all members, in one call, or over those that ask where they are
    few; what is `cheap` is computed for all in any case, without a look at the condition. The
    result for a member depends on its own operands alone, never on who else is in the batch.

    Args:
        fun: A function of pytrees of arrays whose result has the structure, shapes and dtypes of
            its first argument. What it closes over may be batched too.
        block: How many members to compute at once on a CPU, at most: of a small batch it is a
            sixteenth, but not less than 16. On an accelerator more.
        cheap: Whether an accelerator computes it for all members in the time that it takes to look
            at the condition.

    Returns:
        The guarded function; its first argument is a boolean scalar.

    Example:
        >>> guarded = update_where(lambda old, x: old + jnp.sqrt(x))
        >>> asking, old, x = jnp.array([True, False]), jnp.ones(2), jnp.array([4.0, 9.0])
        >>> jax.vmap(guarded)(asking, old, x).tolist()
        [3.0, 1.0]
    """

    def guarded(condition, old, *operands):
        closed, constants = _closed(fun, old, *operands)
        guard = _guard(closed, block, cheap)
        return _loops.computed(guard, condition, old, constants, *operands)

    return guarded


def _closed(fun: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], list[Any]]:
    """A function whose second argument is what `fun` closes over, and those arrays.

    `custom_vmap` takes no function that closes over tracers, and an objective may hold data that a
    surrounding `vmap` has batched.
    """
    jaxpr, shape = jax.make_jaxpr(fun, return_shape=True)(*arguments)
    # Without the arrays, or equations with other ones would not be equal.
    equations, out_tree = jaxpr.jaxpr, jax.tree.structure(shape)

    def closed(old, constants, *operands):
        leaves = jax.tree.leaves((old, *operands))
        outputs = jax.core.eval_jaxpr(equations, constants, *leaves)
        return jax.tree.unflatten(out_tree, outputs)

    return closed, jaxpr.consts


def _guard(fun: Callable[..., Any], block: int, cheap: bool) -> Callable[..., Any]:
    """What `update_where` returns, for a function that closes over no tracer."""

    @custom_vmap
    def guarded(condition, old, *operands):
        return jax.lax.cond(condition, fun, lambda old, *_: old, old, *operands)

    @guarded.def_vmap
    def rule(axis_size, in_batched, condition, old, *operands):
        condition_batched, old_batched, *operands_batched = in_batched
        if not condition_batched:
            condition = jnp.broadcast_to(condition, (axis_size,))

        def all_members(leaf, batched):
            return leaf if batched else jnp.broadcast_to(leaf, (axis_size, *leaf.shape))

        old = jax.tree.map(all_members, old, old_batched)
        if is_for_cpu():
            few = max(_LEAST_BLOCK, axis_size // _FEW_IN)
            mapped = partial(_map_blocks, block=min(block, few, axis_size))
        else:
            mapped = partial(_map_at_once, block=block, cheap=cheap)
        new = mapped(fun, condition, old, operands, operands_batched)
        return new, jax.tree.map(lambda _: True, new)

    return guarded


def lane_axis(tree: Any, *, batched: bool = True) -> int:
    """Return where the batch axis of arrays is best kept for arithmetic.

    Over scalars and short vectors, arithmetic is fast only if it is vectorised over the members of
    the batch, which must then be the last axis; matrices are better left whole.

    Args:
        tree: Arrays, or what has their shapes.
        batched: Whether they have the batch axis, in front, or are those of one member.
    """
    most = 2 if batched else 1
    return -1 if all(np.ndim(leaf) <= most for leaf in jax.tree.leaves(tree)) else 0


def side_by_side(leaf: jax.Array, axis: int) -> jax.Array:
    """Ask that numbers along an axis, the first or last, lie side by side in memory.

    Else XLA keeps the layout that an array came with through all that is computed of it. What is
    emulated takes no such wish; nor do keys.
    """
    if is_key(leaf) or is_emulated(leaf.dtype):
        return leaf
    order = list(range(leaf.ndim))
    order.append(order.pop(axis))
    return with_layout_constraint(leaf, Layout(tuple(order)))


def _side_by_side_on_tpu(leaf: jax.Array, axis: int) -> jax.Array:
    """`side_by_side` on a TPU, which copies what does not go with the layout of a gather."""
    return side_by_side(leaf, axis) if target() == "tpu" else leaf


def _map_blocks(
    fun: Callable[..., Any],
    condition: jax.Array,
    old: Any,
    operands: tuple[Any, ...],
    batched: list[Any],
    *,
    block: int,
    once: bool = False,
) -> Any:
    """Apply `fun` to the members where `condition` holds, `block` of them at a time.

    With `once` at most `block` members ask.
    """
    number, members_from = _members(condition, block)

    # `custom_vmap` puts the batch axis in front. Where the caller had it last, moving it back
    # cancels that, and no data moves; computing in front would make the caller's layout follow.
    axis = lane_axis(old)
    out = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, axis), old)
    operand_axes = [lane_axis(operand) for operand in operands]
    operands = tuple(
        jax.tree.map(lambda leaf, b, a=a: jnp.moveaxis(leaf, 0, a) if b else leaf, operand, bs)
        for operand, bs, a in zip(operands, batched, operand_axes, strict=True)
    )
    in_axes = tuple(
        jax.tree.map(lambda b, a=a: a if b else None, bs)
        for bs, a in zip(batched, operand_axes, strict=True)
    )
    mapped = jax.vmap(fun, in_axes=(axis, *in_axes), out_axes=axis)

    def take(tree, axes, members):
        def rows(axis, leaf):
            if axis is None:
                return leaf
            taken = jnp.take(leaf, members, axis, mode="clip")
            return _side_by_side_on_tpu(taken, axis) if axis == -1 else taken

        return jax.tree.map(rows, axes, tree, is_leaf=lambda axis: axis is None)

    # A block of members is gathered, mapped and put back. Places of the last block beyond the last
    # member that asks are read from anywhere, and their results dropped.
    def fill(carry):
        done, out = carry
        members = members_from(done)
        axes = jax.tree.map(lambda _: axis, out)
        new = mapped(take(out, axes, members), *take(operands, in_axes, members))
        where = (..., members) if axis == -1 else members
        return done + block, jax.tree.map(
            lambda old, new: old.at[where].set(new, mode="drop"), out, new
        )

    begin = (jnp.zeros((), jnp.int32), out)
    if once:
        _, out = fill(begin)
    else:
        _, out = jax.lax.while_loop(lambda carry: carry[0] < number, fill, begin)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, axis, 0), out)


def _map_at_once(
    fun: Callable[..., Any],
    condition: jax.Array,
    old: Any,
    operands: tuple[Any, ...],
    batched: list[Any],
    *,
    block: int,
    cheap: bool,
) -> Any:
    """Apply `fun` to all members in one call, and keep what it gives where `condition` holds."""
    (size,) = condition.shape
    in_axes = tuple(jax.tree.map(lambda b: 0 if b else None, bs) for bs in batched)

    def everywhere() -> Any:
        def choose(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(condition.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        def placed(leaf: jax.Array, is_batched: bool) -> jax.Array:
            dear = is_batched and leaf.ndim == 2 and not cheap
            return _side_by_side_on_tpu(leaf, 0) if dear else leaf

        before = jax.tree.map(lambda leaf: placed(leaf, True), old)
        given = [jax.tree.map(placed, one, bs) for one, bs in zip(operands, batched, strict=True)]
        return jax.tree.map(choose, jax.vmap(fun, in_axes=(0, *in_axes))(before, *given), old)

    def gathered(block: int, *, once: bool) -> Any:
        return _map_blocks(fun, condition, old, operands, batched, block=block, once=once)

    if cheap:
        return everywhere()
    # Memory bounds how many are computed at once, and then one block follows another after all.
    one = [jax.tree.map(lambda leaf: leaf[0], old)]
    one += [
        jax.tree.map(lambda leaf, b: leaf[0] if b else leaf, operand, bs)
        for operand, bs in zip(operands, batched, strict=True)
    ]
    bytes_each = largest_array(jax.make_jaxpr(fun)(*one).jaxpr)
    at_once = max(block, _BYTES_AT_ONCE // max(bytes_each, 1))
    if at_once < size:
        return gathered(at_once, once=False)
    number, few = jnp.sum(condition, dtype=jnp.int32), size // _FEW_IN
    if few < block:
        return jax.lax.cond(number > 0, everywhere, lambda: old)
    return jax.lax.switch(
        (number > 0).astype(jnp.int32) + (number > few),
        (lambda: old, partial(gathered, few, once=True), everywhere),
    )


def _members(
    condition: jax.Array, block: int
) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """Number the members for which the condition holds, in order.

    Args:
        condition: Booleans, shape `(size,)`.
        block: How many members are asked for at once.

    Returns:
        How many there are, and a function that returns those from the n-th on, shape `(block,)`,
        and `size`, which no member has, behind the last; all int32.
    """
    (size,) = condition.shape
    if is_for_cpu():
        number, find = _search_tree(condition)

        def members_from(first: jax.Array) -> jax.Array:
            wanted = first + jnp.arange(block, dtype=jnp.int32)
            return jnp.where(wanted < number, find(wanted), size)

        return number, members_from

    # On a GPU a cumulative sum is one kernel.
    number = jnp.cumsum(condition, dtype=jnp.int32)
    members = jnp.full((size + block,), size, jnp.int32)
    members = members.at[jnp.where(condition, number - 1, size + block)].set(
        jnp.arange(size, dtype=jnp.int32), mode="drop"
    )
    return number[-1], lambda first: jax.lax.dynamic_slice(members, (first,), (block,))


_BITS = 32
"""Members of a word, and words or nodes below a node of the tree."""


def _search_tree(condition: jax.Array) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """Return how many members are true, and what finds them by their number among these.

    The flags are packed into words. A node of the tree above them knows how many members below its
    first child are true, below its first two, and so on. A search compares on its way down, and
    finds the bit by halves. All of it is arithmetic over short vectors, without the scatter that a
    cumulative sum asks for, and takes a tenth of the time for 512 members on a CPU.
    """

    def in_rows(entries: jax.Array) -> jax.Array:
        return jnp.pad(entries, (0, -len(entries) % _BITS)).reshape(-1, _BITS)

    place = jnp.arange(_BITS, dtype=jnp.uint32)
    words = jnp.sum(in_rows(condition).astype(jnp.uint32) << place[None], axis=1, dtype=jnp.uint32)
    counts, levels = _ones(words), []
    while len(counts) > 1:
        rows = in_rows(counts)
        until = jnp.where((place[:, None] <= place[None])[None], rows[:, :, None], 0)
        levels.append(jnp.sum(until, axis=1, dtype=jnp.int32))
        counts = levels[-1][:, -1]

    def find(wanted: jax.Array) -> jax.Array:
        node = jnp.zeros_like(wanted)
        for until in reversed(levels):
            until = jnp.take(until, node, axis=0, mode="clip")
            passed = until <= wanted[:, None]
            node = node * _BITS + jnp.sum(passed, axis=1, dtype=jnp.int32)
            wanted = wanted - jnp.max(jnp.where(passed, until, 0), axis=1)
        word, member = jnp.take(words, node, mode="clip"), node * _BITS
        for half in (16, 8, 4, 2, 1):
            below = _ones(word & np.uint32(2**half - 1))
            is_above = wanted >= below
            wanted = wanted - jnp.where(is_above, below, 0)
            word = jnp.where(is_above, word >> np.uint32(half), word)
            member = member + jnp.where(is_above, half, 0)
        return member

    return counts[0], find


def _ones(words: jax.Array) -> jax.Array:
    return jax.lax.population_count(words).astype(jnp.int32)
