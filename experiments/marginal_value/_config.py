"""Config of the experiment `marginal_value`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab import data
from ..lab.fields import Checked, Seed, a_folder, above, minimum, one_of
from ._five_methods import METHODS


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The three parts."""

    example_seeds: Annotated[int, minimum(2)] = 5
    """Draws of the separable example."""
    example_size: Annotated[int, minimum(1)] = 100
    """Training examples of the separable example."""
    example_steps: Annotated[int, minimum(1)] = 5000
    """Steps of every method on the separable example."""
    bridge_seeds: Annotated[int, minimum(2)] = 10
    """Divisions of the digits, the same for all methods and sizes."""
    bridge_examples: Annotated[int, minimum(1)] = 300
    """Training examples of each division of the digits; all others are for the test."""
    bridge_sizes: tuple[Annotated[float, minimum(0)], ...] = (0.0, 1.0, 3.0)
    """Sizes of the private features, increasing."""
    bridge_level: Annotated[float, above(0)] = 0.01
    """Training loss at which the methods are compared."""
    bridge_steps: Annotated[int, minimum(1)] = 800
    """Most full-batch steps until the methods are compared."""
    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Data of Figure 1, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    examples: Annotated[int, minimum(1)] | None = 300
    """Training examples; the others join the test set. None for the division as published."""
    first: Annotated[int, minimum(1)] | None = None
    """Images of the published training set, the first ones, that are used at all; None for all."""
    hidden: tuple[Annotated[int, minimum(1)], ...] | None = (128,)
    """Widths of the network's hidden layers; None for VGG-16 with batch normalization."""
    runs: Annotated[int, minimum(2)] = 5
    """Runs of each method at each rate."""
    epochs: Annotated[int, minimum(1)] = 30
    """Epochs; the rate is halved after every tenth of them."""
    batch_size: Annotated[int, minimum(1)] = 50
    """Examples a step."""
    sgd: tuple[Annotated[float, above(0)], ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """Learning rates of SGD."""
    heavy_ball: tuple[Annotated[float, above(0)], ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    """Learning rates of heavy ball."""
    adagrad: tuple[Annotated[float, above(0)], ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    """Learning rates of AdaGrad."""
    rmsprop: tuple[Annotated[float, above(0)], ...] = (0.0003, 0.001, 0.003, 0.01, 0.03)
    """Learning rates of RMSProp."""
    adam: tuple[Annotated[float, above(0)], ...] = (0.0003, 0.001, 0.003, 0.01, 0.03)
    """Learning rates of Adam."""
    seed: Seed = 0
    """Seed of all draws."""

    def __post_init__(self) -> None:
        """Check what the claims need."""
        super().__post_init__()
        for name in ("example_seeds", "bridge_seeds", "runs"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")
        if len({len(rates) for rates in self.rates().values()}) > 1:
            raise ValueError(
                "sgd, heavy_ball, adagrad, rmsprop and adam must have as many learning rates, got "
                f"{self.rates()}"
            )

    def rates(self) -> dict[str, tuple[float, ...]]:
        """Return the learning rates of Figure 1 by method."""
        grids = (self.sgd, self.heavy_ball, self.adagrad, self.rmsprop, self.adam)
        return dict(zip(METHODS, grids, strict=True))

    @classmethod
    def quick(cls) -> "Config":
        """scikit-learn's digits."""
        return cls()

    @classmethod
    def fashion(cls) -> "Config":
        """5,000 images of Fashion-MNIST, 10,000 for the test, and a hidden layer of 256.

        The paper's are 50,000 of CIFAR-10 and a VGG; the other parts are those of `quick`.
        """
        return cls(
            **data.FASHION_MNIST,
            examples=None,
            first=5000,
            hidden=(256,),
            batch_size=100,
        )

    @classmethod
    def paper(cls) -> "Config":
        """The paper's network and five of its rates; batch size and flips are chosen here."""
        return cls(
            bridge_seeds=30,
            bridge_sizes=(0.0, 1.0, 3.0, 10.0),
            bridge_steps=10_000,
            dataset="cifar10",
            data_folder="data/cifar10",
            examples=None,
            hidden=None,
            epochs=250,
            batch_size=128,
            sgd=(2.0, 1.0, 0.5, 0.25, 0.05),
            heavy_ball=(2.0, 1.0, 0.5, 0.25, 0.05),
            adagrad=(0.1, 0.05, 0.01, 0.0075, 0.005),
            rmsprop=(0.005, 0.001, 0.0005, 0.0003, 0.0001),
            adam=(0.005, 0.001, 0.0005, 0.0003, 0.0001),
        )
