"""Config of the experiment `index_against_loss`: its fields and presets."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """The network, and where searches start."""

    inputs: int = 6
    """Principal components."""
    hidden: int = 4
    """Hidden units."""
    classes: int = 5
    """The digits below this number."""
    images: int = 100
    """Examples."""
    weight_decay: float = 1e-3
    """Factor of half the squared norm of the parameters."""
    starts: int = 24
    """Searches of each family, at most; a multiple of the number of scales."""
    scales: tuple[float, ...] = (0.3, 1.0, 2.0)
    """Factors of the initial weights."""
    steps: int = 3000
    """Steps of gradient descent."""
    max_steps: int = 150
    """Steps of a search."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that every scale has as many starts."""
        if not self.scales or self.starts % len(self.scales):
            raise ValueError(f"starts must be a multiple of {len(self.scales)}, got {self.starts}")

    @classmethod
    def quick(cls) -> "Config":
        """53 parameters, up to 96 searches."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """All digits, 10 components, 8 units, 500 images, up to 1,200 searches."""
        return cls(
            inputs=10, hidden=8, classes=10, images=500, starts=300, steps=10_000, max_steps=300
        )
