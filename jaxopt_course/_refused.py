"""What compilers for accelerators refuse, said while a function is traced and in its terms.

The compilers for TPUs and GPUs have no program for some of what JAX can trace: the decompositions
of matrices that need not be symmetric, on a TPU integers of 64 bits in products of matrices and the
algorithms of other devices for these, and in float64, which it emulates, Fourier transforms, the
next number, and the maximum in a window once it is differentiated. They say so by the
name of an instruction, after the whole program was traced. What is listed here was compiled for a
TPU v5e and an H100 without a device; `docs/accelerators.md` says what else was tried and is taken.
"""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from jaxopt_course._equations import is_by_platform
from jaxopt_course._platforms import target

_GENERAL = {
    "eig": "eigenvalues of a matrix that need not be symmetric (jnp.linalg.eig)",
    "schur": "the Schur form of a matrix (jax.scipy.linalg.schur, sqrtm, funm)",
    "hessenberg": "the Hessenberg form of a matrix (jax.scipy.linalg.hessenberg)",
}
_LACKED_BY_GPUS = {"schur", "hessenberg"}
_ALGORITHMS = {
    *("F32_F32_F32", "F64_F64_F64", "BF16_BF16_F32_X9", "TF32_TF32_F32", "TF32_TF32_F32_X3"),
}
_WINDOWS = {"reduce_window_max", "reduce_window_min"}
_OF_FLOAT32 = {
    "fft": "a Fourier transform",
    "reduce_precision": "a rounding (jax.lax.reduce_precision)",
}
_NEIGHBOURS = (
    "the next number of float64 (jnp.nextafter, truncated_normal, flax's default weights)",
    "take float32, or weights that are normal or uniform, as those of jaxopt_course.nn",
)
_WINDOWED = (
    "the derivative of a maximum in windows of float64 (reduce_window, flax's max_pool)",
    "take float32, or the maximum along axes into which a reshape cuts the windows",
)


def check_accepted(name: str, jaxpr: Any, *, differentiated: bool) -> None:
    """Raise ValueError if the compiler of the platform traced for is known to refuse a function.

    Args:
        name: What the caller calls the function.
        jaxpr: Its equations.
        differentiated: Whether its derivatives are compiled, too.

    Raises:
        ValueError: With what is refused, and what to do instead. Never for a CPU.

    Example:
        >>> import jax
        >>> from jaxopt_course._platforms import traced_for
        >>> jaxpr = jax.make_jaxpr(jnp.linalg.eigvals)(jnp.eye(2)).jaxpr
        >>> with traced_for("tpu"):
        ...     check_accepted("fun", jaxpr, differentiated=False)
        Traceback (most recent call last):
        ...
        ValueError: fun computes eigenvalues of a matrix that need not be symmetric ...
    """
    platform = target()
    if platform == "cpu":
        return
    for what, instead in _refused(jaxpr, platform == "tpu", differentiated):
        raise ValueError(
            f"{name} computes {what}, for which there is no compiler on {platform}: {instead}, or "
            'trace it for a CPU, jax.default_device(jax.devices("cpu")[0])'
        )


def check_truncated(name: str, dtype: Any) -> None:
    """Raise ValueError if a normal of this dtype that is cut off cannot be drawn on the platform.

    Example:
        >>> from jaxopt_course._platforms import traced_for
        >>> with traced_for("tpu"):
        ...     check_truncated("param_dtype", "float32")
    """
    if target() == "tpu" and str(jnp.dtype(dtype)) == "float64":
        raise ValueError(
            f"{name} must be float32 on a TPU for weights drawn from a normal that is cut off, got "
            "float64: or take kernel_init=nn.kaiming_normal(), which does not cut"
        )


def _refused(jaxpr: Any, is_tpu: bool, differentiated: bool) -> Iterator[tuple[str, str]]:
    """Yield what is refused in a jaxpr, and what to do instead."""
    for equation in jaxpr.eqns:
        if is_by_platform(equation):  # Whoever wrote it has another way for each.
            continue
        primitive = equation.primitive.name
        dtypes = {str(atom.aval.dtype) for atom in equation.invars if hasattr(atom.aval, "dtype")}
        if primitive in (_GENERAL if is_tpu else _LACKED_BY_GPUS):
            yield _GENERAL[primitive], "take eigh of a symmetric matrix, or compute it beforehand"
        elif is_tpu and primitive == "dot_general" and dtypes & {"int64", "uint64"}:
            yield "a product of matrices of 64-bit integers", "take int32, or float32"
        elif is_tpu and primitive == "dot_general" and (asked := _algorithm(equation)) is not None:
            yield f"a product of matrices by {asked}", "take a precision, such as highest"
        elif is_tpu and primitive in _OF_FLOAT32 and dtypes & {"float64", "complex128"}:
            yield f"{_OF_FLOAT32[primitive]} of float64", "take float32"
        elif is_tpu and primitive == "nextafter" and "float64" in dtypes:
            yield _NEIGHBOURS
        elif is_tpu and primitive in _WINDOWS and "float64" in dtypes and differentiated:
            yield _WINDOWED
        for inner in jaxprs_in_params(equation.params):
            yield from _refused(inner, is_tpu, differentiated)


def _algorithm(equation: Any) -> str | None:
    """The algorithm that a product of matrices asks for, if a TPU lacks it."""
    name = getattr(equation.params["precision"], "name", None)
    return name if name in _ALGORITHMS else None
