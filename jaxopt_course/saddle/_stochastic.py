r"""Trace, diagonal and spectral density of a Hessian from random vectors, with standard errors.

**Trace and diagonal.** With z a vector of independent random signs,

    E[z^T A z] = tr A,    E[z * (A z)] = diag A    (Hutchinson; Bekas, Kokiopoulou and Saad),

and the variances are twice, and once, the sum of squares off the diagonal. Where few eigenvalues
dominate, as in networks, it pays to treat their space exactly: with Q an orthonormal basis of the
range of A on random vectors,

    tr A = tr Q^T A Q + tr (I - Q Q^T) A (I - Q Q^T)          (Hutch++),
    diag A = diag Q Q^T A + diag (I - Q Q^T) A                (Diag++),

the first terms computed, the second estimated. For semidefinite A the error of the trace falls as
1 / products instead of 1 / sqrt(products).

Hutchinson (1989), https://doi.org/10.1080/03610918908812806; Meyer, Musco, Musco and Woodruff
(2021), https://arxiv.org/abs/2010.09649; Bekas, Kokiopoulou and Saad (2007),
https://doi.org/10.1016/j.apnum.2007.01.003; Baston and Nakatsukasa (2022),
https://arxiv.org/abs/2201.10684.

**Density**, by stochastic Lanczos quadrature. m steps of Lanczos's method from a unit vector z give
a tridiagonal T with eigenpairs (theta_j, y_j) and the Gauss quadrature rule

    z^T f(A) z ~ sum_j w_j f(theta_j),    w_j = (first entry of y_j)^2,    sum_j w_j = 1,

exact for polynomials f of degree 2 m - 1. Averaged over random z it estimates tr f(A) / n, and the
rules themselves are the density of eigenvalues, seen through m nodes a probe. Each probe is an
independent sample of everything computed from it: hence the standard errors.

Golub and Welsch (1969), https://doi.org/10.1090/S0025-5718-69-99647-1; Ubaru, Chen and Saad (2017),
https://doi.org/10.1137/16M1104974; Ghorbani, Krishnan and Xiao (2019),
https://arxiv.org/abs/1901.10159.
"""

from collections.abc import Callable
from typing import Any, Literal

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import _krylov, _loops
from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_flag,
    check_integer,
    check_key,
    check_one_of,
    check_positive,
)
from jaxopt_course._memory import check_rows
from jaxopt_course._progress import shown
from jaxopt_course._reading import LISTED, Reading, how_many, number, part, readable, spread
from jaxopt_course._streams import stream
from jaxopt_course.saddle._curvature import CurvatureProgress, Listening, curvature_operator

Operator = Callable[[jax.Array], jax.Array]


@readable
@flax.struct.dataclass
class Estimate:
    """A random estimate; under `vmap` every field has a leading axis.

    Attributes:
        value: The estimate: a scalar for a trace, a pytree like the parameters for a diagonal, an
            array over a grid for a density.
        standard_error: Of the same shapes: estimated standard deviation of `value` over keys.
        num_products: Scalar int; products with A.
        finite: Scalar bool; False where a product was infinite or NaN, and `value` is then, too.
    """

    value: chex.ArrayTree
    standard_error: chex.ArrayTree
    num_products: jax.Array
    finite: jax.Array

    def _reading(self) -> Reading | None:
        """The estimate with its standard error."""
        if np.ndim(self.num_products):
            return None
        products = how_many(int(self.num_products), "product")
        rows = [] if bool(self.finite) else [("not finite", "a product was infinite or NaN")]
        leaves = jax.tree.leaves(self.value)
        if len(leaves) == 1 and np.ndim(leaves[0]) == 0:
            (error,) = jax.tree.leaves(self.standard_error)
            told = f"{number(leaves[0])} with a standard error of {float(error):.2g}"
            return Reading(f"{told}, from {products}", rows)
        several = len(leaves) > 1
        for (path, leaf), error in zip(
            jax.tree.leaves_with_path(self.value)[:LISTED],
            jax.tree.leaves(self.standard_error),
            strict=False,
        ):
            label = f"value{jax.tree_util.keystr(path)}" if several else "value"
            rows += [(label, part(leaf)), ("  its error", spread(error))]
        return Reading(f"estimates from {products}", rows)


