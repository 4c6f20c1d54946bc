"""Config of the experiment `initialization`: its fields and presets."""

import dataclasses

from ..lab.statistics import check_seeds


@dataclasses.dataclass(frozen=True)
class Config:
    """Networks and training."""

    dataset: str = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: str | None = None
    """Folder of the published files, for data that are not embedded."""
    seeds: int = 5
    """Networks of each kind."""
    layers: int = 5
    """Hidden layers of the tanh network."""
    width: int = 1000
    """Their width."""
    deep_layers: int = 30
    """Layers with weights of the ReLU network."""
    deep_width: int = 128
    """Width of its hidden layers."""
    learning_rate: float = 1e-3
    """Learning rate of SGD with momentum 0.9."""
    epochs: int = 20
    """Epochs of training."""
    batch_size: int = 64
    """Examples a step."""
    seed: int = 0
    """Seed of all keys."""

    def __post_init__(self) -> None:
        """Check what the intervals need."""
        check_seeds(self.seeds)

    @classmethod
    def quick(cls) -> "Config":
        """Five seeds on scikit-learn's digits."""
        return cls()

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
