"""A package of toy experiments, so that the framework is tested without computing anything."""

import sys
import textwrap

import pytest

TOY = textwrap.dedent('''
    """A toy's sum is what arithmetic says.

    More about it.

    Section: Toys
    Command: python -m toys run toy
    Cost: quick 0 s; paper
        1 s
    """

    import dataclasses

    import numpy as np
    import xarray as xr
    from matplotlib.figure import Figure

    from experiments.lab import progress
    from experiments.lab.claims import Claim


    @dataclasses.dataclass(frozen=True)
    class Config:
        """The toy."""

        size: int = 3
        """How many numbers."""
        expected: float = 3.0
        """What the sum should be."""
        seed: int = 0

        def __post_init__(self):
            if self.size < 1:
                raise ValueError(f"size must be positive, got {self.size}")

        @classmethod
        def quick(cls):
            """Three numbers."""
            return cls()

        @classmethod
        def paper(cls):
            return cls(size=5, expected=10.0)


    runs = 0


    def run(config):
        global runs
        runs += 1
        if config.seed == 130:
            raise KeyboardInterrupt
        if config.seed == 13:
            raise FloatingPointError("the toy broke")
        with progress.bar("adding", total=config.size) as update:
            update(config.size)
        return xr.Dataset({"x": ("i", np.arange(config.size))}, attrs={"expected": config.expected})


    def claims(dataset):
        total = float(dataset.x.sum())
        expected = dataset.attrs["expected"]
        holds = total == expected
        return [Claim("the sum is right", "arithmetic", f"{expected}", f"{total}", holds)]


    def plot(dataset):
        if broken_plot:
            raise RuntimeError("no ink")
        figure = Figure()
        figure.subplots().plot(dataset.x)
        return figure


    broken_plot = False
''').lstrip()


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The name of a package with the experiments `toy` and `other` and a module that is none."""
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "toy.py").write_text(TOY)
    (folder / "other.py").write_text(TOY.replace("A toy's sum", "Another sum"))
    (folder / "helper.py").write_text('"""Not an experiment: there is no config."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "toys"
    from experiments.lab import registry

    registry.experiments.cache_clear()
    for name in [name for name in sys.modules if name == "toys" or name.startswith("toys.")]:
        del sys.modules[name]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def command(toys, out):
    """Run a command line in this process, on the toys and with the temporary results folder."""
    from experiments.lab.cli import main

    def run(line):
        words = line.split()
        return main([*words, "--out", str(out)], package=toys)

    return run
