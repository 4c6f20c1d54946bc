"""The interactive page: its surfaces, from the library, and the scripts that compute in it.

The page computes everything itself, from formulas written a second time in JavaScript
(`templates/explorer_*.js`), which `tests/experiments/lab/test_explorer.py` holds against the
library's.
What is data and not a formula (windows, known stationary points, minima) comes from
`jaxopt_course.problems` when the report is written.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).with_name("templates")
FORMULAS = (
    "explorer_surfaces.js",
    "explorer_rules.js",
    "explorer_stationary.js",
    "explorer_escape.js",
)
"""Scripts without a page: what the tests compare with the library."""
PAGE = ("explorer_plots.js", "explorer_page.js", "explorer_escape_page.js")
"""Scripts that draw and listen."""


@dataclasses.dataclass(frozen=True)
class Surface:
    """A problem of two variables as the page offers it.

    Attributes:
        title: What the reader is offered.
        formula: The function in plain text.
        problem: Name of the factory in `jaxopt_course.problems`.
        options: Its arguments.
        rate: Step size at which gradient descent is at ease in the window.
        start: Where the first run starts: near a saddle where there is one.
        window: What is shown, ((x low, x high), (y low, y high)); the problem's by default.
    """

    title: str
    formula: str
    problem: str
    options: dict[str, Any]
    rate: float
    start: tuple[float, float]
    window: tuple[tuple[float, float], tuple[float, float]] | None = None

    def make(self) -> Any:
        """Return the problem."""
        from jaxopt_course import problems

        return getattr(problems, self.problem)(**self.options)


SURFACES = (
    Surface(
        "Nesterov's saddle: a strict saddle between two minima",
        "x²/2 + y⁴/4 - y²/2",
        "nesterov_saddle",
        {},
        0.1,
        (1.3, 0.001),
    ),
    Surface(
        "Hyperbolic saddle: the plainest strict saddle",
        "x² - y²",
        "hyperbolic_saddle",
        {},
        0.05,
        (0.9, 0.0001),
    ),
    Surface(
        "Ill-conditioned quadratic",
        "(25 x² + y²)/2",
        "quadratic",
        {"eigenvalues": (25.0, 1.0)},
        0.03,
        (1.5, 1.8),
        ((-2, 2), (-2, 2)),
    ),
    Surface("Rosenbrock's valley", "(1 - x)² + 100 (y - x²)²", "rosenbrock", {}, 0.001, (-1.2, 1)),
    Surface(
        "Hyperbola: a valley of minima, a saddle at 0",
        "(x y - 1)²",
        "hyperbola_valley",
        {},
        0.02,
        (1.501, -1.5),
    ),
    Surface(
        "Himmelblau: four minima, four saddles, a maximum",
        "(x² + y - 11)² + (x + y² - 7)²",
        "himmelblau",
        {},
        0.005,
        (0.0, -4.0),
    ),
    Surface(
        "Six-hump camel: fifteen stationary points",
        "(4 - 2.1 x² + x⁴/3) x² + x y + (4 y² - 4) y²",
        "six_hump_camel",
        {},
        0.02,
        (1.2, 0.3),
    ),
    Surface(
        "Müller and Brown's potential",
        "a sum of four exponentials",
        "mueller_brown",
        {},
        0.0002,
        (-0.82, 0.62),
    ),
    Surface(
        "Octopus: saddles in a row",
        "three saddles in the positive quadrant hold gradient descent, one after the other",
        "octopus",
        {"dimension": 2},
        1 / 6,
        (0.5, 0.5),
        ((-4, 14), (-4, 14)),
    ),
    Surface(
        "Monkey saddle: the Hessian is zero",
        "x³ - 3 x y²",
        "monkey_saddle",
        {},
        0.05,
        (0.8, 0.01),
    ),
    Surface(
        "Quartic bowl: a minimum that the Hessian cannot see",
        "x⁴ + y⁴",
        "quartic_bowl",
        {},
        0.05,
        (0.9, 0.6),
    ),
    Surface(
        "Cuspidal saddle: attracts from a half-plane",
        "y² + x³",
        "cuspidal_saddle",
        {},
        0.05,
        (0.8, 0.7),
    ),
)


def data() -> list[dict[str, Any]]:
    """Return what the page must know of every surface, as plain values for JSON."""
    return [_describe(surface) for surface in SURFACES]


def script(files: tuple[str, ...] = FORMULAS + PAGE) -> str:
    """Return the scripts as one."""
    return "\n".join((TEMPLATES / file).read_text(encoding="utf-8") for file in files)


def _describe(surface: Surface) -> dict[str, Any]:
    """What the page must know of a surface, as plain values for JSON."""
    problem = surface.make()
    window = surface.window or problem.bounds
    width = window[0][1] - window[0][0]
    minimum = problem.minimum_value
    return {
        "id": problem.name,
        "title": surface.title,
        "formula": surface.formula,
        "window": window,
        "minimum": minimum if math.isfinite(minimum) else None,
        "start": surface.start,
        "points": [
            {"x": float(point.params[0]), "y": float(point.params[1]), "kind": point.kind}
            for point in problem.stationary_points
        ],
        "rates": _rates(surface.rate, width),
    }


def _rates(rate: float, width: float) -> dict[str, float]:
    """Return a first step size for every rule; the adaptive ones' are lengths."""
    length = float(f"{width / 100:.1g}")
    return {
        "gradient_descent": rate,
        "heavy_ball": float(f"{rate / 4:.2g}"),
        "nesterov": float(f"{rate / 2:.2g}"),
        "newton": 1.0,
        "adagrad": 10 * length,
        "rmsprop": length,
        "adadelta": 1.0,
        "adam": 2 * length,
        "perturbed_gradient_descent": rate,
        "noisy_gradient_descent": rate,
    }
