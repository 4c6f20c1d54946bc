r"""Whether a rule's steps are stable here, whatever the rule.

A step maps parameters and state together, z = (x, s), to F(z). Two numbers tell how far it is from
unstable. The **radius** of the linearised step, the largest modulus of an eigenvalue of dF/dz, is
above 1 where small differences grow. And the **preconditioned sharpness** is the largest eigenvalue
of the Hessian H seen through the rule,

    max eigenvalue of P H,        P = -(derivative of the update in the gradient),

with the second moments held: they are even in the gradient, so that the derivative at gradient zero
leaves them alone, and the rule's name need not be known. P is the rate for gradient descent, and
(1 - b1) rate / (sqrt(second moment) + eps) for Adam, which has none before its first gradient: NaN.
A rule with first moment b1 becomes unstable at P H = 2 + 2 b1, gradient descent at 2, heavy ball of
decay b at 2 + 2 b.

Cohen, Ghorbani, Krishnan et al. (2022), https://arxiv.org/abs/2207.14484, section 3.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxopt_course import _krylov
from jaxopt_course._checks import check_count, check_key, is_key
from jaxopt_course._observe import Observable
from jaxopt_course._streams import stream
from jaxopt_course.observables._curvature import Measured
from jaxopt_course.transforms import adapt


def preconditioned_sharpness(
    optimizer: Any, *, key: jax.Array | None = None, num_steps: int = 20
) -> Observable:
    """The largest eigenvalue of P H, with P the derivative of the rule's update in the gradient.

    Found by products with P and H, a column of neither is formed. A rule that uses the Hessian
    itself, or whose update does not depend smoothly on the gradient, has no such P.

    Args:
        optimizer: The rule, any of optax's or ours; the state that is observed is its own.
        key: Typed key for the first direction, the same at every observation; by default that of 0.
        num_steps: Products with P and H of an observation.

    Returns:
        The observable: a `Measured` of shape `()`, in units of the module's formula, in which
        gradient descent becomes unstable at 2.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> rule, x = optax.sgd(0.1), jnp.ones(3)
        >>> observable = preconditioned_sharpness(rule)
        >>> round(float(observable(x, rule.init(x), lambda x: 2 * x @ x).value), 4)
        0.4
    """
    check_count(num_steps=num_steps)
    check_key(key=key, optional=True)
    rule = adapt(optimizer)

    def observe(params: Any, state: Any, fun: Any) -> Measured:
        gradient, hessian = _krylov.flat_hessian(fun, params)
        zero, (_, unravel) = jnp.zeros_like(gradient), _krylov.flatten(params)

        def update(gradient):
            gradient = unravel(gradient)
            arguments = {"value": fun(params), "grad": gradient, "value_fn": fun}
            return _krylov.flatten(rule.update(gradient, state, params, **arguments)[0])[0]

        _, slope = jax.linearize(update, zero)
        start = jax.random.normal(stream(_own(key), "observables"), zero.shape, zero.dtype)
        steps = min(num_steps, zero.size)
        found = _krylov.dominant_eigenvalue(lambda v: -slope(hessian(v)), start, num_steps=steps)
        return Measured(found.real, found.residual_norm)

    return observe


def step_radius(optimizer: Any, *, key: jax.Array | None = None, num_steps: int = 30) -> Observable:
    """The spectral radius of the linearised step of parameters and state together.

    Above 1 small differences grow from step to step. What keeps what it has, as AdaGrad's sums do,
    has an eigenvalue of 1.

    Args:
        optimizer: The rule, any of optax's or ours; the state that is observed is its own. Counts
            and keys in the state are held.
        key: Typed key for the first direction, the same at every observation; by default that of 0.
        num_steps: Products with the derivative of the step of an observation.

    Returns:
        The observable: a `Measured` of shape `()`.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> rule, x = optax.sgd(0.1), jnp.ones(3)
        >>> observable = step_radius(rule)
        >>> round(float(observable(x, rule.init(x), lambda x: 15 * x @ x).value), 4)
        2.0
    """
    check_count(num_steps=num_steps)
    check_key(key=key, optional=True)
    rule = adapt(optimizer)

    def observe(params: Any, state: Any, fun: Any) -> Measured:
        leaves, structure = jax.tree.flatten(state)
        moves = [not is_key(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

        def moving(tree):
            pairs = zip(jax.tree.leaves(tree), moves, strict=True)
            return [leaf for leaf, real in pairs if real]

        flat, unravel = ravel_pytree((params, moving(state)))

        def step(flat):
            x, rest = unravel(flat)
            given = iter(rest)
            now = structure.unflatten(
                [next(given) if real else leaf for leaf, real in zip(leaves, moves, strict=True)]
            )
            value, grads = jax.value_and_grad(fun)(x)
            updates, after = rule.update(grads, now, x, value=value, grad=grads, value_fn=fun)
            return ravel_pytree((jax.tree.map(jnp.add, x, updates), moving(after)))[0]

        with jax.default_matmul_precision("highest"):
            _, derivative = jax.linearize(step, flat)
        start = jax.random.normal(stream(_own(key), "observables"), flat.shape, flat.dtype)
        found = _krylov.dominant_eigenvalue(derivative, start, num_steps=min(num_steps, flat.size))
        return Measured(found.radius, found.residual_norm)

    return observe


def _own(key: jax.Array | None) -> jax.Array:
    return jax.random.key(0) if key is None else key
