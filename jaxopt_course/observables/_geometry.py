"""Where a run is and how it moves: distances, alignment with curvature, rank of features."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxopt_course import _loops
from jaxopt_course._checks import check_callable, check_inexact, check_not_empty
from jaxopt_course._observe import Observable
from jaxopt_course.observables._curvature import Measured, of_eigenpairs
from jaxopt_course.transforms import adapt


def distance(origin: chex.ArrayTree) -> Observable:
    """The Euclidean distance from a point, such as the start.

    Args:
        origin: A pytree like the parameters.

    Returns:
        The observable: a scalar.

    Raises:
        TypeError: if the point is not of floating dtype.
        ValueError: if there are no numbers in it.

    Example:
        >>> distance(jnp.zeros(2))(jnp.array([3.0, 4.0]), None, None).tolist()
        5.0
    """
    check_not_empty("origin", origin)
    check_inexact("origin", origin)

    def observe(params: Any, state: Any, fun: Any) -> jax.Array:
        del state, fun
        return jnp.linalg.norm(ravel_pytree(jax.tree.map(jnp.subtract, params, origin))[0])

    return observe


def alignment(*, k: int, key: jax.Array | None = None, tolerance: float = 1e-3) -> Observable:
    """The share of the squared gradient that lies in the span of the k top eigenvectors.

    With v_i the eigenvectors of the k largest eigenvalues, `sum_i <v_i, g>^2 / |g|^2`.

    Args:
        k: How many eigenvectors.
        key: Typed key for random directions; which one hardly matters, by default that of 0.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a scalar in [0, 1], up to the residuals; 0 where the gradient is zero.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = alignment(k=1)
        >>> round(float(observable(jnp.ones(2), None, lambda x: x[0] ** 2 + 2 * x[1] ** 2)), 4)
        0.8

    Reference:
        Gur-Ari, Roberts and Dyer (2018), https://arxiv.org/abs/1812.04754.
    """

    def measure(pairs: Any, params: Any, state: Any, fun: Any) -> jax.Array:
        del state
        gradient, _ = ravel_pytree(jax.grad(fun)(params))
        vectors = jax.vmap(lambda v: ravel_pytree(v)[0])(pairs.eigenvectors)
        square = gradient @ gradient
        inside = jnp.sum((vectors @ gradient) ** 2)
        return jnp.where(square > 0, inside / jnp.where(square > 0, square, 1), 0)

    return of_eigenpairs("largest", measure, k=k, key=key, tolerance=tolerance)


def effective_step(
    optimizer: Any, *, key: jax.Array | None = None, tolerance: float = 1e-3
) -> Observable:
    """The step that a rule takes along the top eigenvector, in units of the gradient there.

    `-<v, u> / <v, g>` for the update u at the gradient g: the rate, for gradient descent. Times the
    sharpness it is what is to stay below the rule's threshold.

    Args:
        optimizer: The rule; the state that is observed is its own.
        key: Typed key for random directions; which one hardly matters, by default that of 0.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a scalar; NaN where the gradient has no component along v.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> rule, x = optax.sgd(0.1), jnp.ones(3)
        >>> observable = effective_step(rule)
        >>> round(float(observable(x, rule.init(x), lambda x: x @ x)), 4)
        0.1
    """
    rule = adapt(optimizer)

    def measure(pairs: Any, params: Any, state: Any, fun: Any) -> jax.Array:
        value, grads = jax.value_and_grad(fun)(params)
        updates, _ = rule.update(grads, state, params, value=value, grad=grads, value_fn=fun)
        vector = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], pairs.eigenvectors))[0]
        slope = vector @ ravel_pytree(grads)[0]
        moved = vector @ ravel_pytree(updates)[0]
        return jnp.where(slope == 0, jnp.nan, -moved / jnp.where(slope == 0, 1, slope))

    return of_eigenpairs("largest", measure, k=1, key=key, tolerance=tolerance)


def gradient_noise(
    losses: Callable[[Any], jax.Array],
    *,
    k: int,
    key: jax.Array | None = None,
    tolerance: float = 1e-3,
) -> Observable:
    """The variance of the examples' gradients along the k top eigenvectors of the Hessian.

    With g_j the gradient of example j's loss and v_i the eigenvectors of the k largest eigenvalues,
    descending, the variance of `<v_i, g_j>` over j. The mean gradient of b examples drawn at random
    has one b-th of it. One product with the Jacobian of the losses an eigenvector gives all
    `<v_i, g_j>`, so no gradient of a single example is formed.

    Args:
        losses: From parameters to the losses of the examples, shape `(N,)`, N >= 2.
        k: How many eigenvectors.
        key: Typed key for random directions; which one hardly matters, by default that of 0.
        tolerance: Residual norm to reach, relative to the norm of the Hessian.

    Returns:
        The observable: a `Measured` of shape `(k,)`, the error being the standard error of a
        variance of so many examples.

    Raises:
        TypeError, ValueError: for arguments other than described.

    Example:
        >>> observable = gradient_noise(lambda x: x[0] * jnp.array([1.0, 2.0, 3.0]), k=1)
        >>> print(observable(jnp.ones(2), None, lambda x: x[0] ** 2).value)
        [1.]

    Reference:
        Zhu, Wu, Yu, Wu and Ma (2019), https://arxiv.org/abs/1803.00195, section 3.
    """
    check_callable(losses=losses)

    def measure(pairs: Any, params: Any, state: Any, fun: Any) -> Measured:
        del state, fun
        _, jacobian = jax.linearize(losses, params)

        def slopes(vector: Any) -> jax.Array:
            return jacobian(jax.tree.map(lambda v, p: v.astype(p.dtype), vector, params))

        along = _loops.map(slopes, pairs.eigenvectors)[::-1]
        count = along.shape[1]
        if along.ndim != 2 or count < 2:
            raise ValueError(
                f"losses must return an array of shape (N,), N >= 2, got {along.shape[1:]}"
            )
        deviations = along - jnp.mean(along, axis=1, keepdims=True)
        variance = jnp.sum(deviations**2, axis=1) / (count - 1)
        # Of the variance of a sample: (m4 - v^2 (N - 3) / (N - 1)) / N.
        fourth = jnp.mean(deviations**4, axis=1)
        square = (fourth - variance**2 * (count - 3) / (count - 1)) / count
        return Measured(variance, jnp.sqrt(jnp.maximum(square, 0)))

    return of_eigenpairs("largest", measure, k=k, key=key, tolerance=tolerance)


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
