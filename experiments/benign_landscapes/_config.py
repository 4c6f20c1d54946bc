"""Config of the experiment `benign_landscapes`: its fields and presets."""

import dataclasses

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
class Config:
    """How many runs and searches of each problem."""

    families: tuple[str, ...] = FAMILIES
    """Names of the problems."""
    runs: int = 1000
    """Random starts, and as many at saddles."""
    searches: int = 200
    """Random starts of the search for stationary points."""
    steps: int = 1000
    """Steps with noise."""
    stay_steps: int = 5000
    """Steps without noise."""
    noise: float = 0.1
    """Norm of the noise that is added to the gradient."""
    record_every: int = 10
    """Steps from one recorded value to the next."""
    seed: int = 0

    @classmethod
    def quick(cls) -> "Config":
        """1,000 runs of each sort."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """10,000 runs of each sort, 2,000 searches."""
        return cls(runs=10_000, searches=2000, stay_steps=50_000)
