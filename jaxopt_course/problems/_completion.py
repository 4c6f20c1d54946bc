"""Matrix completion: a factorization of which some entries are seen.

M = Z Z^T of shape (d, d) and rank r, each entry on or above the diagonal observed with probability
p, and its mirror image with it: Omega. With rows X_i of X,

    f(X) = 1/2 |P_Omega(M - X X^T)|_F**2 + lambda sum_i max(0, |X_i| - alpha)**4

The second term keeps the rows of X small, as those of an incoherent Z are,
`|Z_i| <= mu |Z|_F / sqrt d`: an X with all its weight in unobserved entries would be a bad
minimum. With `alpha = 10 mu |Z|_F / sqrt d`, `lambda >= mu**2 |Z|_F**2 p / alpha**2 = p d / 100`
and p above a polynomial in mu, r and log d over d, all local minima are global, X = Z R.

f is stationary at Z, where the Hessian is that of the observed residuals, J^T J, and at 0, where it
is `-2 P_Omega(M)` for each column.

Ge, Lee and Ma (2016), "Matrix Completion has No Spurious Local Minimum",
https://arxiv.org/abs/1605.07272 (the constants, stated there for rank 1, are used for any rank).
"""

from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_key, check_non_negative, check_number, check_positive
from jaxopt_course._streams import stream
from jaxopt_course.problems._problem import Problem, check_shape, random_start
from jaxopt_course.problems._quadratic import random_orthogonal
from jaxopt_course.problems._spectra import check_low_rank, minimum_with_hessian, origin


def matrix_completion(
    eigenvalues: Sequence[float] | np.ndarray,
    *,
    dimension: int,
    sampling_probability: float,
    key: chex.PRNGKey,
    row_bound: float | None = None,
    penalty: float | None = None,
    init_distribution: str = "normal",
    init_scale: float | None = None,
) -> Problem:
    """The loss on observed entries, with the paper's penalty on large rows.

    Args:
        eigenvalues: Of M other than zero: r distinct positive numbers. The eigenvectors are drawn
            uniformly, hence incoherent: mu grows like sqrt(log d).
        dimension: d.
        sampling_probability: p, in (0, 1].
        key: Typed key that draws the eigenvectors and what is observed.
        row_bound: alpha; 10 times the largest `|Z_i|` if not given.
        penalty: lambda; `p d / 100` if not given.
        init_distribution: `"normal"` or `"uniform"`.
        init_scale: Standard deviation or half-width of the starts' entries; `|Z|_F / sqrt(d r)`,
            which gives starts the size of Z, if not given.

    Returns:
        The problem, on arrays of shape (d, r). `stationary_points` are Z, with the spectrum that
        the observed entries give (finding it takes (d r)**3 operations), and the origin.
        With too few observations more than rotations is free: `nullity` at Z exceeds
        r (r - 1) / 2. `fun` is a `jax.tree_util.Partial` that holds what is observed, so it can be
        an argument of a compiled function.

    Raises:
        ValueError: eigenvalues that are not distinct and positive, more of them than dimensions,
            a probability outside (0, 1], or a row bound below the largest `|Z_i|`.
        TypeError: a dimension that is not an integer, or `key` is not a typed key.

    Example:
        >>> problem = matrix_completion(
        ...     [2.0, 1.0], dimension=12, sampling_probability=0.7, key=jax.random.key(0)
        ... )
        >>> [(point.kind, point.nullity) for point in problem.stationary_points]
        [('MINIMUM', 1), ('STRICT_SADDLE', 0)]
    """
    spectrum, rank = check_low_rank(eigenvalues, dimension, None)
    check_number(sampling_probability=sampling_probability)
    check_positive(row_bound=1.0 if row_bound is None else row_bound)
    if not 0 < sampling_probability <= 1:
        raise ValueError(
            f"sampling_probability must lie in (0, 1], got {brief(sampling_probability)}"
        )
    check_key(key=key)
    # The truth, and which of its entries are seen: a symmetric choice.
    basis_key, sampling_key = jax.random.split(stream(key, "problem"))
    factor = random_orthogonal(basis_key, dimension)[:, :rank] * np.sqrt(spectrum)
    draws = np.asarray(jax.random.uniform(sampling_key, (dimension, dimension), jnp.float32))
    upper = np.triu(draws < sampling_probability)
    observed = upper | upper.T
    target = np.where(observed, factor @ factor.T, 0.0)

    # The penalty leaves rows alone that are no longer than a bound, the truth's among them.
    largest_row = float(np.max(np.linalg.norm(factor, axis=1)))
    bound = 10 * largest_row if row_bound is None else row_bound
    if not bound >= largest_row:
        raise ValueError(
            f"row_bound must be at least the largest row of the truth, {largest_row:g}, "
            f"got {brief(row_bound)}"
        )
    weight = sampling_probability * dimension / 100 if penalty is None else penalty
    check_non_negative(penalty=weight)
    scale = float(np.sqrt(np.sum(spectrum) / factor.size)) if init_scale is None else init_scale
    check_positive(init_scale=scale)
    name = f"matrix-completion-{dimension}-{rank}"

    def fun(x, *, observed, target, bounds, weights):
        check_shape(x, factor.shape, name)
        residuals = jnp.where(observed, x @ x.T - jnp.asarray(target, x.dtype), 0)
        squares = jnp.sum(jnp.square(x), axis=1)
        # The root only of rows that are large, or its derivative at zero rows would be NaN.
        longest = jnp.asarray(bounds, x.dtype)
        large = squares > longest**2
        excess = jnp.where(large, jnp.sqrt(jnp.where(large, squares, 1)) - longest, 0)
        penalties = jnp.asarray(weights, x.dtype) * excess**4
        return jnp.sum(jnp.square(residuals)) / 2 + jnp.sum(penalties)

    return Problem(
        name=name,
        # Bound and weight are arrays, one entry a row: as numbers they would be constants of the
        # compiled program, and every draw of M and every p would have to be compiled anew.
        fun=jax.tree_util.Partial(
            fun,
            observed=observed,
            target=target,
            bounds=np.full(dimension, bound),
            weights=np.full(dimension, weight),
        ),
        init=random_start(factor.shape, distribution=init_distribution, scale=scale),
        minimum_value=0.0,
        stationary_points=(
            minimum_with_hessian(factor, _hessian_at_truth(factor, observed)),
            origin(
                factor.shape,
                -2 * target,
                float(np.sum(target**2)) / 2,
                if_semidefinite="STRICT_SADDLE",
            ),
        ),
    )


def _hessian_at_truth(factor: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return the Hessian of `1/2 |P_Omega(X X^T - M)|_F**2` at X = Z, of shape (d r, d r).

    Rows i and j of X meet in the block `2 [i = j] sum_k [ik observed] Z_k Z_k^T + 2 [ij observed]
    Z_j Z_i^T`.
    """
    dimension, rank = factor.shape
    own = np.einsum("ik,ka,kb->iab", observed.astype(float), factor, factor)
    blocks = np.einsum("ij,ja,ib->iajb", observed.astype(float), factor, factor)
    blocks[np.arange(dimension), :, np.arange(dimension), :] += own
    return 2 * blocks.reshape(dimension * rank, dimension * rank)
