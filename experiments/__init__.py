"""Experiments: one file a figure, each a statement of the lecture held against measurement.

An experiment is a module of this package, or a package in it if it takes several files (`Config` is
in its `_config.py` then), with four things in it, in this order:

    Config              a frozen dataclass; its classmethods `quick` and `paper` are the presets
    run(config)         computes, and returns an `xarray.Dataset`
    claims(dataset)     judges: a list of `Claim(statement, source, expected, measured, holds)`
    plot(dataset)       draws: a matplotlib `Figure` whose title states the finding

Its docstring's first line is the claim; lines `Section:`, `Command:`, `Cost:` and `Last result:`
say where it belongs in the lecture, how to repeat it, what it costs and what it gave.
`python -m experiments list` shows them all. What they share is in `experiments.lab`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # xarray takes most of a second to import, and `list` does not need it.
    import xarray as xr

__all__ = ["load"]


def load(name: str, preset: str = "quick", *, out: str | Path = "results") -> "xr.Dataset":
    """Load the results of an experiment that was run before.

    Args:
        name: Experiment, as `python -m experiments list` names it.
        preset: Preset, or the name of the folder that a run with changed fields wrote.
        out: Folder that was given to `run` as `--out`.

    Returns:
        The dataset that the experiment's `run` returned.

    Raises:
        UnknownNameError: If there is no such experiment (the nearest name is suggested).
        FileNotFoundError: If it was not run yet; the message is the command that runs it.
        UnreadableResultError: If what is stored is damaged or has another version's layout.

    Example:
        >>> load("stationary_point")
        Traceback (most recent call last):
        experiments.lab.registry.UnknownNameError: unknown experiment ...
    """
    from .lab import registry, store

    registry.find(name)
    folders, refused = store.survey(Path(out), name)
    if preset in refused:
        raise refused[preset]
    for result in folders:
        if result.folder.name == preset:
            return result.dataset()
    stored = ", ".join(result.folder.name for result in folders) or "nothing"
    raise FileNotFoundError(
        f"{name} has no result {preset!r} in {out} (there is {stored}); "
        f"make it with: {registry.command()} run {name} --preset {preset} --out {out}"
    )
