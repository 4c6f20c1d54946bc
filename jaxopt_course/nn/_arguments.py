"""What only layers and networks are given, checked so that flax is not the one to stumble."""

from typing import Any

from flax import nnx


def check_rngs(rngs: Any) -> None:
    """Raise TypeError unless `rngs` holds random streams."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"rngs must be a flax.nnx.Rngs, got {rngs!r}")


def check_module(model: Any) -> None:
    """Raise TypeError unless `model` is an nnx module."""
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {model!r}")
