#!/usr/bin/env bash
# A list of one in xarray's attrs comes back from netCDF as its element.
#
# Versions: xarray 2026.9.0, h5netcdf 1.8.2, netCDF4 1.7.5.1.post1; NumPy 2.4.6 (installed here) and
#     2.5.5.
# Expected: attrs that can be written come back with their shape: [3] as an array or list of length
#     one.
# Seen on 2026-11-29: [3] comes back as the number 3, ['adam'] as the string 'adam', with both
#     engines; longer lists stay lists or arrays. The netCDF model stores one-element attributes as
#     scalars.
# Why it matters: a run's settings (seeds, widths, names of optimizers) in attrs change type exactly
#     when there is one of them: a loop over names then walks through letters, and len fails. Store
#     settings as JSON text.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet xarray==2026.9.0 h5netcdf==1.8.2 netCDF4==1.7.5.1.post1 h5py==3.16.0 numpy==2.4.6
mkdir "$folder/run"

seen=$("$python" - "$folder/run" <<'PYTHON'
import os
import sys
import tempfile

import xarray

for engine in ("h5netcdf", "netcdf4"):
    path = os.path.join(tempfile.mkdtemp(dir=sys.argv[1]), "run.nc")
    xarray.Dataset(attrs={"seeds": [3], "names": ["adam"], "widths": [8, 16]}).to_netcdf(path, engine=engine)
    with xarray.open_dataset(path, engine=engine) as back:
        print(engine, {k: v.tolist() if hasattr(v, "tolist") else v for k, v in back.attrs.items()})
PYTHON
)
expected=$(
  cat <<'EXPECTED'
h5netcdf {'seeds': 3, 'names': 'adam', 'widths': [8, 16]}
netcdf4 {'seeds': 3, 'names': 'adam', 'widths': [8, 16]}
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
