#!/usr/bin/env bash
# netCDF4 takes every 255 of a byte image, and every 65535 of a 16-bit one, for missing.
#
# Versions: netCDF4 1.7.5.1.post1, xarray 2026.9.0, h5netcdf 1.8.2 with NumPy 2.4.6 (installed here).
# Expected: without a _FillValue nothing that was written is missing; and one byte has no room for a
#     fill value, so that none is taken by default, as the netCDF Users Guide has it for bytes.
# Seen on 2026-11-29: where a variable has no _FillValue, the library's default one for its type is
#     taken on reading: 255 for uint8, -127 for int8, 65535 for uint16, -32767 for int16. Those numbers
#     come back masked and leave means, sums and maxima: an image of 0 and 255 has a mean of 0. xarray
#     reads the same file unmasked, mean 127.5. Of what xarray wrote, uint16 is masked, uint8 not.
# Why it matters: saturated pixels are the commonest of MNIST and of scans; class labels 255 and
#     quantized weights of -127 are as exposed. Two readers of one file train on different data. Write
#     with fill_value=False, or call set_auto_mask(False).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet netCDF4==1.7.5.1.post1 xarray==2026.9.0 h5netcdf==1.8.2 h5py==3.16.0 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import os
import tempfile

import netCDF4
import numpy
import xarray

folder = tempfile.TemporaryDirectory()
path = os.path.join(folder.name, "images.nc")
for dtype, largest in (("u1", 255), ("i1", -127), ("u2", 65535), ("i2", -32767), ("i4", 255)):
    image = numpy.array([0, largest, 0, largest], dtype)
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("pixel", 4)
        file.createVariable("image", dtype, ("pixel",))[:] = image
    with netCDF4.Dataset(path) as file:
        back = file["image"][:]
    with xarray.open_dataset(path, engine="h5netcdf") as file:
        other = file["image"].values
    print(f"{dtype}: {image} is {back}, mean {back.mean()}; in xarray the mean is {other.mean()}")
    xarray.Dataset({"image": ("pixel", image)}).to_netcdf(path, engine="h5netcdf")
    with netCDF4.Dataset(path) as file:
        print("    written by xarray:", file["image"][:])
PYTHON
)
expected=$(
  cat <<'EXPECTED'
u1: [  0 255   0 255] is [0 -- 0 --], mean 0.0; in xarray the mean is 127.5
    written by xarray: [  0 255   0 255]
i1: [   0 -127    0 -127] is [0 -- 0 --], mean 0.0; in xarray the mean is -63.5
    written by xarray: [   0 -127    0 -127]
u2: [    0 65535     0 65535] is [0 -- 0 --], mean 0.0; in xarray the mean is 32767.5
    written by xarray: [0 -- 0 --]
i2: [     0 -32767      0 -32767] is [0 -- 0 --], mean 0.0; in xarray the mean is -16383.5
    written by xarray: [0 -- 0 --]
i4: [  0 255   0 255] is [  0 255   0 255], mean 127.5; in xarray the mean is 127.5
    written by xarray: [  0 255   0 255]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
