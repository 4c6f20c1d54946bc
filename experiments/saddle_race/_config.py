"""Config of the experiment `saddle_race`: its fields and presets."""

import dataclasses

from ._racers import RACERS


@dataclasses.dataclass(frozen=True)
class Config:
    """Starts at and near the saddles of functions of a few variables."""

    racers: tuple[str, ...] = tuple(racer.name for racer in RACERS)
    """Names of the rules."""
    dimension: int = 5
    """Number of variables of every problem."""
    starts: int = 32
    """Starts at, and as many near, the saddle of every problem."""
    tuning_starts: int = 4
    """Starts at and near each, for each value of the hyperparameter."""
    scales: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Values of the hyperparameter to choose from."""
    distance: float = 1e-3
    """Distance of the near starts from the saddle."""
    budget: int = 2000
    """Gradient evaluations."""
    seed: int = 0

    @classmethod
    def quick(cls) -> "Config":
        """Five variables, 32 starts of each kind."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Ten variables, 100 starts of each kind, and a larger budget."""
        return cls(dimension=10, starts=100, tuning_starts=8, budget=5_000)
