r"""Saddle-free Newton: Newton's step with the absolute values of the curvatures.

    x[t+1] = x[t] - learning_rate * (|H(x[t])| + damping * I)^{-1} g[t]

|H| has H's eigenvectors and the absolute values of its eigenvalues. Where Newton's step goes uphill
along a direction of negative curvature, this one goes downhill, as far: it is repelled by saddles
and maxima, and equals Newton's near a minimum, where it converges quadratically. A direction with
no gradient gets no step, so an exact saddle is not left; add a perturbation or
`escape_negative_curvature`.

For large n, H is replaced by its projection on the Krylov space of g, H g, ..., H^(k-1) g. It
contains g; the step is exact if k = n.

Dauphin, Pascanu, Gulcehre, Cho, Ganguli, Bengio (2014), algorithm 1,
https://arxiv.org/abs/1406.2572.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import _krylov
from jaxopt_course._checks import check_key, check_non_negative, check_one_of
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._second_order import (
    check_subspace_size,
    divide,
    is_empty,
    linearized,
    objective,
    scalar_dtype,
)


class SaddleFreeNewtonState(NamedTuple):
    """What the last step of saddle-free Newton met.

    Attributes:
        min_eigenvalue: Scalar; the smallest eigenvalue of H, or of its projection, at the point
            that the last step left; 0 before the first.
    """

    min_eigenvalue: jax.typing.ArrayLike


def scale_by_saddle_free_newton(
    damping: chex.Numeric = 0.0,
    solver: str = "eigh",
    *,
    subspace_size: int | None = None,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The updates times (|H| + damping I)^{-1}, the formula of the module.

    `update` needs `params` and `value_fn`, as `optax.lbfgs` does. Directions in which |H| + damping
    I is singular to working precision get no step.

    Args:
        damping: A number >= 0 added to every |eigenvalue|.
        solver: "eigh" forms the Hessian, with n products, for n up to about 2,000; "lanczos"
            works in a Krylov space of the updates.
        subspace_size: Dimension k of that space and number of products; 30 if None.
        key: Typed PRNG key for the directions that Lanczos takes when a Krylov space is exhausted;
            they get no step, so `jax.random.key(0)` does as well and is the default.

    Returns:
        The transformation; its state is a `SaddleFreeNewtonState`.

    Raises:
        ValueError: if an argument is out of range, or `update` gets no params or value_fn.
        TypeError: if `subspace_size` is not a Python int.

    Example:
        >>> fun = lambda x: 5 * x[0] ** 2 - x[1] ** 2
        >>> rule, x = scale_by_saddle_free_newton(), jnp.array([1.0, 0.5])
        >>> print(rule.update(jax.grad(fun)(x), rule.init(x), x, value_fn=fun)[0])
        [ 1.  -0.5]
    """
    check_non_negative(damping=damping)
    check_one_of(("eigh", "lanczos"), solver=solver)
    check_subspace_size(subspace_size)
    check_key(key=key, optional=True)

    def init(params):
        return SaddleFreeNewtonState(jnp.zeros([], scalar_dtype(params)))

    def update(updates, state, params=None, *, value_fn=None, **extra_args):
        fun = objective("saddle_free_newton", updates, params, value_fn, extra_args)
        if is_empty(updates):
            return updates, state
        gradient, operator, unravel = linearized(fun, params, updates)
        model = _krylov.eigen_model(
            operator,
            gradient,
            solver=solver,
            subspace_size=subspace_size,
            key=key,
            explore=False,
        )
        curvatures = jnp.abs(model.eigenvalues) + jnp.asarray(damping, gradient.dtype)
        with jax.default_matmul_precision("highest"):
            step = divide(model.gradient, curvatures) @ model.vectors
        return unravel(step), SaddleFreeNewtonState(model.eigenvalues[0])

    return optax.GradientTransformationExtraArgs(init, update)


def saddle_free_newton(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    damping: chex.Numeric = 0.0,
    solver: str = "eigh",
    *,
    subspace_size: int | None = None,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Saddle-free Newton: steps by `|H|^-1 g`, the formula of the module.

    Args:
        learning_rate: A number >= 0 or a schedule; 1 is the full step.
        damping: As in `scale_by_saddle_free_newton`, like all that follow.
        solver: "eigh" or "lanczos".
        subspace_size: Dimension of the Krylov space.
        key: Typed PRNG key of the Lanczos solver.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if an argument is out of range, or `update` gets no params or value_fn.
        TypeError: if `subspace_size` is not a Python int.

    Example:
        >>> fun = lambda x: x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2
        >>> optimizer, x = saddle_free_newton(), jnp.array([0.5, 0.1])
        >>> state = optimizer.init(x)
        >>> for _ in range(10):
        ...     updates, state = optimizer.update(jax.grad(fun)(x), state, x, value_fn=fun)
        ...     x = optax.apply_updates(x, updates)
        >>> print(abs(x).round(4))
        [0. 1.]
    """
    return optax.chain(
        scale_by_saddle_free_newton(damping, solver, subspace_size=subspace_size, key=key),
        scale_by_learning_rate(learning_rate),
    )
