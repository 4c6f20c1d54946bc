r"""The spectral density of a Hessian by stochastic Lanczos quadrature.

m steps of Lanczos's method from a unit vector z give a tridiagonal T with eigenpairs (theta_j, y_j)
and the Gauss quadrature rule

    z^T f(A) z ~ sum_j w_j f(theta_j),    w_j = (first entry of y_j)^2,    sum_j w_j = 1,

exact for polynomials f of degree 2 m - 1. Averaged over random z it estimates tr f(A) / n, and the
rules themselves are the density of eigenvalues, seen through m nodes a probe. Each probe is an
independent sample of everything computed from it: hence the standard errors.

Golub and Welsch (1969), https://doi.org/10.1090/S0025-5718-69-99647-1; Ubaru, Chen and Saad (2017),
https://doi.org/10.1137/16M1104974; Ghorbani, Krishnan and Xiao (2019),
https://arxiv.org/abs/1901.10159.
"""

from collections.abc import Callable
from typing import Any

import chex
import flax.struct
import jax
import jax.numpy as jnp

from jaxopt_course import _krylov
from jaxopt_course._checks import check_count, check_key, check_positive
from jaxopt_course.saddle._operators import curvature_operator
from jaxopt_course.saddle._stochastic import Estimate


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

    def expectation(self, function: Callable[[jax.Array], jax.Array]) -> Estimate:
        """Estimate `tr function(A) / n`, the mean of a function over all eigenvalues.

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
        """Estimate `tr A^p / n` for p = 0, ..., order.

        Args:
            order: The highest power; unbiased up to twice the number of steps less one.

        Returns:
            Arrays of shape (order + 1,).
        """
        powers = jnp.arange(order + 1)
        return self.expectation(lambda nodes: nodes[..., None] ** powers[None, None])

    def density(self, grid: jax.Array, width: chex.Numeric | None = None) -> Estimate:
        """Smooth the spectrum by a Gaussian and evaluate it.

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
        """Estimate the share of eigenvalues up to each point of a grid, without smoothing.

        Args:
            grid: Shape (g,).

        Returns:
            Shares in [0, 1], shape (g,), with their standard error. The quadrature adds an error of
            about the weight of the nodes next to a grid point.
        """
        grid = jnp.asarray(grid, self.nodes.dtype)[None, None]
        return self.expectation(lambda nodes: (nodes[..., None] <= grid).astype(nodes.dtype))


def spectral_density(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    num_steps: int,
    num_probes: int,
    key: jax.Array,
    reorthogonalize: bool = False,
) -> SpectralDensity:
    """Estimate the spectral density of the Hessian of `fun` at `x`.

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

    Returns:
        The quadrature rules, with methods `density`, `cumulative`, `moments` and `expectation`.

    Raises:
        TypeError: if `fun` does not return a real scalar, or `key` is no typed key.
        ValueError: if two evaluations of `fun` differ, or `num_steps` or `num_probes` is too small.

    Example:
        >>> spectrum = spectral_density(lambda x: x @ x, jnp.ones(9), num_steps=3, num_probes=2,
        ...                             key=jax.random.key(0))
        >>> print(spectrum.moments(2).value)
        [1. 2. 4.]
    """
    check_count(num_steps=num_steps, num_probes=num_probes)
    if num_probes < 2:
        raise ValueError(f"num_probes must be at least 2 for a standard error, got {num_probes}")
    check_key(key=key)
    zero, operator, _ = curvature_operator(fun, x)
    steps = min(num_steps, zero.size)

    def rule(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Signs rather than normal numbers: their quadratic forms have the smaller variance.
        start_key, key = jax.random.split(key)
        start = jax.random.rademacher(start_key, zero.shape, zero.dtype)
        if reorthogonalize:
            matrix = _krylov.lanczos(operator, start, num_steps=steps, key=key).projected
        else:
            diagonal, beside = _krylov.tridiagonal(operator, start, num_steps=steps)
            matrix = jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
        nodes, vectors = jnp.linalg.eigh(matrix)
        return nodes, vectors[0] ** 2

    nodes, weights = jax.lax.map(rule, jax.random.split(key, num_probes))
    return SpectralDensity(
        nodes=nodes,
        weights=weights,
        num_products=jnp.asarray(num_probes * steps),
        finite=jnp.all(jnp.isfinite(nodes)) & jnp.all(jnp.isfinite(weights)),
    )
