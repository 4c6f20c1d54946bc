r"""Noise behind a normalization layer, whose distribution jumps from step to step.

Unit j of example i becomes `s_ij a_ij + m_ij`, with means and deviations of s and m that are drawn
for each unit anew at every call in training,

    mu_j ~ U(-n_mu, n_mu),            m_ij ~ U(mu_j - r_mu, mu_j + r_mu),
    sigma_j ~ U(1, n_sigma),          s_ij ~ N(sigma_j, r_sigma),

with r_sigma a standard deviation. Santurkar et al. put it behind every batch normalization: the
distributions of activations are then anything but steady, and the network still trains as well as
without the noise. So steady distributions are not what batch normalization is good for.

Santurkar et al. (2018), https://arxiv.org/abs/1805.11604, algorithm 1.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jaxopt_course._checks import (
    check_callable,
    check_finite,
    check_flag,
    check_non_negative,
    check_real_array,
)
from jaxopt_course.nn._arguments import check_rngs


class ActivationNoise(nnx.Module):
    """Factors and offsets for every unit of every example, as the module's formulas say.

    A unit is an index of the last axis, an example (or position) an index of all others. In
    evaluation the input is returned as it is.

    Args:
        mean_range: n_mu, the largest mean of an offset.
        scale_range: n_sigma, the largest mean of a factor, at least 1.
        mean_spread: r_mu, how far offsets of one unit are from their mean at most.
        scale_spread: r_sigma, the standard deviation of the factors of one unit.
        deterministic: Whether there is no noise; `train()` and `eval()` of the model set it.
        rngs: Random streams; the keys come from `noise`, or from the default stream.

    Raises:
        ValueError: If a range or a spread is negative or not finite, or `scale_range` below 1.
        TypeError: If `rngs` is no `flax.nnx.Rngs`.

    Example:
        >>> model = ActivationNoise(rngs=nnx.Rngs(noise=0))
        >>> bool((model(jnp.ones((2, 3))) == model(jnp.ones((2, 3)))).any())
        False
        >>> model.eval()
        >>> float(model(jnp.ones((2, 3))).sum())
        6.0
    """

    def __init__(
        self,
        *,
        mean_range: float = 0.5,
        scale_range: float = 1.25,
        mean_spread: float = 0.1,
        scale_spread: float = 0.1,
        deterministic: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        check_non_negative(
            mean_range=mean_range, mean_spread=mean_spread, scale_spread=scale_spread
        )
        check_finite(mean_range=mean_range, scale_range=scale_range)
        check_finite(mean_spread=mean_spread, scale_spread=scale_spread)
        if not scale_range >= 1:
            raise ValueError(f"scale_range must be at least 1, got {scale_range}")
        check_flag(deterministic=deterministic)
        check_rngs(rngs)
        self.mean_range = mean_range
        self.scale_range = scale_range
        self.mean_spread = mean_spread
        self.scale_spread = scale_spread
        self.deterministic = deterministic
        self.rngs = rngs["noise"].fork()

    @staticmethod
    def after(normalization: Callable[..., Any], **options: Any) -> Callable[..., nnx.Module]:
        """Return a normalization with this noise behind it, in the form that the models take.

        Args:
            normalization: Factory such as `BatchNorm`, called as
                `normalization(num_features, param_dtype=..., rngs=rngs)`.
            **options: Those of `ActivationNoise`.

        Returns:
            A factory that is called in the same way.

        Raises:
            TypeError: If `normalization` is not callable.

        Example:
            >>> from jaxopt_course.nn import MLP, BatchNorm
            >>> noisy = ActivationNoise.after(BatchNorm, mean_range=1.0)
            >>> model = MLP((8, 16, 10), normalization=noisy, rngs=nnx.Rngs(0, noise=1))
            >>> model(jnp.ones((5, 8))).shape
            (5, 10)
        """
        check_callable(normalization=normalization)
        return functools.partial(_followed, normalization, tuple(options.items()))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return `s x + m`, of the shape and dtype of `x`, or `x` in evaluation.

        Integers become float32.

        Raises:
            ValueError: If `x` has no axis of units.
            TypeError: If `x` is not an array of real numbers.
        """
        check_real_array("x", x)
        x = jnp.asarray(x)
        if jnp.ndim(x) < 1:
            raise ValueError(f"x must have an axis of units, got shape {jnp.shape(x)}")
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            x = x.astype(jnp.float32)
        if self.deterministic:
            return x
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        uniform = functools.partial(jax.random.uniform, dtype=dtype)
        of_means, of_scales, of_offsets, of_factors = jax.random.split(self.rngs(), 4)
        units = (1,) * (x.ndim - 1) + x.shape[-1:]
        mu = self.mean_range * uniform(of_means, units, minval=-1, maxval=1)
        sigma = 1 + (self.scale_range - 1) * uniform(of_scales, units)
        offset = mu + self.mean_spread * uniform(of_offsets, x.shape, minval=-1, maxval=1)
        factor = sigma + self.scale_spread * jax.random.normal(of_factors, x.shape, dtype)
        return (factor * x + offset).astype(x.dtype)

    def set_view(self, deterministic: bool | None = None) -> None:
        """Choose whether there is noise in a view of the model that `nnx.view` makes.

        Args:
            deterministic: Whether there is none; None for no change.
        """
        if deterministic is not None:
            self.deterministic = deterministic


def _followed(
    normalization: Callable[..., Any],
    options: tuple[tuple[str, Any], ...],
    num_features: int,
    *,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Sequential:
    return nnx.Sequential(
        normalization(num_features, param_dtype=param_dtype, rngs=rngs),
        ActivationNoise(**dict(options), rngs=rngs),
    )
