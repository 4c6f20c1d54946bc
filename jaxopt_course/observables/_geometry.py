"""Where a run is and how it moves: distances, alignment with curvature, rank of features."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxopt_course import saddle
from jaxopt_course._checks import check_callable, check_count, check_key, check_positive
from jaxopt_course.observables._curvature import Observable
from jaxopt_course.transforms import adapt


def distance(origin: chex.ArrayTree) -> Observable:
    """The Euclidean distance from a point, such as the start.

    Args:
        origin: A pytree like the parameters.

    Returns:
        The observable: a scalar.

    Example:
        >>> distance(jnp.zeros(2))(jnp.array([3.0, 4.0]), None, None).tolist()
        5.0
    """

    def observe(params: Any, state: Any, fun: Any) -> jax.Array:
        del state, fun
        return jnp.linalg.norm(ravel_pytree(jax.tree.map(jnp.subtract, params, origin))[0])

    return observe


def alignment(*, k: int, key: jax.Array, tolerance: float = 1e-3) -> Observable:
    """The share of the squared gradient that lies in the span of the k top eigenvectors.

    With v_i the eigenvectors of the k largest eigenvalues, `sum_i <v_i, g>^2 / |g|^2`.

    Args:
        k: How many eigenvectors.
        key: Typed key for the first direction, the same at every observation.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a scalar in [0, 1], up to the residuals; 0 where the gradient is zero.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = alignment(k=1, key=jax.random.key(0))
        >>> round(float(observable(jnp.ones(2), None, lambda x: x[0] ** 2 + 2 * x[1] ** 2)), 4)
        0.8

    Reference:
        Gur-Ari, Roberts and Dyer (2018), https://arxiv.org/abs/1812.04754.
    """
    check_count(k=k)
    check_key(key=key)
    check_positive(tolerance=tolerance)

    def observe(params: Any, state: Any, fun: Any) -> jax.Array:
        del state
        pairs = saddle.extreme_eigenpairs(
            fun, params, k=k, which="largest", key=key, tolerance=tolerance, check_copies=False
        )
        gradient, _ = ravel_pytree(jax.grad(fun)(params))
        vectors = jax.vmap(lambda v: ravel_pytree(v)[0])(pairs.eigenvectors)
        square = gradient @ gradient
        inside = jnp.sum((vectors @ gradient) ** 2)
        return jnp.where(square > 0, inside / jnp.where(square > 0, square, 1), 0)

    return observe


def effective_step(optimizer: Any, *, key: jax.Array, tolerance: float = 1e-3) -> Observable:
    """The step that a rule takes along the top eigenvector, in units of the gradient there.

    `-<v, u> / <v, g>` for the update u at the gradient g: the rate, for gradient descent. Times the
    sharpness it is what is to stay below the rule's threshold.

    Args:
        optimizer: The rule; the state that is observed is its own.
        key: Typed key for the first direction, the same at every observation.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a scalar; NaN where the gradient has no component along v.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> rule, x = optax.sgd(0.1), jnp.ones(3)
        >>> observable = effective_step(rule, key=jax.random.key(0))
        >>> round(float(observable(x, rule.init(x), lambda x: x @ x)), 4)
        0.1
    """
    check_key(key=key)
    check_positive(tolerance=tolerance)
    rule = adapt(optimizer)

    def observe(params: Any, state: Any, fun: Any) -> jax.Array:
        pairs = saddle.extreme_eigenpairs(
            fun, params, k=1, which="largest", key=key, tolerance=tolerance, check_copies=False
        )
        value, grads = jax.value_and_grad(fun)(params)
        updates, _ = rule.update(grads, state, params, value=value, grad=grads, value_fn=fun)
        vector = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], pairs.eigenvectors))[0]
        slope = vector @ ravel_pytree(grads)[0]
        moved = vector @ ravel_pytree(updates)[0]
        return jnp.where(slope == 0, jnp.nan, -moved / jnp.where(slope == 0, 1, slope))

    return observe


def feature_rank(features: Callable[[Any], jax.Array]) -> Observable:
    """The effective rank of a network's features: how many directions they fill.

    With s the squared singular values of the features over their sum, `exp(-sum_i s_i log s_i)`:
    the number of equal ones that would have this entropy.

    Args:
        features: From parameters to a matrix, an example a row.

    Returns:
        The observable: a scalar between 1 and the smaller side of the matrix; 0 for a zero matrix.

    Raises:
        TypeError: If `features` cannot be called.

    Example:
        >>> round(float(feature_rank(lambda params: params)(jnp.eye(3), None, None)), 4)
        3.0

    Reference:
        Roy and Vetterli (2007), "The effective rank", EUSIPCO, definition 1 (of squared values).
    """
    check_callable(features=features)

    def observe(params: Any, state: Any, fun: Any) -> jax.Array:
        del state, fun
        squares = jnp.linalg.svd(features(params), compute_uv=False) ** 2
        total = jnp.sum(squares)
        shares = squares / jnp.where(total > 0, total, 1)
        entropy = -jnp.sum(jax.scipy.special.xlogy(shares, shares))
        return jnp.where(total > 0, jnp.exp(entropy), 0)

    return observe
