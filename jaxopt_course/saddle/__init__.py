"""Stationary points: what they are, and how optimizers leave them.

What a point is, where the others are, how curved it is there, and how runs leave it:

    point = saddle.classify(fun, x)
    census = saddle.find(fun, starts)
    pairs = saddle.extreme_eigenpairs(fun, x, k=3, which="both", key=key)
    runs = saddle.escape(fun, optimizer, starts, keys, max_steps=1000)
"""

from jaxopt_course._engine.crews import Progress as Progress
from jaxopt_course.saddle.curvature import Eigenpairs as Eigenpairs
from jaxopt_course.saddle.curvature import extreme_eigenpairs as extreme_eigenpairs
from jaxopt_course.saddle.curvature import gauss_newton_product as gauss_newton_product
from jaxopt_course.saddle.curvature import hvp as hvp
from jaxopt_course.saddle.degenerate import Evidence as Evidence
from jaxopt_course.saddle.density import SpectralDensity as SpectralDensity
from jaxopt_course.saddle.density import spectral_density as spectral_density
from jaxopt_course.saddle.escape import EscapeRecord as EscapeRecord
from jaxopt_course.saddle.escape import EscapeRuns as EscapeRuns
from jaxopt_course.saddle.escape import escape as escape
from jaxopt_course.saddle.objectives import GaussNewton as GaussNewton
from jaxopt_course.saddle.objectives import MeanOverBatches as MeanOverBatches
from jaxopt_course.saddle.objectives import mean_over_batches as mean_over_batches
from jaxopt_course.saddle.search import Census as Census
from jaxopt_course.saddle.search import Outcome as Outcome
from jaxopt_course.saddle.search import SearchRuns as SearchRuns
from jaxopt_course.saddle.search import find as find
from jaxopt_course.saddle.stationary import Kind as Kind
from jaxopt_course.saddle.stationary import StationaryPoint as StationaryPoint
from jaxopt_course.saddle.stationary import classify as classify
from jaxopt_course.saddle.stationary import min_eigenvalue as min_eigenvalue
from jaxopt_course.saddle.stochastic import Estimate as Estimate
from jaxopt_course.saddle.stochastic import diagonal as diagonal
from jaxopt_course.saddle.stochastic import trace as trace
from jaxopt_course.saddle.stop import Stop as Stop
from jaxopt_course.saddle.stored import StoredRuns as StoredRuns
from jaxopt_course.saddle.stored import escape_to_disk as escape_to_disk
from jaxopt_course.saddle.symmetries import change_of_basis_null_space as change_of_basis_null_space
from jaxopt_course.saddle.symmetries import rescaling_null_space as rescaling_null_space
from jaxopt_course.saddle.symmetries import rotation_null_space as rotation_null_space
