"""Networks with activation, initializer and normalization as arguments."""

from jaxopt_course.nn._models._blocks import Block
from jaxopt_course.nn._models._convnet import ConvNet
from jaxopt_course.nn._models._mlp import MLP
from jaxopt_course.nn._models._resnet import ResNet
from jaxopt_course.nn._models._vgg import VGG16

__all__ = [
    "MLP",
    "VGG16",
    "Block",
    "ConvNet",
    "ResNet",
]
