r"""Cubic-regularised Newton.

    s[t] = argmin_s  g^T s + s^T H s / 2 + (M / 6) |s|^3,        x[t+1] = x[t] + s[t]

With M at least the Lipschitz constant of the Hessian, the model lies above the function, and each
step decreases it: f(x) - f(x + s) >= (M / 12) |s|^3. At an exact saddle (g = 0) the step is 2
|lambda_min| / M along the most negative eigenvector, so saddles are left, and a point with
|g| <= eps and lambda_min >= -sqrt(M eps) is reached in O(sqrt(M) (f(x[0]) - min f) / eps^1.5)
steps. Near a strict minimum the convergence is quadratic.

The subproblem is not convex but is solved exactly, by one scalar equation in an eigenbasis of H
(`_krylov/_secular.py`). For large n, H is replaced by its projection on a subspace of k
dimensions, half of it the Krylov space of g, half that of a random direction: without the random
half, a saddle where g is orthogonal to all directions of negative curvature would look like a
minimum. The decrease of f is then still guaranteed, the second-order result is not.

Nesterov and Polyak (2006), https://doi.org/10.1007/s10107-006-0706-8; Lanczos's subspace for it:
Carmon and Duchi (2018), https://arxiv.org/abs/1806.09222.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import _krylov
from jaxopt_course._checks import check_key, check_one_of, check_positive
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._second_order import (
    check_subspace_size,
    is_empty,
    linearized,
    objective,
    scalar_dtype,
)


class CubicNewtonState(NamedTuple):
    """What the last step of cubic Newton met and promised.

    Attributes:
        min_eigenvalue: Scalar; the smallest eigenvalue of H, or of its projection, at the point
            that the last step left; 0 before the first.
        model_value: Scalar; the cubic model at the last step, minus the value it started from:
            at most -(M / 12) |s|^3, and an upper bound on the function's change; 0 before the
            first.
    """

    min_eigenvalue: jax.typing.ArrayLike
    model_value: jax.typing.ArrayLike


def scale_by_cubic_newton(
    hessian_lipschitz: chex.Numeric,
    solver: str = "eigh",
    *,
    subspace_size: int | None = None,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The negated minimiser of the cubic model in place of the updates, as in the module.

    `update` needs `params` and `value_fn`, as `optax.lbfgs` does.

    Args:
        hessian_lipschitz: M > 0, at least the Lipschitz constant of the Hessian for the guarantees.
        solver: "eigh" forms the Hessian, with n products, for n up to about 2,000; "lanczos"
            works in a subspace.
        subspace_size: Dimension k of the subspace and number of products; 30 if None.
        key: Typed PRNG key for the random half of the subspace, the same directions at every step;
            `jax.random.key(0)` if None.

    Returns:
        The transformation; its state is a `CubicNewtonState`.

    Raises:
        ValueError: if an argument is out of range, or `update` gets no params or value_fn.
        TypeError: if `subspace_size` is not a Python int.

    Example:
        From the exact saddle of x^2/2 - y^2/2, where g = 0, the step is 2 / M along y.

        >>> fun = lambda x: (x[0] ** 2 - x[1] ** 2) / 2
        >>> rule, x = scale_by_cubic_newton(4.0), jnp.zeros(2)
        >>> step, state = rule.update(jax.grad(fun)(x), rule.init(x), x, value_fn=fun)
        >>> print(abs(step), state.model_value.round(6))
        [0.  0.5] -0.041667
    """
    check_positive(hessian_lipschitz=hessian_lipschitz)
    check_one_of(("eigh", "lanczos"), solver=solver)
    check_subspace_size(subspace_size)
    check_key(key=key, optional=True)

    def init(params):
        zero = jnp.zeros([], scalar_dtype(params))
        return CubicNewtonState(zero, zero)

    def update(updates, state, params=None, *, value_fn=None, **extra_args):
        fun = objective("cubic_newton", updates, params, value_fn, extra_args)
        if is_empty(updates):
            return updates, state
        gradient, operator, unravel = linearized(fun, params, updates)
        model = _krylov.eigen_model(
            operator,
            gradient,
            solver=solver,
            subspace_size=subspace_size,
            key=key,
            explore=True,
        )
        constant = jnp.asarray(hessian_lipschitz, gradient.dtype)
        step = _krylov.cubic_minimizer(
            model.eigenvalues, model.gradient, hessian_lipschitz=constant
        )
        value = (
            jnp.sum(step * model.gradient + model.eigenvalues * step**2 / 2)
            + constant / 6 * jnp.linalg.norm(step) ** 3
        )
        with jax.default_matmul_precision("highest"):
            return unravel(-step @ model.vectors), CubicNewtonState(model.eigenvalues[0], value)

    return optax.GradientTransformationExtraArgs(init, update)


def cubic_newton(
    hessian_lipschitz: chex.Numeric,
    learning_rate: optax.ScalarOrSchedule = 1.0,
    solver: str = "eigh",
    *,
    subspace_size: int | None = None,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Cubic Newton: steps to the minimiser of the cubic model, the formula of the module.

    Args:
        hessian_lipschitz: M, as in `scale_by_cubic_newton`, like all that follow the rate.
        learning_rate: A number >= 0 or a schedule; the theory is for 1.
        solver: "eigh" or "lanczos".
        subspace_size: Dimension of the subspace.
        key: Typed PRNG key of the Lanczos solver.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if an argument is out of range, or `update` gets no params or value_fn.
        TypeError: if `subspace_size` is not a Python int.

    Example:
        >>> fun = lambda x: x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2
        >>> optimizer, x = cubic_newton(6.0), jnp.zeros(2)  # started at the saddle itself
        >>> state = optimizer.init(x)
        >>> for _ in range(10):
        ...     updates, state = optimizer.update(jax.grad(fun)(x), state, x, value_fn=fun)
        ...     x = optax.apply_updates(x, updates)
        >>> print(abs(x).round(4))
        [0. 1.]
    """
    return optax.chain(
        scale_by_cubic_newton(hessian_lipschitz, solver, subspace_size=subspace_size, key=key),
        scale_by_learning_rate(learning_rate),
    )
