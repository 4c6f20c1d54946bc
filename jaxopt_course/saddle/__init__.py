"""Stationary points: what they are, and how optimizers leave them.

What a point is, where the others are, how curved it is there, and how runs leave it:

    point = saddle.classify(fun, x)
    census = saddle.find(fun, starts)
    pairs = saddle.extreme_eigenpairs(fun, x, k=3, which="both", key=key)
    runs = saddle.escape(fun, optimizer, starts, keys, max_steps=1000)
    passed = saddle.path_saddles(fun, params_along_a_run)
    between = saddle.barrier(fun, one_minimum, another)
"""

from jaxopt_course import _exports
from jaxopt_course._engine._crews import Progress
from jaxopt_course.saddle._barrier import (
    Barrier,
    barrier,
)
from jaxopt_course.saddle._curvature import (
    CurvatureProgress,
    Eigenpairs,
    empirical_fisher_product,
    extreme_eigenpairs,
    fisher_product,
    gauss_newton_product,
    hvp,
)
from jaxopt_course.saddle._escape import (
    EscapeRecord,
    EscapeRuns,
    Stop,
    escape,
)
from jaxopt_course.saddle._kfac import (
    KroneckerBlock,
    KroneckerBlocks,
    empirical_kfac_blocks,
    kfac_blocks,
    kfac_error,
    kfac_product,
    kfac_solve,
)
from jaxopt_course.saddle._linear_symmetries import (
    LinearSymmetries,
    linear_symmetries,
)
from jaxopt_course.saddle._objectives import (
    GaussNewton,
    MeanOverBatches,
    mean_over_batches,
)
from jaxopt_course.saddle._path_saddles import (
    PathSaddles,
    SlowPlaces,
    path_saddles,
)
from jaxopt_course.saddle._point import (
    DerivativeCheck,
    Evidence,
    Kind,
    StationaryPoint,
)
from jaxopt_course.saddle._search import (
    Census,
    Outcome,
    SearchRuns,
    find,
)
from jaxopt_course.saddle._stationary import (
    classify,
    min_eigenvalue,
)
from jaxopt_course.saddle._stochastic import (
    Estimate,
    SpectralDensity,
    diagonal,
    spectral_density,
    trace,
)
from jaxopt_course.saddle._stored import (
    StoredRuns,
    escape_to_disk,
)
from jaxopt_course.saddle._symmetries import (
    change_of_basis_null_space,
    rescaling_null_space,
    rotation_null_space,
)

__all__ = [
    "Barrier",
    "Census",
    "CurvatureProgress",
    "DerivativeCheck",
    "Eigenpairs",
    "EscapeRecord",
    "EscapeRuns",
    "Estimate",
    "Evidence",
    "GaussNewton",
    "Kind",
    "KroneckerBlock",
    "KroneckerBlocks",
    "LinearSymmetries",
    "MeanOverBatches",
    "Outcome",
    "PathSaddles",
    "Progress",
    "SearchRuns",
    "SlowPlaces",
    "SpectralDensity",
    "StationaryPoint",
    "Stop",
    "StoredRuns",
    "barrier",
    "change_of_basis_null_space",
    "classify",
    "diagonal",
    "empirical_fisher_product",
    "empirical_kfac_blocks",
    "escape",
    "escape_to_disk",
    "extreme_eigenpairs",
    "find",
    "fisher_product",
    "gauss_newton_product",
    "hvp",
    "kfac_blocks",
    "kfac_error",
    "kfac_product",
    "kfac_solve",
    "linear_symmetries",
    "mean_over_batches",
    "min_eigenvalue",
    "path_saddles",
    "rescaling_null_space",
    "rotation_null_space",
    "spectral_density",
    "trace",
]

_exports.claim(__name__, __all__)
