"""Config of the experiment `newton`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, Seed, above, minimum, one_of

LANDSCAPES = ("himmelblau", "six_hump_camel", "factorization")


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Random starts on three landscapes; random coordinates for one more."""

    landscapes: tuple[Annotated[str, one_of(LANDSCAPES)], ...] = LANDSCAPES
    """Names of landscapes."""
    starts: Annotated[int, minimum(1)] = 500
    """Random starts on each landscape, and as many beside its saddles."""
    steps: Annotated[int, minimum(1)] = 100
    """Steps of each run; gradient descent takes thirty times as many."""
    distance: Annotated[float, above(0)] = 1e-2
    """Distance from a saddle at which the runs beside it start."""
    condition_numbers: tuple[Annotated[float, minimum(1)], ...] = (1.0, 10.0, 100.0, 1000.0)
    """Condition numbers of the matrix A; 1 is a rotation."""
    affine_starts: Annotated[int, minimum(1)] = 200
    """Random starts of the test of affine invariance."""
    affine_steps: Annotated[int, minimum(1)] = 3
    """Steps after which the iterates are compared."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """Five hundred starts."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Five thousand starts."""
        return cls(starts=5_000, affine_starts=2_000)
