#!/usr/bin/env bash
# xarray writes any attribute of a variable and obeys some of them when it reads: values come back changed.
#
# Versions: xarray 2026.9.0 with h5netcdf 1.8.2, numpy 2.4.6 (installed here).
# Expected: an attribute is a note beside the values; to_netcdf and load_dataset give back what was there.
# Seen on 2026-11-29: scale_factor 0.5 halves the values, missing_value 2.0 makes 2.0 NaN, dtype "bool"
#     makes every number True, coordinates "w" turns the variable w into a coordinate, and all of these
#     are gone from the attributes afterwards. "steps since start" as a unit makes the file unreadable
#     by default. Nothing is said at writing.
# Why it matters: a configuration kept in attributes (scale_factor of an initializer, dtype of a run) is
#     an ordinary habit, and the measurement beside it is then another one.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet xarray==2026.9.0 h5netcdf==1.8.2 h5py==3.16.0 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import pathlib
import tempfile

import numpy as np
import xarray

folder = pathlib.Path(tempfile.mkdtemp())
for name, attribute in {
    "a": {"scale_factor": 0.5},
    "b": {"missing_value": 2.0},
    "c": {"dtype": "bool"},
    "d": {"coordinates": "w"},
    "e": {"units": "steps since start"},
}.items():
    values = {"x": ("run", np.array([1.0, 2.0]), attribute), "w": ("run", np.array([3.0, 4.0]))}
    stored = xarray.Dataset(values)
    stored.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
    try:
        back = xarray.load_dataset(folder / f"{name}.nc", engine="h5netcdf")
        print(attribute, "->", back["x"].values, dict(back["x"].attrs), list(back.data_vars))
    except ValueError as error:
        print(attribute, "->", type(error).__name__)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
{'scale_factor': 0.5} -> [0.5 1. ] {} ['x', 'w']
{'missing_value': 2.0} -> [ 1. nan] {} ['x', 'w']
{'dtype': 'bool'} -> [ True  True] {} ['x', 'w']
{'coordinates': 'w'} -> [1. 2.] {} ['x']
{'units': 'steps since start'} -> ValueError
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
