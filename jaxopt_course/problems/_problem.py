"""What an objective with a known landscape is made of."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import chex
import jax
import numpy as np

from jaxopt_course._brief import brief
from jaxopt_course._checks import check_arrays, check_one_of, check_positive, check_real_floating
from jaxopt_course._reading import Reading, kinds_of, listed, number, readable

Kind = Literal["MINIMUM", "MAXIMUM", "STRICT_SADDLE", "NON_STRICT_SADDLE"]


@readable
@dataclasses.dataclass(frozen=True)
class KnownPoint:
    """A stationary point known in closed form.

    Attributes:
        params: Where it is: a pytree like the problem's parameters, of NumPy arrays in double
            precision (a float32 computation rounds them where it uses them).
        kind: What it is in truth, by the name of a member of `saddle.Kind`. A minimum whose Hessian
            is singular is a `"MINIMUM"` here, whether or not second derivatives can tell.
        value: The objective there.
        index: Number of negative eigenvalues of the Hessian.
        nullity: Number of zero eigenvalues of the Hessian.
        eigenvalues: All eigenvalues of the Hessian, ascending; None where no closed form is known.
    """

    params: Any
    kind: Kind
    value: float
    index: int
    nullity: int = 0
    eigenvalues: np.ndarray | None = None

    def _reading(self) -> Reading:
        """Kind, value and spectrum."""
        rows = [("value", number(self.value)), ("params", brief(self.params))]
        if self.eigenvalues is not None:
            rows.append(("eigenvalues", listed(self.eigenvalues)))
        kind = self.kind.lower().replace("_", " ")
        return Reading(f"{kind}, index {self.index}, nullity {self.nullity}", rows)


@readable
@dataclasses.dataclass(frozen=True)
class Problem:
    """An objective, its starts and what is known of its landscape.

    The docstring of the function that made the problem says on which set `smoothness` and
    `hessian_lipschitz` hold, and whether `stationary_points` are all there are.

    Attributes:
        name: Short, for tables and file names.
        fun: The objective, from parameters to a scalar of the parameters' dtype.
        init: From a typed key to a random start.
        minimum_value: The global minimum; None where it is unknown, `-inf` where there is none.
        stationary_points: Those known in closed form.
        smoothness: Lipschitz constant of the gradient (beta).
        hessian_lipschitz: Lipschitz constant of the Hessian (rho).
        bounds: For two parameters: `((left, right), (bottom, top))`, a window that shows the
            landscape.
    """

    name: str
    fun: Callable[[Any], jax.Array]
    init: Callable[[chex.PRNGKey], Any]
    minimum_value: float | None = None
    stationary_points: tuple[KnownPoint, ...] = ()
    smoothness: float | None = None
    hessian_lipschitz: float | None = None
    bounds: tuple[tuple[float, float], tuple[float, float]] | None = None

    def _reading(self) -> Reading:
        """What is known of its landscape."""
        told = {
            "minimum value": self.minimum_value,
            "smoothness": self.smoothness,
            "Hessian's Lipschitz constant": self.hessian_lipschitz,
        }
        rows = [(name, number(value)) for name, value in told.items() if value is not None]
        known = kinds_of(point.kind for point in self.stationary_points)
        rows.append(("points known", known or "none"))
        if self.bounds is not None:
            rows.append(("window", f"{self.bounds[0]} by {self.bounds[1]}"))
        rows.append(("more", ".fun(x), .init(key), .stationary_points"))
        return Reading(f"{self.name}, an objective", rows)


def random_start(
    shape: tuple[int, ...], *, distribution: str, scale: float
) -> Callable[[chex.PRNGKey], jax.Array]:
    """Return an `init` that draws an array from a centred distribution.

    Args:
        shape: Of the array.
        distribution: `"uniform"` on the cube `[-scale, scale]`, or `"normal"` with standard
            deviation `scale`.
        scale: Half-width or standard deviation, positive.
    """
    check_one_of(("uniform", "normal"), init_distribution=distribution)
    check_positive(init_scale=scale)

    def init(key):
        if distribution == "uniform":
            return jax.random.uniform(key, shape, minval=-scale, maxval=scale)
        return scale * jax.random.normal(key, shape)

    return init


def mirror_images(point: KnownPoint) -> Iterator[KnownPoint]:
    """A known point under every change of signs of its coordinates, itself first.

    For objectives that depend on `|x_1|, ..., |x_d|` only, all of these are stationary, with the
    same value and spectrum. A point with k non-zero coordinates has `2**k` images; they are
    made one at a time.

    Args:
        point: A known point whose parameters are one array of any shape.

    Returns:
        An iterator of known points that differ in `params` alone.

    Raises:
        TypeError: if `point` is not a `KnownPoint`.

    Example:
        >>> from jaxopt_course import problems
        >>> minimum = problems.octopus(dimension=3).stationary_points[-1]
        >>> len(list(problems.mirror_images(minimum)))
        8
    """
    if not isinstance(point, KnownPoint):
        raise TypeError(f"point must be a KnownPoint, got {brief(point)}")
    return _mirror_images(point)


def _mirror_images(point: KnownPoint) -> Iterator[KnownPoint]:
    """Yield the images; apart, as a generator would check its argument only when it is read."""
    coordinates = np.asarray(point.params)
    support = np.flatnonzero(coordinates)
    for signs in itertools.product((1.0, -1.0), repeat=support.size):
        image = coordinates.copy()
        image.flat[support] *= signs
        yield dataclasses.replace(point, params=image)


def check_shape(x: chex.Array, shape: tuple[int, ...], name: str) -> None:
    """Raise ValueError unless `x`, the parameters of problem `name`, has this shape."""
    where = f"the parameters of {name}"
    check_real_floating(where, x)
    check_arrays(where, x)
    got = getattr(x, "shape", None)
    if got != shape:
        raise ValueError(
            f"the parameters of {name} must have shape {shape}, got {got}; "
            "map over a batch with jax.vmap"
        )
