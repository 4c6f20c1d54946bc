"""The lecture's rates and bounds as functions.

Functions of Python numbers compute in double precision; inside `jit`, `vmap` and `grad` they trace.
Symbols stand for what they stand for in the papers: beta (smoothness), rho (Hessian-Lipschitz
constant), mu (strong convexity), eta (learning rate), Delta (value at the start minus the infimum).
"""

from jaxopt_course import _exports
from jaxopt_course.theory._descent import (
    convex_value_bound,
    descent_lemma_gap,
    gradient_norm_bound,
    guaranteed_decrease,
    second_order_threshold,
    stationarity_iterations,
)
from jaxopt_course.theory._exit_times import (
    octopus_exit_ratio,
    octopus_exit_ratio_bound,
    quadratic_escape_steps,
)
from jaxopt_course.theory._exponential_rate import (
    ExponentialRate,
    exponential_rate,
)
from jaxopt_course.theory._neon2 import (
    Neon2Parameters,
    neon2_parameters,
)
from jaxopt_course.theory._perturbation import (
    PerturbedAGDParameters,
    PerturbedGDParameters,
    perturbed_agd_iterations,
    perturbed_agd_parameters,
    perturbed_gd_iterations,
    perturbed_gd_parameters,
)
from jaxopt_course.theory._quadratics import (
    QuadraticRate,
    gradient_descent_rate,
    heavy_ball_rate,
    linear_iterations,
    nesterov_rate,
    recursion_factor,
)
from jaxopt_course.theory._smoothness import estimate_smoothness
from jaxopt_course.theory._stability import stability_threshold

__all__ = [
    "ExponentialRate",
    "Neon2Parameters",
    "PerturbedAGDParameters",
    "PerturbedGDParameters",
    "QuadraticRate",
    "convex_value_bound",
    "descent_lemma_gap",
    "estimate_smoothness",
    "exponential_rate",
    "gradient_descent_rate",
    "gradient_norm_bound",
    "guaranteed_decrease",
    "heavy_ball_rate",
    "linear_iterations",
    "neon2_parameters",
    "nesterov_rate",
    "octopus_exit_ratio",
    "octopus_exit_ratio_bound",
    "perturbed_agd_iterations",
    "perturbed_agd_parameters",
    "perturbed_gd_iterations",
    "perturbed_gd_parameters",
    "quadratic_escape_steps",
    "recursion_factor",
    "second_order_threshold",
    "stability_threshold",
    "stationarity_iterations",
]

_exports.claim(__name__, __all__)
