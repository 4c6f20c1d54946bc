"""What there is to see along a training: curvature, stability and geometry, each with its error.

An observable is a function of the parameters, the optimizer's state and the objective:

    observe = {"sharpness": observables.sharpness(), "distance": observables.distance(start)}
    run = transforms.path(fun, optimizer, start, 1000, every=50, observe=observe)
    run.observed["sharpness"].value

In a loop of one's own, `jax.jit(lambda params, state: observable(params, state, fun))`. One that is
missing here is any function of the same three arguments, or a `Following` where an observation
helps the next: those of eigenvectors begin where the last one ended. `saddle.escape` and
`training.fit` take them as `transforms.path` does.
"""

from jaxopt_course import _exports
from jaxopt_course._observe import Following
from jaxopt_course.observables._curvature import Measured, index, min_eigenvalue, sharpness, trace
from jaxopt_course.observables._geometry import (
    alignment,
    distance,
    effective_step,
    feature_rank,
    gradient_noise,
)
from jaxopt_course.observables._stability import preconditioned_sharpness, step_radius

__all__ = [
    "Following",
    "Measured",
    "alignment",
    "distance",
    "effective_step",
    "feature_rank",
    "gradient_noise",
    "index",
    "min_eigenvalue",
    "preconditioned_sharpness",
    "sharpness",
    "step_radius",
    "trace",
]

_exports.claim(__name__, __all__)
