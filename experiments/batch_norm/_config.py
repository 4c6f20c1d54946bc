"""Config of the experiment `batch_norm`: its fields and presets."""

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
    seeds: Annotated[int, minimum(2)] = 5
    """Networks of each kind."""
    layers: Annotated[int, minimum(1)] = 10
    """Hidden layers of the fully connected network."""
    width: Annotated[int, minimum(1)] = 64
    """Units of each hidden layer of that network."""
    learning_rates: tuple[Annotated[float, above(0)], ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """Rates of plain SGD."""
    epochs: Annotated[int, minimum(1)] = 10
    """Epochs at each rate."""
    trained_loss: Annotated[float, above(0)] = 0.5
    """A network trains at a rate if the loss of its last epoch is below."""
    batch_size: Annotated[int, minimum(1)] = 100
    """Examples a step."""
    measured_rate: Annotated[float, above(0)] = 0.1
    """Rate of the run along which smoothness is measured."""
    measured_epochs: Annotated[int, minimum(1)] = 5
    """Epochs of that run."""
    distances: tuple[Annotated[float, above(0)], ...] = (0.05, 0.1, 0.2, 0.4)
    """Step sizes at which the loss and the gradient are looked at."""
    depth: Annotated[int, minimum(1)] = 8
    """Layers of the ResNet."""
    resnet_width: Annotated[int, minimum(1)] = 8
    """Channels of the ResNet's first stage."""
    resnet_rate: Annotated[float, above(0)] = 0.1
    """Rate of the ResNet at first; a tenth of it after half of the epochs, then a hundredth."""
    resnet_epochs: Annotated[int, minimum(0)] = 12
    """Epochs of the ResNet; 0 leaves it out, and what it is to show is not measured."""
    seed: Seed = 0
    """Seed of all keys."""

    def __post_init__(self) -> None:
        """Check what the intervals need."""
        super().__post_init__()
        if list(self.learning_rates) != sorted(set(self.learning_rates)):
            raise ValueError(f"learning_rates must rise, got {self.learning_rates}")

    @classmethod
    def quick(cls) -> "Config":
        """scikit-learn's digits."""
        return cls()

    @classmethod
    def digits(cls) -> "Config":
        """ResNet-14 of the published width on scikit-learn's digits."""
        return cls(depth=14, resnet_width=16, resnet_epochs=20)

    @classmethod
    def fashion(cls) -> "Config":
        """10,000 images of Fashion-MNIST and ten hidden layers of 128, without the ResNet.

        That was left out for its time on two cores. The paper's network without convolutions is one
        of MNIST with two hidden layers.
        """
        return cls(
            **data.FASHION_MNIST,
            examples=10_000,
            width=128,
            resnet_epochs=0,
        )

    @classmethod
    def paper(cls) -> "Config":
        """CIFAR-10 and ResNet-14 of the published width."""
        return cls(
            dataset="cifar10",
            data_folder="data/cifar10",
            width=100,
            batch_size=128,
            depth=14,
            resnet_width=16,
            resnet_epochs=160,
        )
