"""The functions with strict saddles that the rules of `saddle_race` run on."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_course import problems

DEPTH = 0.9
"""Share of the way from the saddle down to the minimum at which a run has succeeded."""


@dataclasses.dataclass(frozen=True)
class Course:
    """A function with a saddle to leave.

    Attributes:
        name: As the figure has it.
        fun: From a vector to a scalar.
        saddle: Where it is, exactly.
        value: The function there.
        minimum_value: The lowest value.
    """

    name: str
    fun: Callable[[jax.Array], jax.Array]
    saddle: np.ndarray
    value: float
    minimum_value: float

    @property
    def target(self) -> float:
        """Value at which a run has succeeded."""
        return self.value + DEPTH * (self.minimum_value - self.value)


def courses(dimension: int) -> tuple[Course, ...]:
    """Return the problems, all of the same dimension, so that they share one program."""
    plane = problems.nesterov_saddle()
    weakest = 0.2
    spectrum = np.append(np.linspace(0.5, 2.0, dimension - 1), -weakest)
    form = problems.quadratic(spectrum, key=jax.random.key(0))
    squares = np.append([2.25, 1.0], np.linspace(0.5, 0.25, dimension - 2))
    matrix = problems.symmetric_factorization(squares, rank=1)
    octopus = problems.octopus(dimension=dimension, tube_radius=1.0)
    origin = np.zeros(dimension)

    def confined(x):
        return form.fun(x) + jnp.square(jnp.dot(x, x)) / 4

    return (
        Course(
            "Nesterov's saddle",
            lambda x: plane.fun(x[:2]) + jnp.dot(x[2:], x[2:]) / 2,
            origin,
            value=0.0,
            minimum_value=-0.25,
        ),
        # Along the eigenvector v of -w, -w a^2 / 2 + a^4 / 4 is least at a^2 = w.
        Course("weak curvature", confined, origin, value=0.0, minimum_value=-(weakest**2) / 4),
        Course(
            "factorization",
            lambda x: matrix.fun(x[:, None]),
            np.eye(dimension)[1],
            value=float(np.sum(np.delete(squares, 1) ** 2)) / 2,
            minimum_value=float(np.sum(squares[1:] ** 2)) / 2,
        ),
        Course(
            f"octopus, {dimension} saddles",
            octopus.fun,
            origin,
            value=0.0,
            minimum_value=-float(dimension) * (37 * 1.5 + 13) / 6,
        ),
    )
