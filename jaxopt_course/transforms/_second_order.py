"""What rules have in common that look at the objective itself, not only at its gradient.

They take it as `optax.lbfgs` does, `update(updates, state, params, value_fn=fun)`, and they look
at the curvature along a few orthonormal directions: all of them, or a Krylov space.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov
from jaxopt_course._brief import brief
from jaxopt_course._checks import check_arrays, check_like, check_real_floating, check_value
from jaxopt_course._platforms import spacing
from jaxopt_course._tracing import trace_objective
from jaxopt_course.transforms._protocol import Filling, has_masked


def objective(
    rule: str,
    updates: Any,
    params: Any,
    value_fn: Callable[..., jax.Array] | None,
    extra_args: dict[str, Any],
) -> Callable[[Any], jax.Array]:
    """Take the objective out of the arguments of `update`, as a function of the parameters alone.

    Args:
        rule: Name of the optimizer, for the errors.
        updates: What `update` got as updates, only to be checked.
        params: What `update` got as params.
        value_fn: What `update` got as value_fn; `obj_fn` among the extra arguments serves as well.
        extra_args: The other arguments of `update`. Those that the objective has parameters for
            (a batch of data, say) are passed on to it.

    Raises:
        ValueError: if params or the objective is missing, the updates are not like the params, or a
            mask has taken params away that the objective needs, or two traces of it differ.
        TypeError: if a parameter or an update is not a real floating array.
    """
    fun = extra_args.get("obj_fn") if value_fn is None else value_fn
    missing = "params" if params is None else "value_fn" if fun is None else None
    if missing is not None or fun is None:
        raise ValueError(
            f"{rule} needs {missing}: call optimizer.update(grads, state, params, value=value, "
            "grad=grads, value_fn=fun), where fun maps params to a scalar"
        )
    for name, tree in (("params", params), ("updates", updates)):
        check_real_floating(name, tree)
        check_arrays(name, tree)
    check_like("updates", updates, "params", params)
    if not callable(fun):
        raise TypeError(f"value_fn must be a function of the parameters, got {brief(fun)}")
    if has_masked(params) and not isinstance(fun, Filling):
        raise ValueError(
            f"{rule} got parameters of which a mask has taken some, and a value_fn of all of them: "
            "give the masked optimizer value_fn=transforms.fill_masked(fun, params) with the whole "
            "params, or wrap it by transforms.adapt"
        )
    # The first parameter of the objective takes the parameters, whatever its name is.
    _, *accepted = inspect.signature(fun).parameters
    own = ("value", "grad", "obj_fn")
    data = {name: extra_args[name] for name in accepted if name in extra_args and name not in own}

    def value(x):
        out = fun(x, **data)
        check_value("value_fn", out)
        return out

    if not getattr(fun, "is_deterministic", False):  # Its maker has compared traces.
        trace_objective("value_fn", value, params)
    return value


def is_empty(updates: Any) -> bool:
    """Whether there is no number in the tree: then there is no Hessian and nothing to do."""
    return not any(leaf.size for leaf in jax.tree.leaves(updates))


def scalar_dtype(params: Any) -> Any:
    """Return the dtype that norms and curvatures of `params` are computed in: at least float32."""
    check_real_floating("params", params)
    check_arrays("params", params)
    return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in jax.tree.leaves(params)))


def check_subspace_size(subspace_size: Any) -> None:
    """Raise TypeError unless the size of a subspace is None or a positive integer, not traced."""
    if subspace_size is not None and (
        not isinstance(subspace_size, int | np.integer)
        or isinstance(subspace_size, bool)
        or not 0 < subspace_size < 2**31
    ):
        raise TypeError(
            f"subspace_size must be a positive integer, got {brief(subspace_size)}; "
            "optax.inject_hyperparams needs static_args=('subspace_size',)"
        )


def linearized(
    fun: Callable[[Any], jax.Array], params: Any, updates: Any
) -> tuple[jax.Array, _krylov.Operator, Callable[[jax.Array], Any]]:
    """Flatten the updates and the Hessian at `params` into one dtype.

    Returns:
        The updates as a vector, the operator v -> H v on such vectors, and the function from a
        vector back to a tree like the updates.
    """
    gradient, unravel = _krylov.flatten(updates)
    _, operator = _krylov.flat_hessian(fun, params)
    return gradient.astype(scalar_dtype(params)), operator, unravel


def divide(coefficients: jax.Array, eigenvalues: jax.Array) -> jax.Array:
    """Divide by eigenvalues, giving zero where one is zero beside the largest."""
    eps = spacing(eigenvalues.dtype)
    largest = jnp.max(jnp.abs(eigenvalues))
    # Not >=, or the zero matrix divides by zero.
    regular = jnp.abs(eigenvalues) > eigenvalues.shape[0] * eps * largest
    return jnp.where(regular, coefficients / jnp.where(regular, eigenvalues, 1), 0)
