"""Normalization modules with flax nnx's names and options, right where flax's round or fail.

BatchNorm        over the batch, per feature
LayerNorm        over the features, per example
InstanceNorm     over the positions, per example and feature
GroupNorm        over positions and groups of features, per example
WeightNorm       of the weights instead of the activations
"""

from jaxopt_course.nn._normalization._batch import BatchNorm
from jaxopt_course.nn._normalization._batch_backward import (
    BatchNormGradients,
    batch_norm_backward,
)
from jaxopt_course.nn._normalization._example import (
    GroupNorm,
    InstanceNorm,
    LayerNorm,
)
from jaxopt_course.nn._normalization._statistics import (
    Moments,
    moments,
)
from jaxopt_course.nn._normalization._weight import (
    WeightNorm,
    data_dependent_init,
)

__all__ = [
    "BatchNorm",
    "BatchNormGradients",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "Moments",
    "WeightNorm",
    "batch_norm_backward",
    "data_dependent_init",
    "moments",
]
