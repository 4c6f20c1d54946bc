"""Config of the experiment `benign_landscapes`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, Seed, above, minimum, one_of

FAMILIES = (
    "symmetric factorization",
    "asymmetric factorization",
    "matrix sensing",
    "matrix completion",
    "tensor component",
    "tensor decomposition",
    "phase retrieval",
    "quadratic network",
)


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """How many runs and searches of each problem."""

    families: tuple[Annotated[str, one_of(FAMILIES)], ...] = FAMILIES
    """Names of the problems."""
    draws: Annotated[int, minimum(1)] = 8
    """Draws of the problems that have random data; runs and searches are divided among them."""
    runs: Annotated[int, minimum(1)] = 1000
    """Random starts, and as many at saddles."""
    searches: Annotated[int, minimum(1)] = 200
    """Random starts of searches for stationary points, two from each."""
    steps: Annotated[int, minimum(1)] = 1000
    """Steps with noise."""
    stay_steps: Annotated[int, minimum(1)] = 5000
    """Steps without noise."""
    noise: Annotated[float, above(0)] = 0.1
    """Norm of the noise that is added to the gradient."""
    record_every: Annotated[int, minimum(1)] = 10
    """Steps from one recorded value to the next."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """Three of the problems, 1,000 runs of each sort."""
        return cls(families=("matrix completion", "tensor decomposition", "quadratic network"))

    @classmethod
    def standard(cls) -> "Config":
        """All eight problems, 1,000 runs of each sort."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """10,000 runs of each sort, 4,000 searches, 100 draws."""
        return cls(draws=100, runs=10_000, searches=4000, stay_steps=50_000)
