"""Config of the experiment `linear_networks`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, Seed, above, minimum


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Depths, and how many starts."""

    depths: tuple[Annotated[int, minimum(2)], ...] = (2, 3, 4)
    """Numbers of layers, each of which is a matrix."""
    runs: Annotated[int, minimum(1)] = 1000
    """Random starts of gradient descent at each depth."""
    searches: Annotated[int, minimum(1)] = 100
    """Ends of descent, and random starts, from which stationary points are searched."""
    steps: Annotated[int, minimum(1)] = 30_000
    """Steps of gradient descent at most."""
    directions: Annotated[int, minimum(1)] = 20
    """Directions in which networks leave W = 0."""
    times: tuple[Annotated[float, above(0)], ...] = (20.0, 60.0, 180.0)
    """Escape times of chains that the distances from W = 0 are chosen for, at depth 3 and more."""
    log_times: tuple[Annotated[float, above(0)], ...] = (4.0, 8.0, 12.0)
    """Escape times of chains that the distances from W = 0 are chosen for, at depth 2."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """Two and three matrices, 500 runs and 50 searches."""
        return cls(depths=(2, 3), runs=500, searches=50)

    @classmethod
    def standard(cls) -> "Config":
        """1,000 runs, 100 searches and 20 directions."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """10,000 runs, 1,000 searches, 100 directions, and starts nearer to W = 0."""
        return cls(
            runs=10_000,
            searches=1000,
            directions=100,
            times=(20.0, 60.0, 180.0, 540.0),
            log_times=(4.0, 8.0, 12.0, 16.0),
        )
