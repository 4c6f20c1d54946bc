"""Pictures of results: every function takes what the library returned, and takes and returns Axes.

    runs = saddle.escape(fun, optimizer, starts, keys, max_steps=1000)
    plot.escape_times(runs, label="perturbed").figure.savefig("times.png")

Functions draw into `ax`, or into a figure of their own without one, and set labels but no style:
colours follow matplotlib's cycle, but each kind of stationary point has its own. `band`,
`distribution` and `points` take arrays of any source, the others what this library returned.
matplotlib comes with the extra `jaxopt_course[plot]` and is imported when something is drawn.
"""

from jaxopt_course import _exports
from jaxopt_course.plot._bands import band, distribution
from jaxopt_course.plot._plane import census, line, path, plane, points, surface
from jaxopt_course.plot._runs import escape_times, record
from jaxopt_course.plot._spectrum import density

__all__ = [
    "band",
    "census",
    "density",
    "distribution",
    "escape_times",
    "line",
    "path",
    "plane",
    "points",
    "record",
    "surface",
]

_exports.claim(__name__, __all__)
