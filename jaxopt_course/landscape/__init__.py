"""What an objective looks like around a point and between points: lines and planes of its values.

    first, second = (landscape.random_direction(key, params) for key in jax.random.split(key))
    seen = landscape.plane(fun, params, (first, second))
    plot.plane(seen)

A direction is a pytree like the parameters. A slice shows what its directions show: filters as
long as the network's own make slices of networks comparable (`random_direction`), eigenvectors
the extreme curvatures (`eigen_directions`), three minima what lies between them (`through`), a
path's principal directions the path (`principal_directions`).
"""

from jaxopt_course import _exports
from jaxopt_course.landscape._directions import (
    EigenDirections,
    Projection,
    ThroughPoints,
    eigen_directions,
    filter_normalized,
    principal_directions,
    project,
    random_direction,
    through,
)
from jaxopt_course.landscape._slices import Line, Plane, line, plane

__all__ = [
    "EigenDirections",
    "Line",
    "Plane",
    "Projection",
    "ThroughPoints",
    "eigen_directions",
    "filter_normalized",
    "line",
    "plane",
    "principal_directions",
    "project",
    "random_direction",
    "through",
]

_exports.claim(__name__, __all__)
