"""Objectives whose landscape is known: where they are stationary, and what each point is.

Every function returns a `Problem`: an objective, random starts, and what is known in closed form;
of `empirical_loss`, a network on data, nothing is. Objectives that hold data are
`jax.tree_util.Partial`s, so data can be an argument of what is compiled instead of a part of it.
"""

from jaxopt_course import _exports
from jaxopt_course.problems._bad_minima import bad_minimum
from jaxopt_course.problems._completion import matrix_completion
from jaxopt_course.problems._empirical import empirical_loss
from jaxopt_course.problems._linear_regression import linear_network_on_data
from jaxopt_course.problems._matrix import (
    asymmetric_factorization,
    symmetric_factorization,
)
from jaxopt_course.problems._multimodal import (
    himmelblau,
    mueller_brown,
    six_hump_camel,
)
from jaxopt_course.problems._networks import linear_network
from jaxopt_course.problems._octopus import octopus
from jaxopt_course.problems._phase_retrieval import phase_retrieval
from jaxopt_course.problems._problem import (
    KnownPoint,
    Problem,
    mirror_images,
)
from jaxopt_course.problems._quadratic import quadratic
from jaxopt_course.problems._quadratic_network import (
    quadratic_network,
    quadratic_network_on_data,
)
from jaxopt_course.problems._sensing import (
    matrix_sensing,
    rip_example,
)
from jaxopt_course.problems._surfaces import (
    cuspidal_saddle,
    hyperbola_valley,
    hyperbolic_saddle,
    monkey_saddle,
    nesterov_saddle,
    quartic_bowl,
    quartic_saddle,
    rosenbrock,
)
from jaxopt_course.problems._teacher_student import (
    relu_teacher_student,
    sampled_relu_teacher_student,
)
from jaxopt_course.problems._tensor import (
    tensor_component,
    tensor_decomposition,
    tensor_reconstruction,
)

__all__ = [
    "KnownPoint",
    "Problem",
    "asymmetric_factorization",
    "bad_minimum",
    "cuspidal_saddle",
    "empirical_loss",
    "himmelblau",
    "hyperbola_valley",
    "hyperbolic_saddle",
    "linear_network",
    "linear_network_on_data",
    "matrix_completion",
    "matrix_sensing",
    "mirror_images",
    "monkey_saddle",
    "mueller_brown",
    "nesterov_saddle",
    "octopus",
    "phase_retrieval",
    "quadratic",
    "quadratic_network",
    "quadratic_network_on_data",
    "quartic_bowl",
    "quartic_saddle",
    "relu_teacher_student",
    "rip_example",
    "rosenbrock",
    "sampled_relu_teacher_student",
    "six_hump_camel",
    "symmetric_factorization",
    "tensor_component",
    "tensor_decomposition",
    "tensor_reconstruction",
]

_exports.claim(__name__, __all__)
