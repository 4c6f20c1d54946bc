"""Config of the experiment `lecture_formulas`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, above, minimum, number


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Small problems that tell the forms apart."""

    gradient: Annotated[float, above(0)] = 0.3
    """Size of the constant gradient."""
    eps: Annotated[float, above(0)] = 1e-8
    """Guard against division by zero."""
    adam_steps: Annotated[int, minimum(1)] = 3000
    """Steps of Adam on the constant gradient."""
    curvatures: tuple[Annotated[float, above(0)], ...] = (0.5, 1.0, 2.0, 2.1, 2.12, 2.2, 5.0, 10.0)
    """Curvatures of the quadratics for Nesterov's look-ahead."""
    learning_rates: tuple[Annotated[float, above(0)], ...] = (1e-2, 1e-4)
    """Learning rates of Nesterov's method; the first also of the other rules."""
    dimensions: tuple[Annotated[int, minimum(1)], ...] = (1, 10, 50, 100)
    """Dimensions for AdaDelta."""
    batch_sizes: tuple[Annotated[int, minimum(1)], ...] = (32, 128, 512, 2048)
    """Examples in the batch of batch normalization."""
    thresholds: tuple[Annotated[float, number()], ...] = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
    """Thresholds theta of ELU."""

    @classmethod
    def quick(cls) -> "Config":
        """A few curvatures and dimensions."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """More of both."""
        return cls(
            curvatures=(0.5, 1.0, 1.5, 2.0, 2.05, 2.1, 2.12, 2.15, 2.2, 3.0, 5.0, 10.0),
            dimensions=(1, 2, 5, 10, 20, 50, 100, 200, 500),
        )
