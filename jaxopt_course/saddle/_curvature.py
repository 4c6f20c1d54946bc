r"""Curvature of an objective without its matrix: products and extreme eigenpairs.

    hvp(fun, x, v)                        d/dt grad f(x + t v) at t = 0
    gauss_newton_product(model, loss, x, v)   J^T H_loss J v
    fisher_product(model, x, v, family=...)   J^T F J v / N,  F of the model's own distribution
    empirical_fisher_product(losses, x, v)    sum over examples of g g^T v / N
    extreme_eigenpairs(fun, x, k=..., which="both", key=key)

`fun` is any objective from a pytree of parameters to a scalar: its Hessian is meant. One that has a
method `curvature(x)`, as `GaussNewton` in `_objectives.py` has, names another matrix. All is
computed at the highest matrix-multiplication precision, in the dtype of the parameters, float32 at
least.

The linear algebra is this package's own (`_krylov`), since others' does not serve: the Lanczos
method of matfree 0.6.3 gives Ritz values -17.9 to 21.9 for twice the identity and NaN for the zero
operator, and has neither restarts nor residuals; `jax.experimental.sparse.linalg.lobpcg_standard`
gives NaN on operators of low rank; lineax solves systems but has no eigenvalues.

Pearlmutter (1994), https://doi.org/10.1162/neco.1994.6.1.147; Wu and Simon (2000),
https://doi.org/10.1137/S0895479898334605.
"""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov
from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_flag,
    check_key,
    check_like,
    check_non_negative,
    check_one_of,
    check_real_floating,
    check_tangent,
    is_tracing,
)
from jaxopt_course._hearing import telling
from jaxopt_course._memory import check_rows
from jaxopt_course._platforms import spacing
from jaxopt_course._progress import Bar, shown
from jaxopt_course._reading import Reading, how_many, listed, number, readable, spread
from jaxopt_course._streams import stream
from jaxopt_course._tracing import inspect_objective
from jaxopt_course.saddle._objectives import gauss_newton_map

_TOLD_EVERY = 10
"""Products after which a callback is told, if no restart was before."""


@readable
@flax.struct.dataclass
class Eigenpairs:
    """Extreme eigenpairs of a Hessian; under `vmap` every field has a leading axis.

    Attributes:
        eigenvalues: Shape (k,), or (2 k,) for both ends: the smallest in ascending order, then the
            largest in ascending order.
        eigenvectors: Pytree like the parameters, with a leading axis as long as `eigenvalues`;
            orthonormal over all leaves together.
        residual_norms: Same shape as `eigenvalues`; |A v - lambda v| of a fresh product. Some
            eigenvalue of A lies within this distance of `lambda`.
        converged: Same shape, bool; whether the residual norm is within tolerance times
            `operator_norm`. A value that is not converged is no eigenvalue.
        operator_norm: Scalar; the largest |Ritz value| seen, a lower bound on |A|.
        precision_floor: Scalar; measured rounding error of the products in this dtype. Smaller
            residuals, and the sign of smaller eigenvalues, mean nothing.
        num_products: Scalar int; products with A.
        finite: Scalar bool; False where a product was infinite or NaN, and nothing is converged.
    """

    eigenvalues: jax.Array
    eigenvectors: chex.ArrayTree
    residual_norms: jax.Array
    converged: jax.Array
    operator_norm: jax.Array
    precision_floor: jax.Array
    num_products: jax.Array
    finite: jax.Array

    def _reading(self) -> Reading | None:
        """The eigenvalues, and how far they are to be trusted."""
        if np.ndim(self.eigenvalues) != 1:
            return None
        found, good = np.size(self.eigenvalues), int(np.sum(np.asarray(self.converged)))
        trusted = "all converged" if good == found else f"{good} converged"
        rows = [
            ("eigenvalues", listed(self.eigenvalues)),
            ("residual norms", spread(self.residual_norms)),
        ]
        if good < found:
            rows.append(("not converged", listed(self.eigenvalues[~np.asarray(self.converged)])))
        rows += [
            ("largest seen", f"{number(self.operator_norm)} in absolute value"),
            ("rounding", f"signs of values up to {number(self.precision_floor)} mean nothing"),
            ("products", f"{int(self.num_products)} with the matrix"),
        ]
        if not bool(self.finite):
            rows.append(("not finite", "a product was infinite or NaN"))
        rows.append(("more", ".eigenvectors, .residual_norms, .converged"))
        return Reading(f"{how_many(found, 'eigenpair')}, {trusted}", rows)


