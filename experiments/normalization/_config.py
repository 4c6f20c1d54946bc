"""Config of the experiment `normalization`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab import data
from ..lab.fields import Checked, Seed, a_folder, above, minimum, one_of


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Networks and training."""

    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    examples: Annotated[int, minimum(1)] | None = None
    """Training images, the first ones of the published order; None for all."""
    seeds: Annotated[int, minimum(2)] = 10
    """Networks of each kind."""
    batch_sizes: tuple[Annotated[int, minimum(1)], ...] = (32, 16, 8, 4, 2)
    """Examples a step, falling."""
    widths: tuple[Annotated[int, minimum(1)], ...] = (8, 16)
    """Channels of the convolutions."""
    groups: Annotated[int, minimum(1)] = 4
    """Groups of group normalization."""
    learning_rate: Annotated[float, above(0)] = 0.1
    """Rate of the first step at batch 32; it is proportional to the batch."""
    epochs: Annotated[int, minimum(1)] = 8
    """Epochs of the ConvNets."""
    critic_hidden: tuple[Annotated[int, minimum(1)], ...] = (64, 64)
    """Widths of the critic's hidden layers."""
    critic_epochs: Annotated[int, minimum(1)] = 40
    """Epochs of the critics."""
    penalty: Annotated[float, minimum(0)] = 10.0
    """Weight of the gradient penalty."""
    seed: Seed = 0
    """Seed of all keys."""

    def __post_init__(self) -> None:
        """Check what the claims need."""
        super().__post_init__()
        if len(self.batch_sizes) < 2 or list(self.batch_sizes) != sorted(self.batch_sizes)[::-1]:
            raise ValueError(f"batch_sizes must fall, got {self.batch_sizes}")

    @classmethod
    def quick(cls) -> "Config":
        """The largest and the smallest batch on scikit-learn's digits."""
        return cls(batch_sizes=(32, 2), epochs=4, critic_epochs=30)

    @classmethod
    def standard(cls) -> "Config":
        """Three of the batch sizes."""
        return cls(batch_sizes=(32, 8, 2), epochs=4, critic_epochs=30)

    @classmethod
    def digits(cls) -> "Config":
        """All five batch sizes, twice as long."""
        return cls()

    @classmethod
    def fashion(cls) -> "Config":
        """5,000 images of Fashion-MNIST and three of the batch sizes, 32, 8 and 2, in eight epochs.

        The ConvNet has 8 and 16 channels; the paper's is a ResNet-50 on 1.28 million images.
        """
        return cls(
            **data.FASHION_MNIST,
            examples=5000,
            seeds=5,
            batch_sizes=(32, 8, 2),
            critic_epochs=30,
        )

    @classmethod
    def paper(cls) -> "Config":
        """CIFAR-10 (the paper: ImageNet), 32 groups and a wider network."""
        return cls(
            dataset="cifar10",
            data_folder="data/cifar10",
            widths=(64, 128, 256),
            groups=32,
            epochs=30,
            critic_hidden=(512, 512),
        )
