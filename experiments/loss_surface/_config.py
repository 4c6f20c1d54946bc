"""Config of the experiment `loss_surface`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab import data
from ..lab.fields import Checked, Seed, a_folder, above, minimum, one_of


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Networks, slices, and the search for the saddle."""

    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the networks' data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    seeds: Annotated[int, minimum(2)] = 6
    """Networks of each kind."""
    layers: Annotated[int, minimum(1)] = 6
    """Hidden ReLU layers."""
    width: Annotated[int, minimum(1)] = 24
    """Units of each hidden layer."""
    learning_rate: Annotated[float, above(0)] = 0.03
    """Learning rate of stochastic gradient descent with momentum 0.9."""
    epochs: Annotated[int, minimum(1)] = 15
    """Epochs of training, at most."""
    target: Annotated[float, above(0)] = 0.1
    """Loss of the images of the slices at which training ends, with batch normalization or not."""
    batch_size: Annotated[int, minimum(1)] = 100
    """Examples a step."""
    images: Annotated[int, minimum(1)] = 500
    """Training images on which slices are evaluated."""
    directions: Annotated[int, minimum(1)] = 10
    """Random lines for each network."""
    points: Annotated[int, minimum(5)] = 41
    """Points on a line, and on each side of a plane."""
    hidden: Annotated[int, minimum(1)] = 3
    """Hidden units of the small network whose saddle is passed."""
    saddle_paths: Annotated[int, minimum(1)] = 2
    """Paths of gradient descent that may pass a saddle."""
    saddle_steps: Annotated[int, minimum(1)] = 2000
    """Steps of each of these paths."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check what the intervals and slices need."""
        super().__post_init__()
        if self.points < 5 or self.points % 2 == 0:
            raise ValueError(f"points must be odd, so that the middle is one, got {self.points}")

    @classmethod
    def quick(cls) -> "Config":
        """Six networks of each kind, of four layers."""
        return cls(layers=4, epochs=10, images=300, directions=6, points=31)

    @classmethod
    def standard(cls) -> "Config":
        """Six networks of each kind, of six layers, on finer slices."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Deeper and wider networks, more of them, finer slices."""
        return cls(seeds=10, layers=10, width=64, epochs=30, images=1500, points=61, hidden=5)
