r"""Newton's method, dense and matrix-free.

    x[t+1] = x[t] - learning_rate * (H(x[t]) + damping * I)^{-1} g[t]

Near a stationary point with invertible Hessian the error is squared at each step (undamped, rate
1), and the iterates do not depend on the coordinates that the problem is written in. The same
holds at saddles and maxima, to which the plain method is attracted like to minima: the step along
an eigenvector of negative curvature points uphill. Use it where the function is known to be convex;
elsewhere use `saddle_free_newton`, `cubic_newton` or `trust_region`. The conjugate-gradient solver
refuses directions of negative curvature (Steihaug's rule) and so descends, but it, too, stays
at an exact saddle.

L-BFGS, which builds an inverse Hessian from past gradients, is not repeated in this package:
`optax.lbfgs` has it, and is called with the same arguments. For a smooth problem with full-batch
gradients where only a minimum is wanted, it is the first rule to try. Its approximation is kept
positive definite, so it leaves the neighbourhood of a saddle but not the saddle itself, and it
knows nothing of the curvature that is negative.

Nocedal and Wright (2006), "Numerical Optimization", chapters 3 and 7.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import _krylov
from jaxopt_course._checks import check_count, check_non_negative, check_one_of, check_positive
from jaxopt_course.transforms._gradient_descent import scale_by_learning_rate
from jaxopt_course.transforms._second_order import (
    divide,
    is_empty,
    linearized,
    objective,
)

_MAX_CG_STEPS = 100


class NewtonState(NamedTuple):
    """What the last Newton step met.

    Attributes:
        negative_curvature: Scalar bool; whether H + damping I was seen not to be positive definite.
        num_products: Scalar int32; Hessian-vector products used by the last step.
    """

    negative_curvature: jax.typing.ArrayLike
    num_products: jax.typing.ArrayLike


def scale_by_newton(
    damping: chex.Numeric = 0.0,
    solver: str = "eigh",
    *,
    cg_tolerance: chex.Numeric | None = None,
    max_cg_steps: chex.Numeric = _MAX_CG_STEPS,
) -> optax.GradientTransformationExtraArgs:
    """The updates times (H + damping I)^{-1}, the formula of the module.

    `update` needs `params` and `value_fn`, as `optax.lbfgs` does. Solver "eigh" forms the n x n
    Hessian of all parameters together, with n products, and is for n up to about 2,000; directions
    in which the matrix is singular to working precision get no step. Solver "cg" runs
    conjugate gradients on Hessian-vector products; when it meets negative curvature it stops with
    what it has, or with the plain gradient.

    Args:
        damping: A number >= 0 added to every eigenvalue.
        solver: "eigh" or "cg".
        cg_tolerance: Residual that conjugate gradients must reach, relative to the gradient; by
            default min(1/2, |g|), which keeps the convergence quadratic.
        max_cg_steps: Bound on the conjugate-gradient steps, > 0.

    Returns:
        The transformation; its state is a `NewtonState`.

    Raises:
        ValueError: if an argument is out of range, or `update` gets no params or value_fn.

    Example:
        >>> fun = lambda x: jnp.sum(jnp.array([1.0, 10.0]) * x**2)
        >>> rule, x = scale_by_newton(), jnp.array([3.0, 4.0])
        >>> print(rule.update(jax.grad(fun)(x), rule.init(x), x, value_fn=fun)[0])
        [3. 4.]
    """
    check_non_negative(damping=damping)
    check_one_of(("eigh", "cg"), solver=solver)
    check_count(max_cg_steps=max_cg_steps, traced=True)
    check_positive(cg_tolerance=cg_tolerance, optional=True)

    def init(params):
        del params
        return NewtonState(jnp.zeros([], bool), jnp.zeros([], jnp.int32))

    def update(updates, state, params=None, *, value_fn=None, **extra_args):
        fun = objective("newton", updates, params, value_fn, extra_args)
        if is_empty(updates):
            return updates, state
        gradient, operator, unravel = linearized(fun, params, updates)
        shift = jnp.asarray(damping, gradient.dtype)

        if solver == "cg":
            default = jnp.minimum(0.5, jnp.linalg.norm(gradient))
            result = _krylov.truncated_cg(
                lambda v: operator(v) + shift * v,
                gradient,
                tolerance=default if cg_tolerance is None else cg_tolerance,
                max_steps=max_cg_steps,
            )
            state = NewtonState(result.negative_curvature, result.num_products)
            return unravel(-result.step), state

        model = _krylov.eigen_model(operator, gradient)
        eigenvalues = model.eigenvalues + shift
        with jax.default_matmul_precision("highest"):
            step = divide(model.gradient, eigenvalues) @ model.vectors
        count = jnp.asarray(gradient.shape[0], jnp.int32)
        return unravel(step), NewtonState(eigenvalues[0] <= 0, count)

    return optax.GradientTransformationExtraArgs(init, update)


def newton(
    learning_rate: optax.ScalarOrSchedule = 1.0,
    damping: chex.Numeric = 0.0,
    solver: str = "eigh",
    *,
    cg_tolerance: chex.Numeric | None = None,
    max_cg_steps: chex.Numeric = _MAX_CG_STEPS,
) -> optax.GradientTransformationExtraArgs:
    """Newton's method: steps to the stationary point of the quadratic model, as in the module.

    Args:
        learning_rate: A number >= 0 or a schedule; 1 is the full step.
        damping: As in `scale_by_newton`, like all that follow.
        solver: "eigh" or "cg".
        cg_tolerance: Relative residual of the "cg" solver.
        max_cg_steps: Bound on its steps.

    Returns:
        The complete optimizer.

    Raises:
        ValueError: if an argument is out of range, or `update` gets no params or value_fn.

    Example:
        >>> fun = lambda x: jnp.sum(jnp.array([1.0, 10.0]) * x**2)
        >>> optimizer, x = newton(solver="cg", cg_tolerance=1e-6), jnp.array([3.0, 4.0])
        >>> updates, _ = optimizer.update(jax.grad(fun)(x), optimizer.init(x), x, value_fn=fun)
        >>> bool(jnp.allclose(optax.apply_updates(x, updates), 0.0, atol=1e-5))
        True
    """
    return optax.chain(
        scale_by_newton(damping, solver, cg_tolerance=cg_tolerance, max_cg_steps=max_cg_steps),
        scale_by_learning_rate(learning_rate),
    )
