"""How `classify` goes about it: by the dense Hessian, beyond it, or matrix-free.

Apart from the checks, so that a search which classifies many points inspects their objective once.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxopt_course import _batching
from jaxopt_course.saddle._degenerate import Examined, examine, no_evidence
from jaxopt_course.saddle._dense import dense_spectrum, kind_by_hessian, oriented
from jaxopt_course.saddle._kind import Kind
from jaxopt_course.saddle._lanczos_point import classify_matrix_free
from jaxopt_course.saddle._point import StationaryPoint
from jaxopt_course.saddle._symmetries import flat_directions

# Up to this many parameters the dense Hessian and its decomposition take seconds.
_DENSE = 2000
# Members of a batch that are examined beyond the Hessian together.
_BLOCK = 8


def classify_unchecked(
    fun: Callable[[Any], jax.Array],
    x: chex.ArrayTree,
    *,
    gradient_tolerance: chex.Numeric | None = None,
    eigenvalue_tolerance: chex.Numeric | None = None,
    order: int = 2,
    method: str = "auto",
    null_space: Callable[[Any], Any] | chex.ArrayTree | None = None,
    key: chex.PRNGKey | None = None,
    num_eigenvalues: int = 4,
    failure_probability: float = 1e-3,
    num_starts: int = 16,
) -> StationaryPoint:
    """Do what `classify` does, with arguments that are known to be right."""
    flat, unravel = ravel_wide(x)

    def flat_fun(flat):
        return fun(unravel(flat))

    directions = None
    if null_space is not None:
        directions = flat_directions(null_space, x, unravel)

    if method == "lanczos" or (method == "auto" and order == 2 and flat.size > _DENSE):
        return classify_matrix_free(
            flat_fun,
            flat,
            unravel,
            gradient_tolerance=gradient_tolerance,
            eigenvalue_tolerance=eigenvalue_tolerance,
            directions=directions,
            key=jax.random.key(0) if key is None else key,
            num_eigenvalues=min(num_eigenvalues, flat.size),
            failure_probability=failure_probability,
        )
    spectrum = dense_spectrum(
        flat_fun,
        flat,
        eigenvalue_tolerance=eigenvalue_tolerance,
        directions=None if directions is None else directions(flat),
    )
    eps = float(jnp.finfo(flat.dtype).eps)
    size = jnp.max(jnp.abs(spectrum.eigenvalues))
    if gradient_tolerance is None:
        gradient_tolerance = eps ** (2 / 3) * size * (1 + jnp.max(jnp.abs(flat)))
    gradient_tolerance = jnp.asarray(gradient_tolerance, flat.dtype)
    gradient_norm = jnp.linalg.norm(spectrum.gradient)
    # A gradient that is NaN is not small.
    kind, negative, positive = kind_by_hessian(spectrum, gradient_norm <= gradient_tolerance)
    found = Examined(
        kind=kind,
        index=negative,
        nullity=flat.size - negative - positive,
        escape_direction=oriented(spectrum.eigenvectors[:, 0]),
        evidence=no_evidence(flat, kind),
    )
    if order == 4:
        look_further = _batching.update_where(
            lambda _, flat, spectrum, tolerance: examine(
                flat_fun,
                flat,
                spectrum,
                eigenvalue_tolerance=eigenvalue_tolerance,
                gradient_tolerance=tolerance,
                directions=directions,
                key=key,
                num_starts=num_starts,
            ),
            block=_BLOCK,
        )
        found = look_further(kind == Kind.DEGENERATE, found, flat, spectrum, gradient_tolerance)
    rounding = flat.size * eps * size
    evidence = dataclasses.replace(
        found.evidence,
        descent_point=unravel(found.evidence.descent_point),
        base=unravel(found.evidence.base),
    )
    return StationaryPoint(
        kind=found.kind,
        index=found.index,
        nullity=found.nullity,
        eigenvalues=spectrum.eigenvalues,
        min_eigenvalue=spectrum.eigenvalues[0],
        escape_direction=unravel(found.escape_direction),
        gradient_norm=gradient_norm,
        gradient_tolerance=gradient_tolerance,
        eigenvalue_tolerance=spectrum.tolerance,
        min_eigenvalue_error=rounding,
        min_eigenvalue_bound=spectrum.eigenvalues[0] - rounding,
        failure_probability=jnp.zeros((), flat.dtype),
        kantorovich=spectrum.kantorovich,
        hessian_lipschitz=spectrum.lipschitz,
        null_space_residual=spectrum.known_residual,
        null_space_used=jnp.any(spectrum.known),
        finite=jnp.all(jnp.isfinite(spectrum.eigenvalues)) & jnp.isfinite(gradient_norm),
        evidence=evidence if order == 4 else None,
    )


def ravel_wide(x: chex.ArrayTree) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """Ravel `x` into one vector in the widest dtype of its leaves, float32 at least."""
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(x))
    return ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), x))
