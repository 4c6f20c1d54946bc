"""Matrix-free linear algebra on symmetric operators: Hessians that are only ever multiplied by.

Everything here works on flat vectors and on `operator`, a function `v -> A v`; `flat_hessian`
turns an objective on any pytree into such an operator. One algorithm a file:

    vectors     a pytree as one vector, and back
    hessian     Hessian-vector products, and Hessians as operators on flat vectors
    lanczos     orthonormal Krylov bases that survive exhausted subspaces
    eigenpairs  extreme eigenpairs by thick restarts, with residuals measured afresh
    model       the quadratic model of an objective on a space, in an eigenbasis of its Hessian
    bounds      how far a Lanczos run from a random start can be from the end of the spectrum
    steihaug    conjugate gradients truncated at a trust region or at negative curvature
    secular     exact minimisers of the trust-region and of the cubic model, hard case included

All products are taken at JAX's highest matrix-multiplication precision: accelerators' defaults
would lose the small eigenvalues that decide what a stationary point is.
"""

from jaxopt_course._krylov._arnoldi import Dominant, dominant_eigenvalue
from jaxopt_course._krylov._bounds import (
    kuczynski_wozniakowski_error,
    rounding_level,
    smallest_eigenvalue_bound,
)
from jaxopt_course._krylov._eigenpairs import (
    Eigenpairs,
    Projection,
    extreme_eigenpairs,
)
from jaxopt_course._krylov._hessian import (
    Operator,
    dense,
    flat_hessian,
    half_widened,
    hvp,
    is_forward_refused,
    product_of_hessian,
    rounded_like,
)
from jaxopt_course._krylov._lanczos import (
    Krylov,
    empty_krylov,
    extend,
    lanczos,
    norm,
    normalized,
    orthogonal_direction,
    tridiagonal,
)
from jaxopt_course._krylov._model import (
    EigenModel,
    eigen_model,
)
from jaxopt_course._krylov._secular import (
    cubic_minimizer,
    trust_region_minimizer,
)
from jaxopt_course._krylov._steihaug import (
    TruncatedCG,
    truncated_cg,
)
from jaxopt_course._krylov._vectors import flatten, flatten_wide, ravel

__all__ = [
    "Dominant",
    "EigenModel",
    "Eigenpairs",
    "Krylov",
    "Operator",
    "Projection",
    "TruncatedCG",
    "cubic_minimizer",
    "dense",
    "dominant_eigenvalue",
    "eigen_model",
    "empty_krylov",
    "extend",
    "extreme_eigenpairs",
    "flat_hessian",
    "flatten",
    "flatten_wide",
    "half_widened",
    "hvp",
    "is_forward_refused",
    "kuczynski_wozniakowski_error",
    "lanczos",
    "norm",
    "normalized",
    "orthogonal_direction",
    "product_of_hessian",
    "ravel",
    "rounded_like",
    "rounding_level",
    "smallest_eigenvalue_bound",
    "tridiagonal",
    "truncated_cg",
    "trust_region_minimizer",
]