@shown("products")
def trace(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    num_probes: int,
    key: jax.Array,
    method: Literal["hutchinson", "hutch++"] = "hutchinson",
    callback: Callable[[CurvatureProgress], Any] | None = None,
    progress: bool = False,
) -> Estimate:
    """The trace of the Hessian of `fun` at `x`, estimated from products with random vectors.

    Args:
        fun: Objective from a pytree of parameters to a scalar, or one with a `curvature` of its
            own.
        x: The parameters, n numbers in all.
        num_probes: Products to spend; Hutch++ spends a third each on finding the space, on its
            trace and on the rest, and keeps as many vectors of n numbers.
        key: Typed PRNG key.
        method: Hutch++ is the better the faster the eigenvalues fall off.
        callback: Called on the host after every probe with a `CurvatureProgress`.
        progress: Whether to show a bar, as in `escape`: products so far, and time left.

    Returns:
        The estimate with its standard error. The rounding of a product comes on top.

    Raises:
        TypeError: if `fun` does not return a real scalar, or `key` is no typed key.
        ValueError: if two evaluations of `fun` differ, or `num_probes` is too small for a standard
            error.
        MemoryError: before the first product, if the vectors kept will not fit; not within `jit`.

    Example:
        >>> estimate = trace(lambda x: jnp.sum(x**4), jnp.ones(3), num_probes=4,
        ...                  key=jax.random.key(0))
        >>> print(estimate.value, estimate.standard_error)
        36.0 0.0
    """
    check_one_of(("hutchinson", "hutch++"), method=method)
    check_flag(progress=progress)
    check_integer(num_probes=num_probes)
    check_callable(callback=callback, optional=True)
    zero, product, _ = curvature_operator(fun, x)
    with Listening(callback, num_probes) as listening:
        operator = listening.counting(product)
        basis, images, probes = _split(operator, zero, num_probes, key, deflate=method == "hutch++")

        def sample(key: jax.Array) -> jax.Array:
            z = _without(basis, jax.random.rademacher(key, zero.shape, zero.dtype))
            return jnp.matmul(z, operator(z), precision="highest")

        exact = jnp.sum(basis * images)
        mean, error, finite = _mean_and_error(sample, probes, num_probes, listening.report)
    return Estimate(exact + mean, error, jnp.asarray(num_probes), finite & jnp.isfinite(exact))


@shown("products")
def diagonal(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    num_probes: int,
    key: jax.Array,
    method: Literal["hutchinson", "diag++"] = "hutchinson",
    callback: Callable[[CurvatureProgress], Any] | None = None,
    progress: bool = False,
) -> Estimate:
    """The diagonal of the Hessian of `fun` at `x`, estimated from products with random vectors.

    Args:
        fun: Objective from a pytree of parameters to a scalar, or one with a `curvature` of its
            own.
        x: The parameters, n numbers in all.
        num_probes: Products to spend, as in `trace`.
        key: Typed PRNG key.
        method: As in `trace`; Diag++ is to the diagonal what Hutch++ is to the trace.
        callback: As in `trace`.
        progress: As in `trace`.

    Returns:
        The estimate, a pytree like `x`, with the standard error of every entry.

    Raises:
        TypeError: if `fun` does not return a real scalar, or `key` is no typed key.
        ValueError: if two evaluations of `fun` differ, or `num_probes` is too small for a standard
            error.
        MemoryError: before the first product, if the vectors kept will not fit; not within `jit`.

    Example:
        >>> estimate = diagonal(lambda x: jnp.sum(x**4), jnp.array([1.0, 2.0]), num_probes=2,
        ...                     key=jax.random.key(0))
        >>> print(estimate.value, estimate.standard_error)
        [12. 48.] [0. 0.]
    """
    check_one_of(("hutchinson", "diag++"), method=method)
    check_flag(progress=progress)
    check_integer(num_probes=num_probes)
    check_callable(callback=callback, optional=True)
    zero, product, unravel = curvature_operator(fun, x)
    with Listening(callback, num_probes) as listening:
        operator = listening.counting(product)
        basis, images, probes = _split(operator, zero, num_probes, key, deflate=method == "diag++")

        def sample(key: jax.Array) -> jax.Array:
            z = jax.random.rademacher(key, zero.shape, zero.dtype)
            return z * _without(basis, operator(z))

        exact = jnp.sum(basis * images, axis=0)
        mean, error, finite = _mean_and_error(sample, probes, num_probes, listening.report)
    finite = finite & jnp.all(jnp.isfinite(exact))
    return Estimate(unravel(exact + mean), unravel(error), jnp.asarray(num_probes), finite)


