"""Config of the experiment `flatness`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab.fields import Checked, Seed, a_folder, above, check_ascending, minimum, one_of
from ..lab.full_batch import IMAGES


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The network, its images, the rates that all arms try, and how many seeds are judged."""

    dataset: Annotated[str, one_of(IMAGES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    images: Annotated[int, minimum(20)] = 300
    """Training images."""
    validation: Annotated[int, minimum(20)] = 400
    """Images that choose the rate; the rest of the data set tests."""
    hidden: tuple[Annotated[int, minimum(1)], ...] = (32, 32)
    """Widths of the hidden ReLU layers."""
    rates: tuple[Annotated[float, above(0)], ...] = (0.1, 0.2, 0.4, 0.8, 1.6)
    """Rates of every arm, ascending."""
    batch: Annotated[int, minimum(1)] = 16
    """Images of a small batch; large ones are half the training images."""
    target: Annotated[float, above(0)] = 0.01
    """Loss of all training images at which a run ends."""
    time: Annotated[float, above(0)] = 400.0
    """Most steps of a run, times its rate."""
    seeds: Annotated[int, minimum(3)] = 20
    """Seeds that are judged."""
    trials: Annotated[int, minimum(2)] = 8
    """Seeds that choose rates."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check what depends on two fields."""
        super().__post_init__()
        used, there = self.images + self.validation, IMAGES[self.dataset]
        if used + 20 > there:
            raise ValueError(
                f"images + validation must leave 20 of the {there} of {self.dataset} to test, "
                f"got {self.images} + {self.validation}"
            )
        if self.batch > self.images // 2:
            raise ValueError(f"batch must be at most images // 2, got {self.batch}, {self.images}")
        check_ascending(rates=self.rates)

    @classmethod
    def quick(cls) -> "Config":
        """300 digits, two hidden layers of 32, five rates, 20 seeds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """2,000 images of MNIST, hidden layers of 200, 30 seeds (papers: CIFAR, ImageNet)."""
        return cls(
            dataset="mnist5k", images=2000, validation=1000, hidden=(200, 200), batch=32, seeds=30
        )
