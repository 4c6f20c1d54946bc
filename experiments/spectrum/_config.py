"""Config of the experiment `spectrum`: its fields and presets."""

import dataclasses
from typing import Annotated

from ..lab import data
from ..lab.fields import Checked, Seed, a_folder, above, minimum, one_of


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """Networks, training and what is measured."""

    dataset: Annotated[str, one_of(data.NAMES)] = "digits"
    """Name of the data, as `experiments.lab.data.load` takes it."""
    data_folder: Annotated[str, a_folder()] | None = None
    """Folder of the published files, for data that are not embedded."""
    seeds: Annotated[int, minimum(2)] = 3
    """Networks of each kind."""
    hidden: tuple[Annotated[int, minimum(1)], ...] = (24, 24)
    """Widths of the hidden tanh layers."""
    images: Annotated[int, minimum(1)] = 500
    """Training images."""
    rates: tuple[Annotated[float, above(0)], ...] = (0.1, 0.2)
    """Learning rates without batch normalization."""
    normalized_rates: tuple[Annotated[float, above(0)], ...] = (0.2, 0.4)
    """As many with batch normalization: larger ones, since it makes the Hessian smaller."""
    steps: Annotated[int, minimum(1)] = 2000
    """Steps of gradient descent."""
    records: Annotated[int, minimum(1)] = 20
    """Times at which the sharpness is measured; the first is also the spectrum's early time."""
    outliers: Annotated[int, minimum(1)] = 20
    """Largest eigenvalues among which outliers are looked for."""
    lanczos_steps: Annotated[int, minimum(1)] = 60
    """Lanczos steps for each random vector of the density."""
    probes: Annotated[int, minimum(1)] = 4
    """Random vectors of the density."""
    seed: Seed = 0

    def __post_init__(self) -> None:
        """Check what the intervals and the arrays need."""
        super().__post_init__()
        if len(self.rates) != len(self.normalized_rates):
            raise ValueError(
                f"normalized_rates must be as many as rates, got {self.normalized_rates} and "
                f"{self.rates}"
            )
        if self.records < 1 or self.steps % self.records:
            raise ValueError(
                f"steps must be a multiple of records, got {self.steps} and {self.records}"
            )

    @classmethod
    def quick(cls) -> "Config":
        """Small networks, 300 images, 1,000 steps."""
        return cls(images=300, steps=1000)

    @classmethod
    def standard(cls) -> "Config":
        """Small networks, 500 images, 2,000 steps."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Wider networks on all digits, smaller rates, more steps and probes."""
        return cls(
            seeds=5,
            hidden=(100, 100),
            images=1500,
            rates=(0.05, 0.1, 0.2),
            normalized_rates=(0.1, 0.2, 0.4),
            steps=10_000,
            records=100,
            lanczos_steps=100,
            probes=10,
        )
