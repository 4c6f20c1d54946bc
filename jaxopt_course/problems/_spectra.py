"""What the known points of several problems share: spectra, subsets, fits, origins."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_integer, to_doubles
from jaxopt_course.problems._problem import Kind, KnownPoint

# n numbers have up to 2**n subsets; of their stationary points the first of them, this many, are
# given.
MAX_POINTS = 1024
# An eigenvalue this much smaller than the largest is a zero, rounded.
_ROUNDING = 1e-12


def check_spectrum(name: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the values in descending order.

    Raises:
        ValueError: unless they are finite, positive and distinct.
    """
    spectrum = to_doubles(name, values)
    spectrum = np.sort(spectrum)[::-1] if spectrum.ndim == 1 else spectrum
    if (
        spectrum.ndim != 1
        or not spectrum.size
        or not np.all(np.isfinite(spectrum))
        or not np.all(spectrum > 0)
        or np.unique(spectrum).size != spectrum.size
    ):
        raise ValueError(f"{name} must be distinct positive numbers, got {brief(values)}")
    return spectrum


def known_subsets(
    known: Callable[[tuple[int, ...]], KnownPoint], size: int, largest: int, smallest: int = 0
) -> tuple[KnownPoint, ...]:
    """Return the known points of subsets of `range(size)`, largest and leading ones first.

    Args:
        known: From a subset, ascending, to its point.
        size: Of the whole set.
        largest: Size of the largest subsets.
        smallest: Size of the smallest subsets.
    """
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(size), count) for count in range(largest, smallest - 1, -1)
    )
    return tuple(known(subset) for subset in itertools.islice(subsets, MAX_POINTS))


def minimum_with_hessian(params: Any, hessian: np.ndarray, value: float = 0.0) -> KnownPoint:
    """Return a minimum with the spectrum of its Hessian.

    Args:
        params: Where it is.
        hessian: Positive semidefinite; eigenvalues of rounding's size count as zeros. Where the
            residuals of least squares are zero, it is J^T J.
        value: The objective there.
    """
    eigenvalues = np.linalg.eigvalsh(hessian)
    eigenvalues[np.abs(eigenvalues) < _ROUNDING * eigenvalues[-1]] = 0.0
    return KnownPoint(
        params=params,
        kind="MINIMUM",
        value=value,
        index=0,
        nullity=int(np.sum(eigenvalues == 0)),
        eigenvalues=np.sort(eigenvalues),
    )


def origin(
    shape: tuple[int, int], block: np.ndarray, value: float, *, if_semidefinite: Kind
) -> KnownPoint:
    """Return the point 0 of a function of `U U^T` (or `U^T U`): its Hessian is one block, repeated.

    Args:
        shape: Of the parameters.
        block: The symmetric matrix that acts on each column (or row) of the parameters.
        value: The objective there.
        if_semidefinite: The kind of the point if the block has no negative eigenvalue.
    """
    eigenvalues = np.linalg.eigvalsh(block)
    eigenvalues[np.abs(eigenvalues) < _ROUNDING * np.max(np.abs(eigenvalues))] = 0.0
    kind: Kind = "STRICT_SADDLE"
    if np.all(eigenvalues >= 0):
        kind = if_semidefinite
    elif np.all(eigenvalues < 0):
        kind = "MAXIMUM"
    copies = shape[0] * shape[1] // eigenvalues.size
    return KnownPoint(
        params=np.zeros(shape),
        kind=kind,
        value=value,
        index=copies * int(np.sum(eigenvalues < 0)),
        nullity=copies * int(np.sum(eigenvalues == 0)),
        eigenvalues=np.sort(np.repeat(eigenvalues, copies)),
    )


def check_low_rank(
    eigenvalues: Sequence[float] | np.ndarray, dimension: int, rank: int | None
) -> tuple[np.ndarray, int]:
    """Return the eigenvalues in descending order, and how many columns its factor is to have.

    Raises:
        ValueError: unless they are finite, positive, distinct, and fit in the dimension.
        TypeError: a dimension or rank that is not an integer.
    """
    check_integer(rank=rank, optional=True)
    check_integer(dimension=dimension)
    spectrum = check_spectrum("eigenvalues", eigenvalues)
    if dimension < spectrum.size:
        raise ValueError(
            f"dimension must be at least the number of eigenvalues, {spectrum.size}, "
            f"got {dimension}"
        )
    columns = spectrum.size if rank is None else rank
    if not spectrum.size <= columns <= dimension:
        raise ValueError(f"rank must lie in [{spectrum.size}, {dimension}], got {brief(rank)}")
    return spectrum, columns
