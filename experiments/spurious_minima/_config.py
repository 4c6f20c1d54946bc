"""Config of the experiment `spurious_minima`: its fields and presets."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """How many teachers, students and runs."""

    teachers: tuple[int, ...] = (6, 7, 8)
    """Numbers of teachers k, which is also the dimension."""
    extras: tuple[int, ...] = (0,)
    """Students beyond the number of teachers, n - k."""
    runs: int = 300
    """Runs of each architecture."""
    max_steps: int = 100_000
    """A run that has not ended by then is counted as undecided."""
    seed: int = 0

    @classmethod
    def quick(cls) -> "Config":
        """Up to 8 teachers, 300 runs each."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """The published table: 6 to 20 teachers, 1,000 runs each."""
        return cls(teachers=tuple(range(6, 21)), extras=(0, 1, 2), runs=1000)
