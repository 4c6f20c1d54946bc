"""The landscapes and the rules that experiment `newton` starts on them."""

import dataclasses
from collections.abc import Callable

import numpy as np
import optax

from jaxopt_course import problems, transforms


@dataclasses.dataclass(frozen=True)
class Landscape:
    """A problem with the two constants that its rules need.

    Attributes:
        problem: All of its stationary points have regular Hessians.
        learning_rate: Of gradient descent; below 2 over the largest curvature that a run meets.
        hessian_lipschitz: M of cubic Newton.
    """

    problem: problems.Problem
    learning_rate: float
    hessian_lipschitz: float


def landscapes() -> dict[str, Landscape]:
    """Return the landscapes that starts are drawn on, by name."""
    # Starts about as far from the origin as the saddles are, sqrt(eigenvalue).
    factorization = problems.symmetric_factorization(
        np.arange(6.0, 0.0, -1.0) / 4, rank=1, init_scale=0.5
    )
    return {
        "himmelblau": Landscape(problems.himmelblau(), 2e-3, 150.0),
        "six_hump_camel": Landscape(problems.six_hump_camel(), 5e-3, 250.0),
        "factorization": Landscape(factorization, 3e-2, 60.0),
    }


RULES: dict[str, Callable[[Landscape], optax.GradientTransformation]] = {
    "gradient descent": lambda scape: transforms.gradient_descent(scape.learning_rate),
    "Newton": lambda _: transforms.newton(),
    "saddle-free Newton": lambda _: transforms.saddle_free_newton(),
    "cubic Newton": lambda scape: transforms.cubic_newton(scape.hessian_lipschitz),
    "trust region": lambda _: transforms.trust_region(),
}
