"""Config of the experiment `pretraining`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab import data
from ..lab.fields import Checked, Seed, a_folder, above, minimum, one_of


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Network, pre-training and fine-tuning."""

    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    seeds: Annotated[int, minimum(2)] = 10
    """Halves of the classes, each with its own networks."""
    hidden: tuple[Annotated[int, minimum(1)], ...] = (64, 64)
    """Widths of the hidden layers."""
    epochs: Annotated[int, minimum(1)] = 20
    """Epochs of pre-training, by SGD with momentum 0.9."""
    learning_rate: Annotated[float, above(0)] = 0.05
    """Learning rate of pre-training."""
    batch_size: Annotated[int, minimum(1)] = 50
    """Examples in a step of pre-training."""
    labels: tuple[Annotated[int, minimum(1)], ...] = (1, 3, 10, 30)
    """Labels of each class in fine-tuning; increasing."""
    learning_rates: tuple[Annotated[float, above(0)], ...] = (0.01, 0.03, 0.1)
    """Learning rates of fine-tuning, by SGD with momentum 0.9 on all examples at once."""
    steps: Annotated[int, minimum(1)] = 200
    """Steps of fine-tuning; a multiple of 20."""
    seed: Seed = 0
    """Seed of all keys."""

    def __post_init__(self) -> None:
        """Check what the claims need."""
        super().__post_init__()
        if len(self.labels) < 2 or list(self.labels) != sorted(set(self.labels)):
            raise ValueError(f"labels must be at least two increasing numbers, got {self.labels}")
        if self.steps < 20 or self.steps % 20:
            raise ValueError(f"steps must be a multiple of 20, got {self.steps}")

    @classmethod
    def quick(cls) -> "Config":
        """scikit-learn's digits."""
        return cls()

    @classmethod
    def fashion(cls) -> "Config":
        """Fashion-MNIST, all of its images, with up to a hundred labels a class."""
        return cls(
            **data.FASHION_MNIST,
            seeds=5,
            hidden=(256, 256),
            epochs=10,
            batch_size=100,
            labels=(3, 10, 30, 100),
            steps=400,
        )

    @classmethod
    def paper(cls) -> "Config":
        """CIFAR-10 with a wider network and up to a thousand labels a class."""
        return cls(
            dataset="cifar10",
            data_folder="data/cifar10",
            hidden=(512, 512),
            epochs=60,
            learning_rate=0.01,
            batch_size=128,
            labels=(10, 30, 100, 300, 1000),
            learning_rates=(0.003, 0.01, 0.03),
            steps=1000,
        )
