r"""Batch normalization.

    y = scale * (x - mean) / sqrt(variance + epsilon) + bias

with mean and variance of each feature over the batch (and over positions) in training, and their
running averages

    running <- momentum * running + (1 - momentum) * batch

in evaluation. The running variance is the biased one, as in flax (torch's is larger by n / (n - 1),
and its momentum is one minus this one).

Ioffe and Szegedy (2015), https://arxiv.org/abs/1502.03167, algorithms 1 and 2.
"""

from functools import partial
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from jaxopt_course._checks import check_at_most, check_flag, check_non_negative, check_real_array
from jaxopt_course.nn._arguments import check_axes
from jaxopt_course.nn._normalization._base import Normalization, Options, canonical_axes
from jaxopt_course.nn._normalization._statistics import Moments


class BatchNorm(Normalization):
    """Batch normalization: each feature over the batch, as the module's formula says.

    A drop-in for `flax.nnx.BatchNorm`. A batch in which nothing counts (all masked) is normalized
    by the running averages and leaves them as they are.

    Args:
        num_features: Number of features.
        use_running_average: Whether to normalize by the running averages; `train()` and `eval()`
            set it. None leaves the choice to each call.
        axis: Axis of the features (or axes, of joint size `num_features`).
        momentum: Weight of the past in the running averages.
        epsilon: Added to the variance.
        rngs: As for `Normalization`.
        **options: Those of `Normalization`.

    Attributes:
        mean: `nnx.BatchStat`, running mean, shape `(num_features,)`, at least float32.
        var: `nnx.BatchStat`, running variance, likewise.

    Example:
        >>> layer = BatchNorm(2, rngs=nnx.Rngs(0))
        >>> print(layer(jnp.array([[10001.0, 2.0], [9999.0, 0.0]])).round(3))
        [[ 1.  1.]
         [-1. -1.]]
        >>> layer.eval()
    """

    def __init__(
        self,
        num_features: int,
        *,
        use_running_average: bool | None = False,
        axis: int | tuple[int, ...] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
        **options: Unpack[Options],
    ):
        check_flag(use_running_average=use_running_average, optional=True)
        check_axes(axis=axis)
        check_non_negative(momentum=momentum)
        check_at_most(1, momentum=momentum)
        super().__init__(num_features, epsilon=epsilon, rngs=rngs, **options)
        # flax keeps these in float32 even for a float64 model.
        dtype = jnp.promote_types(self.param_dtype, jnp.float32)
        self.mean = nnx.BatchStat(jnp.zeros((num_features,), dtype))
        self.var = nnx.BatchStat(jnp.ones((num_features,), dtype))
        self.use_running_average = use_running_average
        self.axis = axis
        self.momentum = momentum

    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """Normalize `x`, and in training update the running averages.

        Args:
            x: Inputs; the features on `axis`.
            use_running_average: Overrides the module's.
            mask: Booleans that broadcast to the shape of `x`: which elements count in the
                statistics. All elements are normalized.

        Returns:
            An array of the shape of `x`.

        Raises:
            ValueError: If neither the module nor the call says which statistics to use, or the
                features of `x` are not `num_features` many.
        """
        if use_running_average is None:
            use_running_average = self.use_running_average
        if use_running_average is None:
            raise ValueError(
                "use_running_average must be given to BatchNorm or to its call; "
                "train() and eval() of the model set it as well"
            )
        check_real_array("x", x)
        feature_axes = canonical_axes(self.axis, x.ndim)
        batch_axes = tuple(axis for axis in range(x.ndim) if axis not in feature_axes)
        shape = self._feature_shape(x, feature_axes)
        mean, var = self.mean[...], self.var[...]
        nothing = jnp.zeros(shape, mean.dtype)
        running = Moments(mean.reshape(shape), nothing, var.reshape(shape), nothing)
        found = running
        if not use_running_average:
            batch = self._moments(x, batch_axes, mask)
            anything = batch.count > 0
            found = jax.tree.map(partial(jnp.where, anything), batch, running)
            self._average(batch, anything)
        return self._scale_and_shift(self._standardize(x, found), x, feature_axes, (mean, var))

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Choose the statistics in a view of the model that `nnx.view` makes.

        Args:
            use_running_average: Whether to normalize by the running averages; None for no change.
        """
        if use_running_average is not None:
            self.use_running_average = use_running_average

    def _average(self, batch: Moments, anything: jax.Array) -> None:
        for stored, new in ((self.mean, batch.mean), (self.var, batch.variance)):
            old = stored[...]
            new = jax.lax.stop_gradient(new).reshape(old.shape)
            averaged = self.momentum * old + (1 - self.momentum) * new
            kept = jnp.where(anything.reshape(old.shape), averaged, old)
            stored[...] = kept.astype(old.dtype)
