"""Techniques of network training, for flax nnx.

activations     functions, by name or not, and the gain each needs
initializers    `(key, shape, dtype)` functions, and initialization by data
pretrained      initialization by pre-training
normalization   batch, layer, instance, group and weight normalization
noise           factors and offsets behind a normalization, drawn anew at every step
matching        hidden units in the order of another network's
signals         sizes of outputs and gradients through the depth of a network
models          MLP, ConvNet, ResNet and VGG-16 with all of these as arguments
functional_view a module as pure functions of its parameters
convolution     convolution as a matrix product, for CPU loops
"""

from jaxopt_course import _exports
from jaxopt_course.nn._activation_noise import (
    ActivationNoise,
)
from jaxopt_course.nn._activations import (
    ACTIVATIONS,
    activation,
    elu,
    gain,
    gelu,
    identity,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    tanh,
)
from jaxopt_course.nn._convolution import (
    conv_general_dilated,
    im2col_conv_general_dilated,
)
from jaxopt_course.nn._functional_view import (
    FunctionalView,
    functional_view,
)
from jaxopt_course.nn._initializers import (
    LayerStart,
    kaiming_normal,
    kaiming_uniform,
    lsuv,
    scaled_normal,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from jaxopt_course.nn._matching import (
    Matched,
    match_units,
    permute_units,
    unit_activations,
    unit_axes,
)
from jaxopt_course.nn._models import (
    MLP,
    VGG16,
    ConvNet,
    ResNet,
)
from jaxopt_course.nn._normalization import (
    BatchNorm,
    BatchNormGradients,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    WeightNorm,
    batch_norm_backward,
    data_dependent_init,
)
from jaxopt_course.nn._pretrained import (
    Pretrained,
    from_pretrained,
)
from jaxopt_course.nn._signals import (
    Signals,
    signals,
)

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "VGG16",
    "ActivationNoise",
    "BatchNorm",
    "BatchNormGradients",
    "ConvNet",
    "FunctionalView",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LayerStart",
    "Matched",
    "Pretrained",
    "ResNet",
    "Signals",
    "WeightNorm",
    "activation",
    "batch_norm_backward",
    "conv_general_dilated",
    "data_dependent_init",
    "elu",
    "from_pretrained",
    "functional_view",
    "gain",
    "gelu",
    "identity",
    "im2col_conv_general_dilated",
    "kaiming_normal",
    "kaiming_uniform",
    "leaky_relu",
    "lsuv",
    "match_units",
    "permute_units",
    "relu",
    "scaled_normal",
    "sigmoid",
    "signals",
    "silu",
    "tanh",
    "unit_activations",
    "unit_axes",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

_exports.claim(__name__, __all__)
