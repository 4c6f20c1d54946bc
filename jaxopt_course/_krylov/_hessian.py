"""Hessian-vector products, and Hessians as operators on flat vectors.

    (d^2 f(x)) v = d/dt grad f(x + t v) at t = 0

which is one forward-mode derivative of the gradient: about twice the cost of a gradient, and no
matrix is formed. Pearlmutter (1994), https://doi.org/10.1162/neco.1994.6.1.147.

A function with `jax.custom_vjp` rules may have no forward mode. As the Hessian is symmetric, it is
then multiplied by the reverse mode of the gradient, for a little more time and memory:

    (d^2 f(x)) v = grad of <grad f(.), v> at x.

`product_of_hessian` is where this is decided, for the whole library.

Parameters in half precision are widened before anything is computed: the point is where it is, up
to its rounding, but vectors, gradients and products are not rounded. Lanczos's method is lost
otherwise: of a random 60 x 60 matrix it took 1,706 products to residuals of 0.03 with vectors in
bfloat16, and takes 74 to 1e-5 without.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, jaxprs_in_params

from jaxopt_course import _loops
from jaxopt_course._krylov._vectors import flatten, flatten_wide

Operator = Callable[[jax.Array], jax.Array]

# Columns of a dense Hessian computed at once: enough to fill the cores, little enough that a
# network's activations times the chunk stay in memory.
_CHUNK = 64
# What JAX raises for a forward-mode derivative of a function with `jax.custom_vjp` rules: the first
# for the function itself, the second for a derivative of it.
_REFUSALS = {TypeError: "(jvp) to a custom_vjp", NotImplementedError: "'custom_lin'"}


def is_forward_refused(error: Exception) -> bool:
    """Whether JAX refused a forward-mode derivative because of a `jax.custom_vjp` rule."""
    return any(isinstance(error, kind) and text in str(error) for kind, text in _REFUSALS.items())


def product_of_hessian(fun: Callable[[Any], jax.Array], x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The gradient of `fun` at `x` and the linear map `v -> H v`, by whichever mode there is.

    Args:
        fun: Objective from a pytree of real floating parameters to a scalar.
        x: The parameters.

    Returns:
        The gradient, and the map from and to pytrees like `x`: forward over reverse, or reverse
        over reverse where `jax.custom_vjp` rules in `fun` rule forward mode out.

    Raises:
        TypeError: if such a rule can be differentiated in neither way.
    """
    try:
        gradient, product = jax.linearize(jax.grad(fun), x)
        # A rule that was called in a derivative shows only in what is linear: when it is run.
        if not _holds(jax.make_jaxpr(product)(x).jaxpr, "custom_lin"):
            return gradient, product
    except (TypeError, NotImplementedError) as error:
        if not is_forward_refused(error):
            raise
    try:
        gradient, pullback = jax.vjp(jax.grad(fun), x)
        jax.eval_shape(pullback, x)
    except Exception as error:
        raise TypeError(
            "the objective has no second derivative that JAX can compute: it holds a function "
            "with jax.custom_vjp whose rules can be differentiated neither forward nor backward; "
            "write them in differentiable operations, or leave the rule out where curvature is "
            "wanted"
        ) from error
    return gradient, lambda v: pullback(v)[0]


def hvp(fun: Callable[[Any], jax.Array], x: Any, v: Any) -> Any:
    """The Hessian of `fun` at `x` times `v`.

    Args:
        fun: Objective from a pytree of real floating parameters to a scalar.
        x: The parameters.
        v: A pytree of the structure, shapes and dtypes of `x`.

    Returns:
        The product, a pytree like `x`.

    Example:
        >>> hvp(lambda x: x["a"] ** 2 * x["b"], {"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 0.0})
        {'a': Array(6., dtype=float32, weak_type=True),
         'b': Array(4., dtype=float32, weak_type=True)}
    """
    at, along = half_widened(x), half_widened(v)
    try:
        product = jax.jvp(jax.grad(fun), (at,), (along,))[1]
    except (TypeError, NotImplementedError) as error:
        if not is_forward_refused(error):
            raise
        product = product_of_hessian(fun, at)[1](along)
    return rounded_like(product, x)


def flat_hessian(fun: Callable[[Any], jax.Array], x: Any) -> tuple[jax.Array, Operator]:
    """Linearize the gradient of `fun` once, for many Hessian-vector products.

    The forward pass is made here and its intermediate values are kept, so a product costs about
    half of what `hvp` does.

    Args:
        fun: Objective from a pytree of real floating parameters to a scalar. It is called with
            parameters that are widened as by `flatten_wide`.
        x: The parameters, n numbers in all.

    Returns:
        The gradient at `x`, shape (n,), and the operator that multiplies a vector of shape (n,)
        by the Hessian at `x`, both in the dtype and order of `flatten(x)`.
    """
    flat, unravel = flatten_wide(x)
    with jax.default_matmul_precision("highest"):
        gradient, product = product_of_hessian(fun, unravel(flat))
    return flatten(gradient)[0], lambda vector: flatten(product(unravel(vector)))[0]


def dense(operator: Operator, dimension: int, dtype: Any) -> jax.Array:
    """Form the symmetric matrix of `operator`, in chunks of columns.

    Args:
        operator: Symmetric linear map on vectors of shape (dimension,).
        dimension: n, the number of columns.
        dtype: Floating dtype of the vectors.

    Returns:
        The matrix, shape (n, n), symmetric to the last bit.
    """
    columns = _loops.map(operator, jnp.eye(dimension, dtype=dtype), batch_size=_CHUNK)
    return (columns + columns.T) / 2


def half_widened(tree: Any) -> Any:
    """The tree with leaves in half precision widened to float32, and others as they are."""

    def widened(leaf: Any) -> Any:
        narrow = jnp.finfo(jnp.result_type(leaf)).bits < 32
        return jnp.asarray(leaf, jnp.float32) if narrow else leaf

    return jax.tree.map(widened, tree)


def rounded_like(tree: Any, like: Any) -> Any:
    """The tree with its leaves in the dtypes of those of another one."""

    def rounded(leaf: jax.Array, model: Any) -> jax.Array:
        dtype = jnp.result_type(model)
        return leaf if leaf.dtype == dtype else leaf.astype(dtype)

    return jax.tree.map(rounded, tree, like)


def _holds(jaxpr: Jaxpr, primitive: str) -> bool:
    """Whether an equation of the jaxpr, or of one within it, is of the primitive of that name."""
    return any(
        equation.primitive.name == primitive
        or any(_holds(inner, primitive) for inner in jaxprs_in_params(equation.params))
        for equation in jaxpr.eqns
    )
