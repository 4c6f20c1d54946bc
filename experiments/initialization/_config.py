"""Config of the experiment `initialization`: its fields and presets."""

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
    layers: Annotated[int, minimum(1)] = 5
    """Hidden layers of the tanh network."""
    width: Annotated[int, minimum(1)] = 1000
    """Units of each hidden layer of the tanh network."""
    deep_layers: Annotated[int, minimum(1)] = 30
    """Layers with weights of the ReLU network."""
    deep_width: Annotated[int, minimum(1)] = 128
    """Units of each hidden layer of the ReLU network."""
    learning_rate: Annotated[float, above(0)] = 1e-3
    """Learning rate of SGD with momentum 0.9."""
    epochs: Annotated[int, minimum(1)] = 20
    """Epochs of training."""
    batch_size: Annotated[int, minimum(1)] = 64
    """Examples a step."""
    seed: Seed = 0
    """Seed of all keys."""

    @classmethod
    def quick(cls) -> "Config":
        """Five seeds on scikit-learn's digits."""
        return cls()

    @classmethod
    def fashion(cls) -> "Config":
        """10,000 images of Fashion-MNIST, networks and rate as in `quick`."""
        return cls(
            **data.FASHION_MNIST,
            examples=10_000,
        )

    @classmethod
    def paper(cls) -> "Config":
        """CIFAR-10, on which Glorot and Bengio worked; wider and longer at 30 layers."""
        return cls(
            dataset="cifar10",
            data_folder="data/cifar10",
            deep_width=256,
            epochs=60,
            batch_size=128,
        )
