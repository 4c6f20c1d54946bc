"""Config of the experiment `spurious_minima`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, Seed, minimum


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """How many teachers, students and runs."""

    teachers: tuple[Annotated[int, minimum(2)], ...] = (6, 7, 8)
    """Numbers of teachers k, which is also the dimension."""
    extras: tuple[Annotated[int, minimum(0)], ...] = (0,)
    """Students beyond the number of teachers, n - k."""
    runs: Annotated[int, minimum(1)] = 300
    """Runs of each architecture."""
    max_steps: Annotated[int, minimum(1)] = 100_000
    """A run that has not ended by then is counted as undecided."""
    seed: Seed = 0

    @classmethod
    def quick(cls) -> "Config":
        """Up to 8 teachers, 300 runs each."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The published table: 6 to 20 teachers, 1,000 runs each."""
        return cls(teachers=tuple(range(6, 21)), extras=(0, 1, 2), runs=1000)
