"""Minibatch training of networks: many seeds and hyperparameters in one compiled program."""

from jaxopt_course import _exports
from jaxopt_course._engine._preemption import Preempted
from jaxopt_course.training._combinations import (
    Grid,
    grid,
)
from jaxopt_course.training._loop import (
    Fit,
    correct,
    cross_entropy,
    fit,
)
from jaxopt_course.training._program import Epochs, Runs
from jaxopt_course.training._tensorboard import TensorBoard

__all__ = [
    "Epochs",
    "Fit",
    "Grid",
    "Preempted",
    "Runs",
    "TensorBoard",
    "correct",
    "cross_entropy",
    "fit",
    "grid",
]

_exports.claim(__name__, __all__)
