r"""A trust-region Newton method.

    s[t] = argmin_s  m(s) = g^T s + s^T H s / 2     subject to |s| <= radius[t]
    ratio = (f(x[t]) - f(x[t] + s[t])) / -m(s[t])

The step is taken if `ratio` exceeds a small number; the radius is doubled after a step to the
boundary that kept at least 3/4 of the model's promise, and cut to a quarter of the step after one
that kept less than 1/4. No Lipschitz constant and no learning rate are needed, f never rises, and
near a strict minimum the steps are Newton's, with its quadratic convergence.

Solver "eigh" minimises the model exactly, also where g has no component along the most negative
eigenvector (the hard case): it leaves exact saddles. "cg" is Steihaug's truncated conjugate
gradients: it descends along directions of negative curvature that it meets, but takes no step where
the gradient vanishes. "lanczos" minimises exactly in a subspace,
half of it a Krylov space of a random direction, so it leaves exact saddles without a matrix.

Conn, Gould, Toint (2000), "Trust-Region Methods", algorithm 6.1.1 and section 17.4.2; Nocedal and
Wright (2006), algorithm 4.1.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_course import _krylov
from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_count,
    check_key,
    check_number,
    check_one_of,
    check_positive,
    is_concrete_number,
)
from jaxopt_course.transforms._second_order import (
    check_subspace_size,
    is_empty,
    linearized,
    objective,
    scalar_dtype,
)

_MAX_CG_STEPS = 100


class TrustRegionState(NamedTuple):
    """What a trust region remembers between steps.

    Attributes:
        radius: Scalar; bound on the length of the next step.
        ratio: Scalar; actual over predicted decrease of the last trial; 0 before the first.
        accepted: Scalar bool; whether the last trial was taken.
    """

    radius: jax.typing.ArrayLike
    ratio: jax.typing.ArrayLike
    accepted: jax.typing.ArrayLike


def trust_region(
    initial_radius: chex.Numeric = 1.0,
    solver: str = "eigh",
    *,
    max_radius: chex.Numeric = 1e3,
    acceptance: chex.Numeric = 0.1,
    cg_tolerance: chex.Numeric | None = None,
    max_cg_steps: chex.Numeric = _MAX_CG_STEPS,
    subspace_size: int | None = None,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Newton's method within a trust region, the formula of the module.

    This is a complete optimizer: a learning rate after it would falsify the ratio that its radius
    is steered by. A rejected trial returns zero updates. `update` needs `params` and `value_fn`, as
    `optax.lbfgs` does, evaluates the function once at the trial point, and once more at `params`
    unless it gets `value`. A trial with a value that is not finite is rejected.

    Args:
        initial_radius: First bound on |s|, > 0, in the units of the parameters.
        solver: "eigh" (forms the Hessian; for n up to about 2,000), "cg" or "lanczos".
        max_radius: Bound on the radius, > 0.
        acceptance: Least ratio at which a trial is taken, in [0, 1/4].
        cg_tolerance: Residual that the "cg" solver must reach, relative to the gradient; by
            default min(1/2, |g|), which keeps the convergence quadratic.
        max_cg_steps: Bound on the conjugate-gradient steps, > 0.
        subspace_size: Dimension of the subspace of the "lanczos" solver; 30 if None.
        key: Typed PRNG key of the "lanczos" solver; `jax.random.key(0)` if None.

    Returns:
        The optimizer; its state is a `TrustRegionState`.

    Raises:
        ValueError: if an argument is out of range, or `update` gets no params or value_fn.
        TypeError: if `subspace_size` is not a Python int.

    Example:
        >>> fun = lambda x: x[0] ** 2 / 2 + x[1] ** 4 / 4 - x[1] ** 2 / 2
        >>> optimizer, x = trust_region(), jnp.zeros(2)  # started at the saddle itself
        >>> state = optimizer.init(x)
        >>> for _ in range(10):
        ...     updates, state = optimizer.update(jax.grad(fun)(x), state, x, value_fn=fun)
        ...     x = optax.apply_updates(x, updates)
        >>> print(abs(x).round(4))
        [0. 1.]
    """
    check_positive(initial_radius=initial_radius, max_radius=max_radius)
    check_count(max_cg_steps=max_cg_steps, traced=True)
    check_number(acceptance=acceptance)
    if is_concrete_number(acceptance) and not 0 <= acceptance <= 0.25:
        raise ValueError(f"acceptance must lie in [0, 1/4], got {brief(acceptance)}")
    check_one_of(("eigh", "cg", "lanczos"), solver=solver)
    check_subspace_size(subspace_size)
    check_key(key=key, optional=True)
    check_positive(cg_tolerance=cg_tolerance, optional=True)

    def init(params):
        dtype = scalar_dtype(params)
        radius = jnp.minimum(initial_radius, max_radius)
        return TrustRegionState(
            jnp.asarray(radius, dtype), jnp.zeros([], dtype), jnp.zeros([], bool)
        )

    def solve(operator, gradient, radius):
        """Minimise the model: the step and the model's value there."""
        if solver == "cg":
            default = jnp.minimum(0.5, jnp.linalg.norm(gradient))
            result = _krylov.truncated_cg(
                operator,
                gradient,
                radius=radius,
                tolerance=default if cg_tolerance is None else cg_tolerance,
                max_steps=max_cg_steps,
            )
            return result.step, result.model_value
        model = _krylov.eigen_model(
            operator,
            gradient,
            solver=solver,
            subspace_size=subspace_size,
            key=key,
            explore=True,
        )
        step = _krylov.trust_region_minimizer(model.eigenvalues, model.gradient, radius=radius)
        value = jnp.sum(step * model.gradient + model.eigenvalues * step**2 / 2)
        with jax.default_matmul_precision("highest"):
            return step @ model.vectors, value

    def update(updates, state, params=None, *, value=None, value_fn=None, **extra_args):
        fun = objective("trust_region", updates, params, value_fn, extra_args)
        if is_empty(updates):
            return updates, state
        gradient, operator, unravel = linearized(fun, params, updates)
        step, model_value = solve(operator, gradient, state.radius)
        trial = unravel(step)

        dtype = gradient.dtype
        before = jnp.asarray(fun(params) if value is None else value, dtype)
        after = jnp.asarray(fun(jax.tree.map(jnp.add, params, trial)), dtype)
        # Near a minimum both decreases are smaller than the rounding of f. Adding that rounding to
        # both makes their ratio tend to 1 there, where noise would shrink the region step by step.
        info = jnp.finfo(dtype)
        noise = jnp.maximum(10 * info.eps * jnp.abs(before), info.tiny)
        predicted = jnp.maximum(-model_value, 0) + noise
        ratio = (before - after + noise) / predicted
        ratio = jnp.where(jnp.isfinite(after), ratio, -jnp.inf)

        # The next radius, and whether the trial is taken.
        length = jnp.linalg.norm(step)
        at_boundary = length >= 0.99 * state.radius
        grown = jnp.minimum(2 * state.radius, jnp.asarray(max_radius, dtype))
        radius = jnp.where((ratio >= 0.75) & at_boundary, grown, state.radius)
        # A step of length zero teaches nothing about the radius.
        radius = jnp.where((ratio < 0.25) & (length > 0), length / 4, radius)
        accepted = ratio > acceptance
        taken = jax.tree.map(lambda leaf: jnp.where(accepted, leaf, jnp.zeros_like(leaf)), trial)
        return taken, TrustRegionState(radius, ratio, accepted)

    return optax.GradientTransformationExtraArgs(init, update)
