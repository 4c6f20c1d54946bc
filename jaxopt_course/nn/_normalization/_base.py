"""What the normalization modules share: their options, and the affine map at the end."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from flax.typing import Dtype, Initializer, PromoteDtypeFn

from jaxopt_course._checks import (
    check_callable,
    check_count,
    check_flag,
    check_inexact_dtype,
    check_non_negative,
    to_sizes,
)
from jaxopt_course.nn._arguments import check_rngs
from jaxopt_course.nn._normalization._statistics import Moments, moments, standardize


class Options(TypedDict, total=False):
    """What the modules take and pass on to `Normalization`, which describes it."""

    dtype: Dtype | None
    param_dtype: Dtype
    use_bias: bool
    use_scale: bool
    bias_init: Initializer
    scale_init: Initializer
    axis_name: str | None
    axis_index_groups: Any
    use_fast_variance: bool
    promote_dtype: PromoteDtypeFn
    bias_metadata: Mapping[str, Any]
    scale_metadata: Mapping[str, Any]


class Normalization(nnx.Module):
    """Base of the modules that standardize activations, then scale and shift them.

    The options are those of flax nnx's modules of the same names, and so are parameters and their
    dtypes. Statistics, and what is computed from them, are at least float32 whatever the dtype of
    inputs and results.

    Args:
        num_features: Number of features, that is of scales and of biases.
        epsilon: Added to the variance; 0 is allowed, and makes a constant feature zero.
        dtype: Dtype of the result; None for the one that inputs and parameters promote to.
        param_dtype: Dtype of scale and bias.
        use_bias: Whether to add a learnt bias.
        use_scale: Whether to multiply by a learnt scale.
        bias_init: Initializer of the bias.
        scale_init: Initializer of the scale.
        axis_name: Mapped axis of devices or replicas (`shard_map`, `vmap`) whose inputs are
            normalized together. Arrays sharded under plain `jit` need none.
        axis_index_groups: Groups of members of that axis, as for `jax.lax.psum`.
        use_fast_variance: Accepted for flax's sake. The variance is the safe one either way.
        promote_dtype: As in flax; it decides the dtype of the result, and converts scale and bias.
        rngs: Source of the keys of the initializers, drawn in flax's order.
        bias_metadata: Metadata of the bias variable.
        scale_metadata: Metadata of the scale variable.

    Attributes:
        scale: `nnx.Param` of shape `(num_features,)`, or None.
        bias: `nnx.Param` of shape `(num_features,)`, or None.
    """

    def __init__(
        self,
        num_features: int,
        *,
        epsilon: float = 1e-6,
        dtype: Dtype | None = None,
        param_dtype: Dtype = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: Initializer = jax.nn.initializers.zeros,
        scale_init: Initializer = jax.nn.initializers.ones,
        axis_name: str | None = None,
        axis_index_groups: Any = None,
        use_fast_variance: bool = True,
        promote_dtype: PromoteDtypeFn = dtypes.promote_dtype,
        rngs: nnx.Rngs,
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        scale_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        check_non_negative(epsilon=epsilon)
        check_count(num_features=num_features)
        check_rngs(rngs)
        check_inexact_dtype(param_dtype=param_dtype)
        check_inexact_dtype(dtype=dtype, optional=True)
        check_flag(use_bias=use_bias, use_scale=use_scale, use_fast_variance=use_fast_variance)
        check_callable(bias_init=bias_init, scale_init=scale_init, promote_dtype=promote_dtype)

        def parameter(used, initializer, metadata):
            if not used:
                return nnx.data(None)
            return nnx.Param(initializer(rngs.params(), (num_features,), param_dtype), **metadata)

        self.scale = parameter(use_scale, scale_init, scale_metadata)
        self.bias = parameter(use_bias, bias_init, bias_metadata)
        self.num_features = num_features
        self.epsilon = epsilon
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.use_bias = use_bias
        self.use_scale = use_scale
        self.axis_name = axis_name
        self.axis_index_groups = axis_index_groups
        self.use_fast_variance = use_fast_variance
        self.promote_dtype = promote_dtype

    def _moments(self, x: jax.Array, axes: Sequence[int], mask: jax.Array | None) -> Moments:
        return moments(
            x,
            axes,
            mask=mask,
            axis_name=self.axis_name,
            axis_index_groups=self.axis_index_groups,
        )

    def _standardize(self, x: jax.Array, found: Moments) -> jax.Array:
        return standardize(x, found, self.epsilon)

    def _feature_shape(self, x: jax.Array, feature_axes: Sequence[int]) -> tuple[int, ...]:
        """Shape that lays `num_features` numbers along `feature_axes` of `x`, with 1 elsewhere."""
        shape = tuple(x.shape[axis] if axis in feature_axes else 1 for axis in range(x.ndim))
        if math.prod(shape) != self.num_features:
            raise ValueError(
                f"x must have num_features={self.num_features} features on axes "
                f"{tuple(feature_axes)}, got shape {x.shape}"
            )
        return shape

    def _scale_and_shift(
        self,
        standardized: jax.Array,
        x: jax.Array,
        feature_axes: Sequence[int],
        stored: tuple[jax.Array, ...] = (),
    ) -> jax.Array:
        """Apply scale and bias along `feature_axes`, and give the result flax's dtype.

        Args:
            standardized: What to map.
            x: The module's input, for its dtype.
            feature_axes: Axes of the features, non-negative, together of size `num_features`.
            stored: Running statistics, whose dtype counts as well in flax.
        """
        shape = self._feature_shape(x, feature_axes)
        scale = None if self.scale is None else self.scale[...]
        bias = None if self.bias is None else self.bias[...]
        promoted = self.promote_dtype((x, *stored, scale, bias), dtype=self.dtype)
        *_, scale, bias = promoted
        if scale is not None:
            standardized = standardized * scale.reshape(shape)
        if bias is not None:
            standardized = standardized + bias.reshape(shape)
        return jnp.asarray(standardized, promoted[0].dtype)


def canonical_axes(axes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Return distinct non-negative axes in ascending order.

    Raises:
        ValueError: If one of them is not an axis of an array of that rank.
    """
    given = to_sizes("axis", (axes,) if isinstance(axes, int) else axes)
    for axis in given:
        if not -rank <= axis < rank:
            raise ValueError(f"axis must lie in [{-rank}, {rank}), got {axis}: x has {rank} axes")
    return tuple(sorted({axis % rank for axis in given}))
