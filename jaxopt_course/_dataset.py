"""Results as xarray datasets: arrays with named dimensions, for tables, files and statistics.

A pytree of parameters becomes a variable a leaf, `params` alone if it is one array, else
`params.layer.kernel` and so on by its path, whose own axes are `<variable>_dim_0`, `_dim_1`, ...
xarray comes with the extra `jaxopt_course[xarray]` and is imported when something is converted.
"""

import enum
import importlib.util
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def dataset(
    variables: Mapping[str, tuple[tuple[str, ...], Any]],
    *,
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Any:
    """Return an `xarray.Dataset`.

    Args:
        variables: By name, the names of the leading axes and a pytree whose leaves have them.
        coords: Values along an axis, by its name.
        attrs: Of variables, by name.

    Raises:
        ModuleNotFoundError: If xarray is not installed.
    """
    if importlib.util.find_spec("xarray") is None:
        raise ModuleNotFoundError(
            "to_xarray needs xarray: pip install 'jaxopt_course[xarray]', or '.[xarray]' in a clone"
        )
    import xarray

    arrays: dict[str, Any] = {}
    for name, (dims, tree) in variables.items():
        for path, leaf in jax.tree.leaves_with_path(tree):
            below = jax.tree_util.keystr(path, simple=True, separator=".")
            full = f"{name}.{below}" if below else name
            values = np.asarray(leaf)
            own = [f"{full}_dim_{axis}" for axis in range(values.ndim - len(dims))]
            arrays[full] = ((*dims, *own), values, (attrs or {}).get(name, {}))
    return xarray.Dataset(arrays, coords=coords)


def flags(meanings: type[enum.IntEnum]) -> dict[str, Any]:
    """Return attributes that say what the integers of a variable mean, as the CF conventions do."""
    return {
        "flag_values": np.array([int(member) for member in meanings], np.int32),
        "flag_meanings": " ".join(member.name for member in meanings),
    }
