r"""Escapes from saddles along directions of negative curvature, behind any optimizer.

Where the gradient is small, a unit vector v with v^T H v < 0 is looked for, and the update is
replaced by a move along it:

    x[t+1] = x[t] + a v,     a = +-radius / 2^j

with the first j, and the better of the two signs, for which f falls by at least |v^T H v| a^2 / 4:
half of what the quadratic model promises, and granted once |a| <= 3 |v^T H v| / (2 rho), rho being
the Lipschitz constant of the Hessian. Everywhere else the updates pass unchanged.

`escape_negative_curvature` takes v from Lanczos's method on Hessian-vector products: the most
negative eigenvector. `neon2` finds one from gradients alone.

Carmon, Duchi, Hinder, Sidford (2018), https://doi.org/10.1137/17M1114296.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import _krylov
from jaxopt_course._batching import update_where
from jaxopt_course._checks import (
    check_arrays,
    check_integer,
    check_key,
    check_non_negative,
    check_positive,
)
from jaxopt_course._platforms import spacing
from jaxopt_course._streams import stream
from jaxopt_course.transforms._leaves import global_norm
from jaxopt_course.transforms._protocol import masked_like
from jaxopt_course.transforms._second_order import (
    check_subspace_size,
    is_empty,
    objective,
    scalar_dtype,
)

# A move is halved at most this often: to 1e-6 of the radius.
_MAX_HALVINGS = 20
# Curvatures this many eps below zero, relative to |H|, may be rounding errors of the products.
_ROUNDING = 32

# From a function of a flat vector, that vector and a key: a unit direction, and the curvature along
# it, 0 where none below zero was found.
Search = Callable[
    [Callable[[jax.Array], jax.Array], jax.Array, jax.Array], tuple[jax.Array, jax.Array]
]


class EscapeState(NamedTuple):
    """What an escape along negative curvature remembers between steps.

    Attributes:
        key: The searches' own stream of the key that was given; search n draws from
            `fold_in(key, n)`.
        since_last: Scalar int32; steps since the last search, the largest int32 before the first.
        num_searches: Scalar int32; searches made.
        num_escapes: Scalar int32; moves made along negative curvature.
        curvature: Scalar; v^T H v of the last search, 0 before the first.
    """

    key: jax.Array
    since_last: jax.typing.ArrayLike
    num_searches: jax.typing.ArrayLike
    num_escapes: jax.typing.ArrayLike
    curvature: jax.typing.ArrayLike


def escape_negative_curvature(
    radius: chex.Numeric,
    gradient_threshold: chex.Numeric,
    interval: chex.Numeric = 10,
    *,
    key: jax.Array,
    curvature_threshold: chex.Numeric = 0.0,
    subspace_size: int | None = None,
    max_restarts: int = 5,
) -> optax.GradientTransformationExtraArgs:
    """Moves along the most negative eigenvector of the Hessian where the gradient is small.

    Put it last in a chain, after the learning rate of any optimizer. `update` needs `params` and
    `value_fn`, as `optax.lbfgs` does; the gradient is `grad` if given, else that of `value_fn`.

    The search is made inside a conditional, so that other steps cost nothing; in a batch under
    `vmap` only the members that are due make it.

    Args:
        radius: Longest move, > 0, in the units of the parameters.
        gradient_threshold: The largest gradient norm at which a search is made, >= 0.
        interval: Steps that must pass between two searches, >= 0. Near a minimum the gradient
            is small for ever, so a search at every step would multiply the costs there.
        key: Typed PRNG key of the searches' first directions; give each run of a batch its own.
        curvature_threshold: Move only if the curvature is below minus this, >= 0; the papers'
            sqrt(rho epsilon) is `-theory.second_order_threshold(...)`.
        subspace_size: Rows of the Lanczos basis; 22 if None. At most
            subspace_size * (max_restarts + 1) products are made.
        max_restarts: Restarts of Lanczos's method if the eigenpair has not converged. A vector of
            negative curvature is used even so.

    Returns:
        The transformation; its state is an `EscapeState`.

    Raises:
        ValueError: if a number is out of range, or `update` gets no params or value_fn.
        TypeError: if `key` is not a typed key or `subspace_size` not a Python int.

    Example:
        >>> fun = lambda x: x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2
        >>> optimizer = optax.chain(
        ...     optax.adam(0.1), escape_negative_curvature(0.5, 1e-3, key=jax.random.key(0))
        ... )
        >>> x = jnp.zeros(2)  # the saddle, where Adam alone stays for ever
        >>> updates, state = optimizer.update(
        ...     jax.grad(fun)(x), optimizer.init(x), x, value_fn=fun
        ... )
        >>> print(abs(updates).round(4))
        [0.  0.5]
    """
    check_subspace_size(subspace_size)
    check_integer(max_restarts=max_restarts)
    check_non_negative(max_restarts=max_restarts)

    def search(fun, x, key):
        _, operator = _krylov.flat_hessian(fun, x)
        pairs = _krylov.extreme_eigenpairs(
            operator,
            jnp.zeros_like(x),
            num_smallest=1,
            key=key,
            basis_size=None if subspace_size is None else max(subspace_size, 3),
            max_restarts=max_restarts,
            check_copies=False,
        )
        noise = _ROUNDING * spacing(x.dtype) * pairs.operator_norm
        curvature = pairs.eigenvalues[0]
        return pairs.eigenvectors[0], jnp.where(curvature < -noise, curvature, 0)

    return escape_along(
        "escape_negative_curvature",
        search,
        radius=radius,
        gradient_threshold=gradient_threshold,
        interval=interval,
        curvature_threshold=curvature_threshold,
        key=key,
    )


def escape_along(
    rule: str,
    search: Search,
    *,
    radius: chex.Numeric,
    gradient_threshold: chex.Numeric,
    interval: chex.Numeric,
    curvature_threshold: chex.Numeric,
    key: jax.Array,
) -> optax.GradientTransformationExtraArgs:
    """Replace the updates by a move along what `search(flat_fun, flat_params, key)` finds."""
    check_positive(radius=radius)
    check_non_negative(
        gradient_threshold=gradient_threshold,
        interval=interval,
        curvature_threshold=curvature_threshold,
    )
    check_key(key=key)

    def init(params):
        zero = jnp.zeros([], jnp.int32)
        return EscapeState(
            key=stream(key, rule),
            since_last=jnp.full([], jnp.iinfo(jnp.int32).max, jnp.int32),
            num_searches=zero,
            num_escapes=zero,
            curvature=jnp.zeros([], scalar_dtype(params)),
        )

    def update(updates, state, params=None, *, grad=None, value_fn=None, **extra_args):
        # The gradient, and whether it is time to look for a way down.
        fun = objective(rule, updates, params, value_fn, extra_args)
        if is_empty(updates):
            return updates, state
        grad = jax.grad(fun)(params) if grad is None else masked_like(grad, params)
        check_arrays("grad", grad)
        gradient_norm = global_norm(grad)
        due = (gradient_norm <= gradient_threshold) & (state.since_last > interval)

        # The search, made only where one is due: a direction, and how far to go along it.
        def attempt(old, params, key, length):
            del old
            x, unravel = _krylov.flatten(params)

            def flat_fun(x):
                return jnp.asarray(fun(unravel(x)), x.dtype)

            direction, curvature = search(flat_fun, x, key)
            negative = curvature < -jnp.asarray(curvature_threshold, x.dtype)
            distance = _descend(flat_fun, x, direction, curvature, length)
            return unravel(jnp.where(negative, distance, 0) * direction), curvature

        old = jax.tree.map(jnp.zeros_like, params), state.curvature
        search_key = jax.random.fold_in(state.key, state.num_searches)
        length = jnp.asarray(radius, state.curvature.dtype)
        move, curvature = update_where(attempt)(due, old, params, search_key, length)
        # A move takes the place of the rule's own step.
        moved = jnp.any(jnp.stack([jnp.any(leaf != 0) for leaf in jax.tree.leaves(move)]))
        updates = jax.tree.map(lambda u, m: jnp.where(moved, m.astype(u.dtype), u), updates, move)
        return updates, EscapeState(
            key=state.key,
            since_last=jnp.where(due, 1, optax.safe_increment(state.since_last)),
            num_searches=state.num_searches + due,
            num_escapes=state.num_escapes + moved,
            curvature=curvature,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _descend(
    fun: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    direction: jax.Array,
    curvature: jax.Array,
    radius: jax.Array,
) -> jax.Array:
    """Find the signed distance along `direction` that the module's docstring describes."""
    value = fun(x)

    def halve(loop):
        count, length, _, _ = loop
        ahead, behind = fun(x + length * direction), fun(x - length * direction)
        # A NaN on one side must not hide a descent on the other.
        ahead, behind = (jnp.where(jnp.isnan(v), jnp.inf, v) for v in (ahead, behind))
        enough = jnp.minimum(ahead, behind) <= value - jnp.abs(curvature) * length**2 / 4
        distance = jnp.where(enough, jnp.where(ahead <= behind, length, -length), 0)
        return count + 1, length / 2, distance, enough

    *_, distance, _ = jax.lax.while_loop(
        lambda loop: (loop[0] <= _MAX_HALVINGS) & ~loop[3],
        halve,
        (jnp.zeros([], jnp.int32), radius, jnp.zeros_like(radius), jnp.zeros([], bool)),
    )
    return distance
