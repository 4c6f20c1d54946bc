r"""Mean and variance that rounding, masks and uneven devices do not spoil.

    centre   = sum x / n                          a first, rounded mean
    offset   = sum (x - centre) / n               what rounding took from it
    variance = sum (x - centre - offset)^2 / n

over the n elements that count, summed over every device: the two-pass algorithm with the mean in
two parts. The textbook's `E[x^2] - E[x]^2` subtracts numbers that agree in their first digits when
the mean is large: with mean 1e4 and standard deviation 1, float32 has no correct digit left. Here
the differences `x - centre` are exact for such inputs, and since any centre near the mean gives the
same result, it is held constant under differentiation.

Chan, Golub and LeVeque (1983), https://doi.org/10.1080/00031305.1983.10483115, compare the
algorithms.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Moments(NamedTuple):
    """Mean and variance of the elements that count; every shape has 1 on the reduced axes.

    Attributes:
        centre: Rounded mean, constant under differentiation.
        offset: What is to be added to `centre`. The mean is kept in two parts because their sum
            rounds: subtract them one after the other.
        variance: Biased variance; 1 where nothing counts, so that dividing by it changes nothing.
        count: Number of elements that count.
    """

    centre: jax.Array
    offset: jax.Array
    variance: jax.Array
    count: jax.Array

    @property
    def mean(self) -> jax.Array:
        """The mean as one number; 0 where nothing counts."""
        return self.centre + self.offset


def moments(
    x: jax.Array,
    axes: int | Sequence[int],
    *,
    mask: jax.Array | None = None,
    axis_name: str | None = None,
    axis_index_groups: Any = None,
) -> Moments:
    """Compute mean and variance as the module's formula says.

    Args:
        x: Array of real numbers, of any shape; half precision is computed in float32.
        axes: Axes to reduce.
        mask: Booleans (or zeros and others) that broadcast to the shape of `x`: which elements
            count. The others may hold anything, NaN included.
        axis_name: Mapped axis (of `shard_map` or `vmap`) over which the sums extend too. Each
            member contributes as many elements as count there, none included.
        axis_index_groups: Groups of members that share sums, as for `jax.lax.psum`.

    Returns:
        The moments, in the dtype of `x`, at least float32.

    Raises:
        TypeError: If `x` is complex.

    Example:
        >>> found = moments(jnp.array([10001.0, 9999.0, 7.0]), 0, mask=jnp.array([1, 1, 0]))
        >>> print(found.mean, found.variance, found.count)
        [10000.] [1.] [2.]
    """
    if jnp.issubdtype(jnp.result_type(x), jnp.complexfloating):
        raise TypeError(f"x must be real, got {jnp.result_type(x)}")
    x = at_least_float32(x)
    counts = None if mask is None else jnp.broadcast_to(mask, x.shape) != 0

    def counted(values):
        return values if counts is None else jnp.where(counts, values, 0)

    def totals(*terms):
        sums = tuple(jnp.sum(term, axes, keepdims=True) for term in terms)
        if axis_name is None:
            return sums
        return jax.lax.psum(sums, axis_name, axis_index_groups=axis_index_groups)

    count, total = totals(counted(jnp.ones_like(x)), counted(jax.lax.stop_gradient(x)))
    at_least_one = jnp.maximum(count, 1)
    centre = total / at_least_one
    (total,) = totals(counted(x - centre))
    offset = total / at_least_one
    (total_of_squares,) = totals(jnp.square(counted(x - centre - offset)))
    variance = total_of_squares / at_least_one
    return Moments(centre, offset, jnp.where(count > 0, variance, 1), count)


def standardize(x: jax.Array, found: Moments, epsilon: float | jax.Array) -> jax.Array:
    """Subtract the mean and divide by the root of variance plus epsilon.

    Args:
        x: Array of real numbers.
        found: Moments whose shapes broadcast with that of `x`.
        epsilon: Added to the variance. Where the sum is zero (a constant feature without epsilon)
            the result is zero, and so are its derivatives.

    Returns:
        The standardized array, in the dtype of `x`, at least float32.
    """
    spread = found.variance + epsilon
    # 1 / sqrt(inf) is zero with all its derivatives.
    inverse = jax.lax.rsqrt(jnp.where(spread > 0, spread, jnp.inf))
    return (at_least_float32(x) - found.centre - found.offset) * inverse


def at_least_float32(x: jax.Array) -> jax.Array:
    """Convert integers and half precision to float32; leave wider floats."""
    return jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32))
