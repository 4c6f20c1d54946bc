"""Checks of what layers and networks are given, so that flax is not the one to stumble."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxopt_course import _required


def check_rngs(rngs: Any) -> None:
    """Raise TypeError unless `rngs` holds random streams."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"rngs must be a flax.nnx.Rngs, got {rngs!r}")


def check_module(model: Any) -> None:
    """Raise TypeError unless `model` is an nnx module."""
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {model!r}")


def check_callable(**arguments: Any) -> None:
    """Raise TypeError unless every argument given by name can be called."""
    for name, value in arguments.items():
        if not callable(value):
            raise TypeError(f"{name} must be a function, got {value!r}")


def check_counts(**arguments: Any) -> None:
    """Raise unless every argument given by name is a positive integer."""
    _required.check_integer(**arguments)
    _required.check_positive(**arguments)


def check_array(name: str, x: Any, *, rank: int | None = None, features: int | None = None) -> None:
    """Raise unless `x` is a real array, of this rank and with so many features on its last axis.

    Raises:
        TypeError: for what is no real array.
        ValueError: for another shape.
    """
    dtype = getattr(x, "dtype", None)
    if dtype is None or not hasattr(x, "shape") or not _is_real(dtype):
        raise TypeError(f"{name} must be a real array, got {x!r}")
    if rank is not None and len(x.shape) != rank:
        raise ValueError(f"{name} must have {rank} axes, got shape {x.shape}")
    if features is not None and x.shape[-1:] != (features,):
        raise ValueError(f"{name} must have {features} features, got shape {x.shape}")


def check_real_input(x: Any) -> None:
    """Raise TypeError unless `x` is a real number or a real array."""
    is_number = isinstance(x, int | float) and not isinstance(x, bool)
    if not is_number:
        check_array("x", x)


def _is_real(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
