r"""Layer, instance and group normalization: statistics of each example by itself.

    y = scale * (x - mean) / sqrt(variance + epsilon) + bias

with mean and variance over, for inputs of axes (example, position..., feature):

    LayerNorm       the features, at each position (by default)
    InstanceNorm    the positions, for each feature
    GroupNorm       the positions and the features of a group, for each group

None depends on the other examples of the batch, and none has state.

Ba et al. (2016), https://arxiv.org/abs/1607.06450;
Ulyanov et al. (2016), https://arxiv.org/abs/1607.08022;
Wu and He (2018), https://arxiv.org/abs/1803.08494, equations 1 to 7.
"""

from collections.abc import Sequence
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_count, check_real_array
from jaxopt_course.nn._arguments import check_axes
from jaxopt_course.nn._normalization._base import Normalization, Options, canonical_axes


class LayerNorm(Normalization):
    """Layer normalization over the features of each example: a drop-in for `flax.nnx.LayerNorm`.

    Args:
        num_features: Number of features.
        reduction_axes: Axes over which the statistics extend.
        feature_axes: Axes of scale and bias, of joint size `num_features`.
        epsilon: Added to the variance.
        rngs: As for `Normalization`.
        **options: Those of `Normalization`.

    Example:
        >>> layer = LayerNorm(2, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.array([[10001.0, 9999.0], [2.0, 0.0]])).round(3))
        [[ 1. -1.]
         [ 1. -1.]]
    """

    def __init__(
        self,
        num_features: int,
        *,
        reduction_axes: int | Sequence[int] = -1,
        feature_axes: int | Sequence[int] = -1,
        epsilon: float = 1e-6,
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        check_axes(reduction_axes=reduction_axes, feature_axes=feature_axes)
        super().__init__(num_features, epsilon=epsilon, rngs=rngs, **options)
        self.reduction_axes = reduction_axes
        self.feature_axes = feature_axes

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        """Normalize `x`.

        Args:
            x: Inputs.
            mask: Booleans that broadcast to the shape of `x`: which elements count in the
                statistics. All elements are normalized.

        Returns:
            An array of the shape of `x`.
        """
        check_real_array("x", x)
        found = self._moments(x, canonical_axes(self.reduction_axes, x.ndim), mask)
        feature_axes = canonical_axes(self.feature_axes, x.ndim)
        return self._scale_and_shift(self._standardize(x, found), x, feature_axes)


class InstanceNorm(Normalization):
    """Instance normalization over the positions of each example, as `flax.nnx.InstanceNorm`.

    Args:
        num_features: Number of features.
        feature_axes: Axes of the features, of joint size `num_features`; the first axis, that of
            the examples, cannot be one.
        epsilon: Added to the variance.
        rngs: As for `Normalization`.
        **options: Those of `Normalization`.

    Example:
        >>> layer = InstanceNorm(1, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.array([[[10001.0], [9999.0]]])).round(3)[0, :, 0])
        [ 1. -1.]
    """

    def __init__(
        self,
        num_features: int,
        *,
        feature_axes: int | Sequence[int] = -1,
        epsilon: float = 1e-6,
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        check_axes(feature_axes=feature_axes)
        super().__init__(num_features, epsilon=epsilon, rngs=rngs, **options)
        self.feature_axes = feature_axes

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        """Normalize `x`.

        Args:
            x: Inputs; the examples on the first axis.
            mask: Booleans that broadcast to the shape of `x`: which elements count in the
                statistics. All elements are normalized.

        Returns:
            An array of the shape of `x`.

        Raises:
            ValueError: If the features are on the first axis.
        """
        check_real_array("x", x)
        feature_axes = canonical_axes(self.feature_axes, x.ndim)
        if 0 in feature_axes:
            raise ValueError(
                "feature_axes must not include the first axis, that of the examples; "
                f"got {self.feature_axes} for inputs of shape {x.shape}"
            )
        positions = [axis for axis in range(1, x.ndim) if axis not in feature_axes]
        found = self._moments(x, positions, mask)
        return self._scale_and_shift(self._standardize(x, found), x, feature_axes)


class GroupNorm(Normalization):
    """Group normalization over the positions of each example, as `flax.nnx.GroupNorm`.

    Args:
        num_features: Number of features, on the last axis.
        num_groups: Number of groups; None to give `group_size` instead.
        group_size: Number of features in a group.
        reduction_axes: Axes over which the statistics extend, the last among them; None for all
            but the first, that of the examples.
        epsilon: Added to the variance.
        rngs: As for `Normalization`.
        **options: Those of `Normalization`.

    Raises:
        ValueError: Unless exactly one of `num_groups` and `group_size` is given and divides
            `num_features`.

    Example:
        >>> layer = GroupNorm(4, num_groups=2, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.array([[10001.0, 9999.0, 2.0, 0.0]])).round(3))
        [[ 1. -1.  1. -1.]]
    """

    def __init__(
        self,
        num_features: int,
        num_groups: int | None = 32,
        group_size: int | None = None,
        *,
        reduction_axes: int | Sequence[int] | None = None,
        epsilon: float = 1e-6,
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        if (num_groups is None) == (group_size is None):
            raise ValueError(
                "exactly one of num_groups (32 by default) and group_size must be None; "
                f"got num_groups={num_groups}, group_size={group_size}"
            )
        check_count(num_groups=num_groups, group_size=group_size, optional=True)
        check_axes(reduction_axes=reduction_axes, optional=True)
        super().__init__(num_features, epsilon=epsilon, rngs=rngs, **options)
        name = "num_groups" if group_size is None else "group_size"
        divisor = num_groups if group_size is None else group_size
        if divisor is None or num_features % divisor:
            raise ValueError(
                f"{name} must be a positive integer that divides num_features={num_features}, "
                f"got {brief(divisor)}"
            )
        self.num_groups = divisor if group_size is None else num_features // divisor
        self.group_size = num_features // self.num_groups
        self.feature_axis = -1
        self.reduction_axes = reduction_axes

    def __call__(self, x: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        """Normalize `x`.

        Args:
            x: Inputs; the examples on the first axis, the features on the last.
            mask: Booleans that broadcast to the shape of `x`: which elements count in the
                statistics. All elements are normalized.

        Returns:
            An array of the shape of `x`.

        Raises:
            ValueError: If `reduction_axes` lack the last axis.
        """
        check_real_array("x", x)
        last = x.ndim - 1
        check_real_array("x", x, features=self.num_features)
        if x.ndim < 2:
            raise ValueError(f"x must have examples and features, got shape {x.shape}")
        given = self.reduction_axes
        axes = canonical_axes(range(1, x.ndim) if given is None else given, x.ndim)
        if last not in axes:
            raise ValueError(f"reduction_axes must include the last axis of x, got {brief(given)}")
        # The features' axis becomes two, (group, member); the members are reduced.
        grouped = x.reshape(*x.shape[:-1], self.num_groups, self.group_size)
        if mask is not None:
            mask = jnp.broadcast_to(mask, x.shape).reshape(grouped.shape)
        found = self._moments(grouped, (*axes[:-1], last + 1), mask)
        standardized = self._standardize(grouped, found).reshape(x.shape)
        return self._scale_and_shift(standardized, x, (last,))
