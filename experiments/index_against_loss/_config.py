"""Config of the experiment `index_against_loss`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, Seed, above, between, minimum


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The network, and where searches start."""

    inputs: Annotated[int, between(1, 64)] = 6
    """Inputs of the network: principal components of the images."""
    hidden: Annotated[int, minimum(1)] = 4
    """Hidden units."""
    classes: Annotated[int, between(2, 10)] = 5
    """Only the digits below this number are used."""
    images: Annotated[int, minimum(1)] = 100
    """Examples."""
    weight_decay: Annotated[float, minimum(0)] = 1e-3
    """Factor of half the squared norm of the parameters."""
    starts: Annotated[int, minimum(1)] = 24
    """Searches of each family, at most; a multiple of the number of scales."""
    scales: tuple[Annotated[float, above(0)], ...] = (0.3, 1.0, 2.0)
    """Factors of the initial weights."""
    steps: Annotated[int, minimum(1)] = 3000
    """Steps of gradient descent."""
    max_steps: Annotated[int, minimum(1)] = 150
    """Steps of a search."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check that every scale has as many starts."""
        super().__post_init__()
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