@readable
class CurvatureProgress(NamedTuple):
    """How far a computation with many Hessian-vector products has come.

    Attributes:
        products: Products so far.
        at_most: Products after which it ends at the latest.
        residual: Largest residual norm, by estimate, of a pair that is sought, relative to the
            Hessian's size: the search ends when it is within tolerance. NaN where nothing is.
        seconds: Seconds since the first product.
        seconds_left: Seconds until `at_most` at the rate so far: a search ends earlier, mostly. NaN
            at the first product.
    """

    products: int
    at_most: int
    residual: float
    seconds: float = 0.0
    seconds_left: float = math.nan

    def _reading(self) -> Reading:
        """How many products there were."""
        told = f"{self.products} of at most {self.at_most} products"
        if not math.isnan(self.residual):
            told += f", residual {self.residual:.1e}"
        if not math.isnan(self.seconds_left):
            told += f", {self.seconds_left:.0f} s left at most"
        return Reading(told, [])


class Listening:
    """A callback that compiled code tells of products and of residuals.

    Args:
        callback: Takes a `CurvatureProgress`; None for nobody, of whom no code knows.
        at_most: Products after which the computation ends at the latest.
    """

    def __init__(self, callback: Callable[[CurvatureProgress], Any] | None, at_most: int) -> None:
        """Count from zero."""
        self._callback, self._at_most = callback, at_most
        self._products, self._heard, self._told, self._residual = 0, 0, 0, math.nan
        self._began: tuple[int, float] | None = None
        self._tell: Callable[..., None] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Listening":
        """Begin to listen."""
        if self._callback is not None:
            self._tell = self._stack.enter_context(telling(self._hear))
        return self

    def __exit__(self, *raised: Any) -> None:
        """Wait until all was heard."""
        self._stack.__exit__(*raised)

    @property
    def report(self) -> Callable[[Any, Any], None] | None:
        """For traced code: takes the products so far, and the largest residual or NaN."""
        tell = self._tell
        return None if tell is None else lambda products, residual: tell(products, residual)

    def counting(self, operator: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return an operator of whose every product the host hears."""
        tell = self._tell
        # In a program of the caller's own, which may be mapped over, restarts alone are told.
        if tell is None or is_tracing():
            return operator

        def counted(vector: jax.Array) -> jax.Array:
            # What the host is given has it wait for its turn.
            tell(-1, vector[0])
            return operator(vector)

        return counted

    def _hear(self, products: Any, residual: Any) -> None:
        """On the host: a product more if `products` is negative, else where the program stands."""
        one_more = int(products) < 0
        # A restart may be heard of before its last products are.
        if one_more:
            self._heard += 1
        else:
            self._residual = float(residual)
        self._products = max(self._products, self._heard, int(products))
        now = time.monotonic()
        first, since = self._began = self._began or (self._products, now)
        done, seconds = self._products - first, now - since
        left = seconds / done * max(self._at_most - self._products, 0) if done else math.nan
        news = CurvatureProgress(self._products, self._at_most, self._residual, seconds, left)
        # Others are told every so often between restarts, and of nothing twice.
        due = self._products >= self._told + _TOLD_EVERY if one_more else True
        fresh = self._products > self._told or not (one_more or math.isnan(self._residual))
        if self._callback is not None and due and fresh:
            self._told = self._products
            self._callback(news)
        elif isinstance(self._callback, Bar):
            self._callback.product(news)


def hvp(fun: Callable[[Any], jax.Array], x: chex.ArrayTree, v: chex.ArrayTree) -> chex.ArrayTree:
    """The product of the Hessian of `fun` at `x` with `v`, computed forward over reverse.

    For many products at one point, `jax.linearize(jax.grad(fun), x)` costs half as much a product.

    Args:
        fun: Objective from a pytree of real floating parameters to a scalar.
        x: The parameters.
        v: A pytree of the structure, shapes and dtypes of `x`.

    Returns:
        The product, a pytree like `x`.

    Raises:
        TypeError: if `fun` does not return a real scalar.

    Example:
        >>> print(hvp(lambda x: x[0] ** 2 * x[1], jnp.array([2.0, 3.0]), jnp.array([1.0, 0.0])))
        [6. 4.]
    """
    inspect_objective("fun", fun, x)
    check_tangent("v", v, "x", x)
    with jax.default_matmul_precision("highest"):
        return _krylov.hvp(fun, x, v)


def gauss_newton_product(
    model: Callable[[Any], Any],
    loss: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    v: chex.ArrayTree,
) -> chex.ArrayTree:
    """The product of the Gauss-Newton matrix of `loss(model(x))` with `v`.

    It is the Hessian without the curvature of the model: J^T H_loss J.

    Args:
        model: From parameters to outputs, any pytree.
        loss: From outputs to a scalar.
        x: The parameters.
        v: A pytree of the structure, shapes and dtypes of `x`.

    Returns:
        The product, a pytree like `x`.

    Raises:
        TypeError: if `loss(model(x))` is not a real scalar.

    Example:
        >>> print(gauss_newton_product(jnp.exp, jnp.sum, jnp.ones(2), jnp.ones(2)))
        [0. 0.]
    """
    for name, function in (("model", model), ("loss", loss)):
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {brief(function)}")
    check_real_floating("x", x)
    inspect_objective("loss(model)", lambda x: loss(model(x)), x)
    check_tangent("v", v, "x", x)
    return _rounded_once(lambda x, v: gauss_newton_map(model, loss, x)(v), x, v)


def fisher_product(
    model: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    v: chex.ArrayTree,
    *,
    family: Literal["categorical", "bernoulli", "gaussian"] = "categorical",
) -> chex.ArrayTree:
    """The product of the Fisher information of a model, a mean over N examples, with `v`.

    With o_j the outputs of example j, J_j their derivative by the parameters, and y drawn from the
    model's own distribution at o_j, not from the data,

        F = 1/N sum_j J_j^T E_y[s s^T] J_j,    s = d log p(y | o_j) / d o_j.

    The expectation is taken exactly: diag(p) - p p^T for softmax of logits, p (1 - p) for a sigmoid
    of a logit, 1 for the mean of a Gaussian of variance 1. For these it is the Gauss-Newton matrix
    of the mean negative log-likelihood. `empirical_fisher_product` is another matrix.

    Args:
        model: From parameters to outputs, an array with the examples as leading axis; logits of the
            classes along the last one, logits, or means.
        x: The parameters.
        v: A pytree of the structure, shapes and dtypes of `x`.
        family: The distribution of which the outputs are the natural parameters.

    Returns:
        The product, a pytree like `x`.

    Raises:
        TypeError: if `model` does not return a real array.
        ValueError: if that has no axis of examples (and one of classes), or `family` is unknown.

    Example:
        >>> model = lambda x: x * jnp.array([[1.0, -1.0], [0.0, 0.0]])
        >>> print(fisher_product(model, jnp.zeros(()), jnp.ones(())))
        0.5

    Reference:
        Martens (2020), https://arxiv.org/abs/1412.1193, sections 5 and 9.
    """
    check_callable(model=model)
    check_real_floating("x", x)
    check_tangent("v", v, "x", x)
    check_one_of(("categorical", "bernoulli", "gaussian"), family=family)
    _check_examples("model", model, x, least=2 if family == "categorical" else 1)

    def product(x: Any, v: Any) -> Any:
        outputs, jacobian = jax.linearize(model, x)
        along = jacobian(v)
        if family == "categorical":
            shares = jax.nn.softmax(outputs)
            along = shares * (along - jnp.sum(shares * along, axis=-1, keepdims=True))
        elif family == "bernoulli":
            along = jax.nn.sigmoid(outputs) * jax.nn.sigmoid(-outputs) * along
        return jax.linear_transpose(jacobian, x)(along / outputs.shape[0])[0]

    return _rounded_once(product, x, v)


def empirical_fisher_product(
    losses: Callable[[Any], jax.Array], x: chex.ArrayTree, v: chex.ArrayTree
) -> chex.ArrayTree:
    """The product of the empirical Fisher matrix, the mean of g_j g_j^T over examples, with `v`.

    With g_j the gradient of example j's loss at its own label: the second moment, not centred, of
    the gradients. It is not the Fisher information, whose labels are drawn from the model: both
    agree in expectation only where the data follow the model's distribution, and elsewhere, near a
    minimum that fits all labels above all, this one is smaller without being less curved.

    Args:
        losses: From parameters to the losses of the examples, shape `(N,)`.
        x: The parameters.
        v: A pytree of the structure, shapes and dtypes of `x`.

    Returns:
        The product, a pytree like `x`.

    Raises:
        TypeError: if `losses` does not return a real array.
        ValueError: if that has another shape.

    Example:
        >>> losses = lambda x: x * jnp.array([1.0, 3.0])
        >>> print(empirical_fisher_product(losses, jnp.zeros(()), jnp.ones(())))
        5.0

    Reference:
        Kunstner, Balles and Hennig (2019), https://arxiv.org/abs/1905.12558.
    """
    check_callable(losses=losses)
    check_real_floating("x", x)
    check_tangent("v", v, "x", x)
    _check_examples("losses", losses, x, least=1, most=1)

    def product(x: Any, v: Any) -> Any:
        values, jacobian = jax.linearize(losses, x)
        return jax.linear_transpose(jacobian, x)(jacobian(v) / values.shape[0])[0]

    return _rounded_once(product, x, v)


def _rounded_once(product: Callable[[Any, Any], Any], x: Any, v: Any) -> Any:
    """Compute `product(x, v)` in full precision, half widened, and round it to the types of x."""
    with jax.default_matmul_precision("highest"):
        found = product(_krylov.half_widened(x), _krylov.half_widened(v))
    return _krylov.rounded_like(found, x)


def _check_examples(
    name: str, fun: Callable[[Any], Any], x: Any, *, least: int, most: int | None = None
) -> None:
    """Raise unless `fun` returns a real array with examples, of so many axes."""
    out = jax.eval_shape(lambda x: fun(_krylov.half_widened(x)), x)
    if not isinstance(out, jax.ShapeDtypeStruct) or not jnp.issubdtype(out.dtype, jnp.floating):
        raise TypeError(f"{name} must return a real floating array, got {brief(out)}")
    if out.ndim < least or (most is not None and out.ndim > most) or not out.size:
        wanted = "(N,)" if most == 1 else "(N, classes)" if least == 2 else "(N, ...)"
        raise ValueError(f"{name} must return an array of shape {wanted}, got {out.shape}")


@shown("products", left="left at most")
def extreme_eigenpairs(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    k: int = 1,
    which: Literal["smallest", "largest", "both"] = "smallest",
    key: jax.Array,
    start: chex.ArrayTree | None = None,
    tolerance: float | None = None,
    basis_size: int | None = None,
    max_products: int = 2_000,
    check_copies: bool = True,
    callback: Callable[[CurvatureProgress], Any] | None = None,
    progress: bool = False,
) -> Eigenpairs:
    """The smallest or largest eigenvalues of the Hessian and their vectors, or both ends at once.

    Thick-restarted Lanczos with full re-orthogonalization. Small problems (n up to `basis_size`,
    or 32) are diagonalized.

    Args:
        fun: Objective from a pytree of parameters to a scalar, or one with a `curvature` of its
            own.
        x: The parameters, n numbers in all.
        k: Pairs wanted at each end.
        which: The end.
        key: Typed PRNG key; the same key gives the same result.
        start: First direction, a pytree of the structure and shapes of `x`: near to what is sought
            it saves products. Where it lies in a space that A does not leave, nothing outside of it
            is found. A random one by default, or if it is zero.
        tolerance: Residual norm to reach, relative to |A|; eps^0.6 of the dtype by default (4e-10
            in float64, 7e-5 in float32).
        basis_size: Vectors of n numbers kept; by default 20 more than twice the pairs. The memory
            is that of about three times as many, beside that of a product.
        max_products: Products at which the restarts end at the latest.
        check_copies: Whether to search again for missing copies of multiple eigenvalues, for about
            twice the products.
        callback: Called on the host with a `CurvatureProgress` after every restart and, but within
            `jit` and `vmap`, after ten products without one. The call returns once it has heard
            all; another callback compiles nothing anew.
        progress: Whether to show a bar, as in `escape`: products so far, and the time that is left
            at most. It ends early, once the residual is within `tolerance`.

    Returns:
        The pairs, their residuals, and what the precision allowed.

    Raises:
        TypeError: if `fun` does not return a real scalar, or `key` is no typed key.
        ValueError: if two evaluations of `fun` differ, `start` is not like `x`, or `k`, `which`,
            `basis_size`, `max_products` or `tolerance` is out of range.
        MemoryError: before the first product, if the basis will not fit; not within `jit`.

    Example:
        >>> pairs = extreme_eigenpairs(lambda x: x["a"] ** 2 - 3 * x["b"] ** 2,
        ...                            {"a": 1.0, "b": 1.0}, which="both", key=jax.random.key(0))
        >>> pairs.eigenvalues.tolist(), pairs.converged.tolist()
        ([-6.0, 2.0], [True, True])
    """
    check_count(k=k, max_products=max_products)
    check_count(basis_size=basis_size, optional=True)
    check_flag(check_copies=check_copies, progress=progress)
    check_one_of(("smallest", "largest", "both"), which=which)
    check_key(key=key)
    check_non_negative(tolerance=tolerance, optional=True)
    check_callable(callback=callback, optional=True)
    # The matrix, as a map on vectors, and where the search begins.
    zero, operator, unravel = curvature_operator(fun, x)
    first = zero
    if start is not None:
        check_real_floating("start", start)
        check_like("start", start, "x", x)
        first = _krylov.flatten(start)[0].astype(zero.dtype)
    # How many pairs at which end, and how many rows for them.
    smallest = k if which != "largest" else 0
    largest = k if which != "smallest" else 0
    wanted = smallest + largest
    if wanted > zero.size:
        raise ValueError(
            f"k must be at most {zero.size // (wanted // k)} for {zero.size} parameters and "
            f"which={which!r}, got {k}"
        )
    rows = 2 * wanted + 20 if basis_size is None else basis_size
    check_rows(rows, zero, f"a basis_size from {wanted + 2} on needs less")
    with Listening(callback, max_products) as listening:
        pairs = _krylov.extreme_eigenpairs(
            listening.counting(operator),
            first,
            num_smallest=smallest,
            num_largest=largest,
            key=stream(key, "eigenpairs"),
            tolerance=tolerance,
            basis_size=rows,
            # A restart replaces two thirds of the rows that are not wanted.
            max_restarts=max(3 * (max_products - rows) // (2 * max(rows - wanted, 1)), 0),
            check_copies=check_copies,
            # Near an eigenvector residuals are small at once, and what has overtaken it is seen by
            # the rest of the basis alone.
            look_every=None if check_copies or start is not None else max(rows // 6, 1),
            report=listening.report,
        )
    # What a plain run's projection has outside three diagonals is the rounding of the products.
    if isinstance(pairs.evidence, _krylov.Projection):
        floor = _krylov.rounding_level(pairs.evidence.projected)
    else:
        floor = spacing(zero.dtype) * pairs.operator_norm
    return Eigenpairs(
        eigenvalues=pairs.eigenvalues,
        eigenvectors=jax.vmap(unravel)(pairs.eigenvectors),
        residual_norms=pairs.residual_norms,
        converged=pairs.converged,
        operator_norm=pairs.operator_norm,
        precision_floor=floor,
        num_products=pairs.num_products,
        finite=jnp.isfinite(pairs.operator_norm) & jnp.all(jnp.isfinite(pairs.residual_norms)),
    )


class Curvature(NamedTuple):
    """A symmetric matrix at a point, by its products.

    Attributes:
        zero: Shape (n,), zeros; its dtype is that of all computations, float32 at least.
        operator: v -> A v on such vectors.
        unravel: From such a vector to a pytree like the parameters, but in that dtype: the entries
            of an eigenvector are not worth less because the parameters are stored in half.
    """

    zero: jax.Array
    operator: Callable[[jax.Array], jax.Array]
    unravel: Callable[[jax.Array], Any]


def curvature_operator(fun: Callable[[Any], jax.Array], x: chex.ArrayTree) -> Curvature:
    """Inspect `fun` and take its curvature at `x`: its own `curvature(x)`, or its Hessian.

    Args:
        fun: Objective from a pytree of parameters to a scalar.
        x: The parameters.

    Returns:
        The operator and its space.
    """
    inspect_objective("fun", fun, x)
    flat, unravel = _krylov.flatten_wide(x)
    if hasattr(fun, "curvature"):
        product = fun.curvature(unravel(flat))

        def operator(v: jax.Array) -> jax.Array:
            return _krylov.flatten(product(unravel(v)))[0].astype(flat.dtype)
    else:
        _, operator = _krylov.flat_hessian(fun, x)
    return Curvature(jnp.zeros_like(flat), _precise(operator), unravel)


def _precise(operator: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    def product(v: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return operator(v)

    return product
