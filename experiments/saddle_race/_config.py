"""Config of the experiment `saddle_race`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, Seed, above, minimum, one_of
from ._racers import RACERS

NAMES = tuple(racer.name for racer in RACERS)


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Starts at and near the saddles of functions of a few variables."""

    racers: tuple[Annotated[str, one_of(NAMES)], ...] = NAMES
    """Names of the rules."""
    dimension: Annotated[int, minimum(2)] = 5
    """Number of variables of every problem."""
    starts: Annotated[int, minimum(1)] = 32
    """Starts at, and as many near, the saddle of every problem."""
    tuning_starts: Annotated[int, minimum(1)] = 4
    """Starts at and near each saddle that try each value of the hyperparameter."""
    scales: tuple[Annotated[float, above(0)], ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """Values of the hyperparameter to choose from."""
    distance: Annotated[float, above(0)] = 1e-3
    """Distance of the near starts from the saddle."""
    budget: Annotated[int, minimum(1)] = 2000
    """Gradient evaluations that a run may take."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """Five variables, 32 starts of each kind."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Ten variables, 100 starts of each kind, and a larger budget."""
        return cls(dimension=10, starts=100, tuning_starts=8, budget=5_000)