@readable
@flax.struct.dataclass
class SpectralDensity:
    """Quadrature rules for the spectrum, one a probe; under `vmap` every field has a leading axis.

    Attributes:
        nodes: Shape (num_probes, num_steps), ascending in each row. Single nodes inside the
            spectrum are no eigenvalues; isolated ones at its ends approach eigenvalues.
        weights: Same shape; non-negative, each row sums to 1.
        num_products: Scalar int; products with A.
        finite: Scalar bool; False where a product was infinite or NaN, and nodes are then, too.
    """

    nodes: jax.Array
    weights: jax.Array
    num_products: jax.Array
    finite: jax.Array

    def _reading(self) -> Reading | None:
        """Where the spectrum lies, its mean and the share below zero."""
        if np.ndim(self.nodes) != 2:
            return None
        mean, below = self.moments(1), self.cumulative(jnp.zeros(1))
        value, error = (np.asarray(one)[1] for one in (mean.value, mean.standard_error))
        share, apart = (np.asarray(one)[0] for one in (below.value, below.standard_error))
        probes, steps = np.shape(self.nodes)
        rows = [
            ("between", f"{number(jnp.min(self.nodes))} and {number(jnp.max(self.nodes))}"),
            ("mean", f"{value:.4g} with a standard error of {error:.2g}"),
            ("up to zero", f"{share:.1%} of the eigenvalues, standard error {apart:.1%}"),
            ("products", f"{int(self.num_products)} with the matrix"),
        ]
        if not bool(self.finite):
            rows.append(("not finite", "a product was infinite or NaN"))
        rows.append(("more", ".density(grid), .cumulative(grid), .moments(2); plot.density(it)"))
        made = f"{how_many(probes, 'random vector')} and {how_many(steps, 'step')} of Lanczos"
        return Reading(f"the density of a spectrum, from {made}", rows)

    def expectation(self, function: Callable[[jax.Array], jax.Array]) -> Estimate:
        """The mean of a function over all eigenvalues, `tr function(A) / n`, estimated.

        Args:
            function: From nodes to values, with any number of axes behind those of the nodes.

        Returns:
            The mean over probes and its standard error, of the shape of those further axes.
        """
        values = function(self.nodes)
        weights = self.weights.reshape(self.weights.shape + (1,) * (values.ndim - 2))
        probes = jnp.sum(weights * values, axis=1)
        error = jnp.std(probes, axis=0, ddof=1) / probes.shape[0] ** 0.5
        mean = jnp.mean(probes, axis=0)
        return Estimate(mean, error, self.num_products, self.finite)

    def moments(self, order: int) -> Estimate:
        """The moments `tr A^p / n` for p = 0, ..., order, estimated.

        Args:
            order: The highest power; unbiased up to twice the number of steps less one.

        Returns:
            Arrays of shape (order + 1,).
        """
        powers = jnp.arange(order + 1)
        return self.expectation(lambda nodes: nodes[..., None] ** powers[None, None])

    def density(self, grid: jax.Array, width: chex.Numeric | None = None) -> Estimate:
        """The density of eigenvalues at the points of a grid, smoothed by a Gaussian.

        Args:
            grid: Shape (g,), where to evaluate.
            width: Standard deviation of the Gaussian; by default a hundredth of the distance
                between the outermost nodes. Narrower than their spacing, the nodes show as teeth.

        Returns:
            Density per unit of eigenvalue, shape (g,), with its standard error; it integrates to 1.
        """
        if width is None:
            width = 0.01 * (jnp.max(self.nodes) - jnp.min(self.nodes))
            # All eigenvalues are one: any width shows that.
            width = jnp.where(width > 0, width, 1)
        check_positive(width=width)
        grid = jnp.asarray(grid, self.nodes.dtype)[None, None]
        return self.expectation(
            lambda nodes: jax.scipy.stats.norm.pdf(grid, nodes[..., None], width)
        )

    def cumulative(self, grid: jax.Array) -> Estimate:
        """The share of eigenvalues up to each point of a grid, estimated without smoothing.

        Args:
            grid: Shape (g,).

        Returns:
            Shares in [0, 1], shape (g,), with their standard error. The quadrature adds an error of
            about the weight of the nodes next to a grid point.
        """
        grid = jnp.asarray(grid, self.nodes.dtype)[None, None]
        return self.expectation(lambda nodes: (nodes[..., None] <= grid).astype(nodes.dtype))


