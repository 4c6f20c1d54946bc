"""Config of the experiment `newton`: its fields and presets."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Random starts on three landscapes; random coordinates for one more."""

    landscapes: tuple[str, ...] = ("himmelblau", "six_hump_camel", "factorization")
    """Names of landscapes."""
    starts: int = 500
    """Random starts on each landscape, and as many beside its saddles."""
    steps: int = 100
    """Steps of each run; gradient descent takes thirty times as many."""
    distance: float = 1e-2
    """Distance from a saddle at which the runs beside it start."""
    condition_numbers: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)
    """Condition numbers of the matrix A; 1 is a rotation."""
    affine_starts: int = 200
    """Random starts of the test of affine invariance."""
    affine_steps: int = 3
    """Steps after which the iterates are compared."""
    seed: int = 0

    @classmethod
    def quick(cls) -> "Config":
        """Five hundred starts."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Five thousand starts."""
        return cls(starts=5_000, affine_starts=2_000)
