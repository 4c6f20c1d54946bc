"""Config of the experiment `loss_surface`: its fields and presets."""

import dataclasses

from ..lab.statistics import check_seeds


@dataclasses.dataclass(frozen=True)
class Config:
    """Networks, slices, and the search for the saddle."""

    seeds: int = 3
    """Networks of each kind."""
    layers: int = 6
    """Hidden ReLU layers."""
    width: int = 24
    """Their width."""
    learning_rate: float = 0.03
    """Of stochastic gradient descent with momentum 0.9."""
    epochs: int = 15
    """Epochs of training."""
    batch_size: int = 100
    """Examples a step."""
    images: int = 500
    """Training images on which slices are evaluated."""
    directions: int = 10
    """Random lines for each network."""
    points: int = 41
    """Points on a line, and on each side of a plane."""
    hidden: int = 3
    """Units of the network with the saddle."""
    saddle_paths: int = 2
    """Paths of gradient descent that may pass a saddle."""
    saddle_steps: int = 2000
    """Their steps."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what the intervals and slices need."""
        check_seeds(self.seeds)
        if self.points < 5 or self.points % 2 == 0:
            raise ValueError(f"points must be odd, so that the middle is one, got {self.points}")

    @classmethod
    def quick(cls) -> "Config":
        """Three small networks of each kind."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Deeper and wider networks, more of them, finer slices."""
        return cls(seeds=10, layers=10, width=64, epochs=30, images=1500, points=61, hidden=5)