@shown("products")
def spectral_density(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    num_steps: int,
    num_probes: int,
    key: jax.Array,
    reorthogonalize: bool = False,
    callback: Callable[[CurvatureProgress], Any] | None = None,
    progress: bool = False,
) -> SpectralDensity:
    """The spectral density of the Hessian of `fun` at `x`, estimated by Lanczos's method.

    Args:
        fun: Objective from a pytree of parameters to a scalar, or one with a `curvature` of its
            own.
        x: The parameters, n numbers in all.
        num_steps: Lanczos steps a probe, nodes of its rule; cut at n.
        num_probes: Random vectors, two at least; they are run one after another.
        key: Typed PRNG key.
        reorthogonalize: Whether to orthogonalize every Lanczos vector against all before it, for
            memory of num_steps n numbers and, for each step, time like that of reading all of them:
            six times as much in all where products are cheap. Without it, converged eigenvalues
            appear more than once and share their weight, which moved the density by 1e-6 (float64)
            to 4e-5 (float32) where it was measured.
        callback: Called on the host after every probe with a `CurvatureProgress`.
        progress: As in `trace`.

    Returns:
        The quadrature rules, with methods `density`, `cumulative`, `moments` and `expectation`.

    Raises:
        TypeError: if `fun` does not return a real scalar, or `key` is no typed key.
        ValueError: if two evaluations of `fun` differ, or `num_steps` or `num_probes` is too small.
        MemoryError: before the first product, if the vectors kept will not fit; not within `jit`.

    Example:
        >>> spectrum = spectral_density(lambda x: x @ x, jnp.ones(9), num_steps=3, num_probes=2,
        ...                             key=jax.random.key(0))
        >>> print(spectrum.moments(2).value)
        [1. 2. 4.]
    """
    check_count(num_steps=num_steps, num_probes=num_probes)
    check_flag(reorthogonalize=reorthogonalize, progress=progress)
    if num_probes < 2:
        raise ValueError(f"num_probes must be at least 2 for a standard error, got {num_probes}")
    check_key(key=key)
    check_callable(callback=callback, optional=True)
    zero, product, _ = curvature_operator(fun, x)
    # More steps than parameters would find nothing new.
    steps = min(num_steps, zero.size)
    if reorthogonalize:
        check_rows(steps, zero, "reorthogonalize=False keeps two of them")
    with Listening(callback, num_probes * steps) as listening:
        operator, report = listening.counting(product), listening.report

        def rule(numbered: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            number, key = numbered
            # Signs rather than normal numbers: their quadratic forms have the smaller variance.
            start_key, key = jax.random.split(key)
            start = jax.random.rademacher(start_key, zero.shape, zero.dtype)
            if reorthogonalize:
                matrix = _krylov.lanczos(operator, start, num_steps=steps, key=key).projected
            else:
                diagonal, beside = _krylov.tridiagonal(operator, start, num_steps=steps)
                matrix = jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
            nodes, vectors = jnp.linalg.eigh(matrix)
            if report is not None:
                report((number + 1) * steps, jnp.nan)
            return nodes, vectors[0] ** 2

        # One probe after another: memory is that of one.
        keys = jax.random.split(stream(key, "density"), num_probes)
        nodes, weights = _loops.map(rule, (jnp.arange(num_probes), keys))
    return SpectralDensity(
        nodes=nodes,
        weights=weights,
        num_products=jnp.asarray(num_probes * steps),
        finite=jnp.all(jnp.isfinite(nodes)) & jnp.all(jnp.isfinite(weights)),
    )


def _split(
    operator: Operator, zero: jax.Array, num_probes: int, key: jax.Array, *, deflate: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Spend the products: an orthonormal basis (rows) with its images, and keys for the probes."""
    check_key(key=key)
    rank = min(num_probes // 3, zero.size) if deflate else 0
    if num_probes - 2 * rank < 2 or (deflate and rank == 0):
        raise ValueError(
            f"num_probes must be at least {4 if deflate else 2} for a standard error, "
            f"got {num_probes}"
        )
    check_rows(2 * rank, zero, 'method="hutchinson" keeps none of them')
    sketch_key, probe_key = jax.random.split(stream(key, "trace"))
    probes = jax.random.split(probe_key, num_probes - 2 * rank)
    if rank == 0:
        nothing = jnp.zeros((0, *zero.shape), zero.dtype)
        return nothing, nothing, probes
    with jax.default_matmul_precision("highest"):
        signs = jax.random.rademacher(sketch_key, (rank, *zero.shape), zero.dtype)
        basis = jnp.linalg.qr(_loops.map(operator, signs).T)[0].T
        return basis, _loops.map(operator, basis), probes


def _without(basis: jax.Array, vector: jax.Array) -> jax.Array:
    """Project `vector` onto the orthogonal complement of the rows of `basis`."""
    with jax.default_matmul_precision("highest"):
        return vector - (basis @ vector) @ basis


def _mean_and_error(
    sample: Callable[[jax.Array], jax.Array],
    keys: jax.Array,
    num_products: int,
    report: Callable[[Any, Any], None] | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Average samples one after another (Welford), with the standard error of the mean."""

    def add(carry: tuple[jax.Array, jax.Array], row: Any) -> tuple[Any, None]:
        mean, squares = carry
        number, key = row
        value = sample(key)
        if report is not None:
            report((number + num_products - count).astype(jnp.int32), jnp.nan)
        change = value - mean
        mean = mean + change / number
        return (mean, squares + change * (value - mean)), None

    count = keys.shape[0]
    out = jax.eval_shape(sample, keys[0])
    zero = jnp.zeros(out.shape, out.dtype)
    numbers = jnp.arange(1, count + 1, dtype=zero.dtype)
    (mean, squares), _ = _loops.scan(add, (zero, zero), (numbers, keys))
    error = jnp.sqrt(squares / (count * (count - 1)))
    return mean, error, jnp.all(jnp.isfinite(mean))
