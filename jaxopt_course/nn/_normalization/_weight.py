r"""Weight normalization: length and direction of the weights as separate parameters.

    w = g v / ||v||

with one length g for each output feature. On its own the reparameterization changes no function:
g starts as ||v||. With data, the length and the bias can start such that the layer's results have
zero mean and unit variance on one batch,

    t = v.x / ||v||,    g = 1 / std(t),    b = -mean(t) / std(t),

which is what batch normalization would do, at the start only and without noise thereafter.

Salimans and Kingma (2016), https://arxiv.org/abs/1602.07868, equations 2, 5 and 6.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from flax.typing import Dtype, Initializer, PromoteDtypeFn

from jaxopt_course._brief import brief
from jaxopt_course._checks import (
    check_callable,
    check_flag,
    check_inexact_dtype,
    check_non_negative,
)
from jaxopt_course.nn._arguments import check_axes, check_module, check_rngs
from jaxopt_course.nn._normalization._base import canonical_axes
from jaxopt_course.nn._normalization._statistics import at_least_float32, moments

_KERNELS = nnx.PathContains("kernel")


class WeightNorm(nnx.Module):
    """Weight normalization of a layer: a drop-in for `flax.nnx.WeightNorm`.

    Unlike flax's it leaves the layer's function as it was when it is wrapped, and its own weights v
    as they are when it is called. The scales are parameters.

    Args:
        layer_instance: Layer whose weights are v.
        feature_axes: Axes of the weights along which each slice has its own length; None for one
            length of the whole.
        use_scale: Whether to learn g; without, every slice has length 1.
        scale_init: Initializer of g; None (not in flax) for ||v||, which keeps the function.
        epsilon: Added to the squared length.
        dtype: Dtype of the normalized weights; None for that of weights and scales.
        param_dtype: Dtype of g; None for that of the weights.
        variable_filter: Which of the layer's variables to normalize.
        promote_dtype: As in flax: converts weights and scales to one dtype.
        rngs: Source of keys for `scale_init`.

    Attributes:
        layer_instance: The layer.
        scales: `nnx.Param` of g by path of the weights, or None.

    Example:
        >>> linear = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        >>> before = linear(jnp.ones((1, 3)))
        >>> layer = WeightNorm(linear, rngs=nnx.Rngs(0))
        >>> print(jnp.allclose(layer(jnp.ones((1, 3))), before))
        True
    """

    def __init__(
        self,
        layer_instance: nnx.Module,
        *,
        feature_axes: int | Sequence[int] | None = -1,
        use_scale: bool = True,
        scale_init: Initializer | None = None,
        epsilon: float = 1e-12,
        dtype: Dtype | None = None,
        param_dtype: Dtype | None = None,
        variable_filter: nnx.filterlib.Filter = _KERNELS,
        promote_dtype: PromoteDtypeFn = dtypes.promote_dtype,
        rngs: nnx.Rngs,
    ):
        check_non_negative(epsilon=epsilon)
        check_rngs(rngs)
        check_flag(use_scale=use_scale)
        check_axes(feature_axes=feature_axes, optional=True)
        check_inexact_dtype(dtype=dtype, param_dtype=param_dtype, optional=True)
        check_callable(scale_init=scale_init, optional=True)
        check_callable(promote_dtype=promote_dtype)
        if not isinstance(layer_instance, nnx.Module):
            raise TypeError(
                f"layer_instance must be a flax.nnx.Module, got {brief(layer_instance)}"
            )
        self.layer_instance = layer_instance
        self.feature_axes = () if feature_axes is None else feature_axes
        self.use_scale = use_scale
        self.scale_init = scale_init
        self.epsilon = epsilon
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.variable_filter = nnx.filterlib.to_predicate(variable_filter)
        self.promote_dtype = promote_dtype
        self.initializing = False

        def initial_scale(weights):
            length = self._length(weights)
            shape = tuple(weights.shape[a] for a in canonical_axes(self.feature_axes, weights.ndim))
            dtype = weights.dtype if param_dtype is None else param_dtype
            if scale_init is None:
                return nnx.Param(length.reshape(shape).astype(dtype))
            return nnx.Param(scale_init(rngs.params(), shape, dtype))

        self.scales = nnx.data(None)
        if use_scale:
            self.scales = nnx.data(
                {path: initial_scale(variable[...]) for path, variable in self._variables()}
            )

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        """Call the layer with its weights normalized.

        Args:
            x: Input of the layer.
            *args: Passed on to the layer.
            **kwargs: Passed on to the layer.

        Returns:
            The layer's output.
        """
        if self.initializing:
            self._initialize(x, *args, **kwargs)
        return self._forward(x, *args, **kwargs)

    def _forward(self, *args, **kwargs):
        """Call the layer with normalized weights, and give it its own back."""
        variables = dict(self._variables())
        weights = {path: variable[...] for path, variable in variables.items()}
        try:
            for path, variable in variables.items():
                variable.set_value(self._normalized(path, weights[path]))
            return self.layer_instance(*args, **kwargs)
        finally:
            for path, variable in variables.items():
                variable.set_value(weights[path])

    def _initialize(self, *args, **kwargs):
        """Set g and b from one batch, as in the module's formulas."""
        self.initializing = False
        bias = getattr(self.layer_instance, "bias", None)
        if self.scales is None or len(self.scales) != 1:
            raise ValueError(
                "data-dependent initialization needs use_scale=True and one normalized variable, "
                f"got {self.scales and list(self.scales)}"
            )
        (scale,) = self.scales.values()
        scale[...] = jnp.ones_like(scale[...])
        if bias is not None:
            bias[...] = jnp.zeros_like(bias[...])
        output = self._forward(*args, **kwargs)
        found = moments(output, range(output.ndim - 1))
        varies = found.variance > 0
        inverse = jnp.where(varies, jax.lax.rsqrt(jnp.where(varies, found.variance, 1)), 1)
        scale[...] = inverse.reshape(scale.shape).astype(scale.dtype)
        if bias is not None:
            bias[...] = (-found.mean * inverse).reshape(bias.shape).astype(bias.dtype)

    def _variables(self) -> Iterator[tuple[tuple, nnx.Variable]]:
        for path, node in nnx.iter_graph(self.layer_instance):
            if isinstance(node, nnx.Variable) and self.variable_filter(path, node):
                yield path, node

    def _length(self, weights):
        kept = canonical_axes(self.feature_axes, weights.ndim)
        reduced = tuple(axis for axis in range(weights.ndim) if axis not in kept)
        squares = jnp.square(at_least_float32(weights))
        return jnp.sqrt(jnp.sum(squares, reduced, keepdims=True) + self.epsilon)

    def _normalized(self, path, weights):
        length = self._length(weights)
        direction = at_least_float32(weights) / length
        if self.scales is None:
            return direction.astype(weights.dtype if self.dtype is None else self.dtype)
        promoted, scale = self.promote_dtype((weights, self.scales[path][...]), dtype=self.dtype)
        return (direction * scale.reshape(length.shape)).astype(promoted.dtype)


def data_dependent_init(model: nnx.Module, *args: Any, **kwargs: Any) -> Any:
    """Initialize every `WeightNorm` in a model from one batch, in the order the data takes.

    Each gets results of zero mean and unit variance on that batch (zero mean only where the
    layer has a bias), given the inputs that the layers before it, already initialized, make.

    Args:
        model: Model with `WeightNorm` layers whose features are on the last axis; changed in place.
        *args: What to call the model with.
        **kwargs: Likewise.

    Returns:
        The model's output for that batch.

    Raises:
        ValueError: If there is no `WeightNorm`, or one that is not of one linear layer.

    Example:
        >>> layer = WeightNorm(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
        >>> y = data_dependent_init(layer, jax.random.normal(jax.random.key(0), (50, 3)))
        >>> print(y.std(0).round(4))
        [1. 1.]

    Reference:
        Salimans and Kingma (2016), equations 5 and 6.
    """
    check_module(model)
    model.set_attributes(WeightNorm, initializing=True)
    try:
        return model(*args, **kwargs)
    finally:
        model.set_attributes(WeightNorm, initializing=False)
