#!/usr/bin/env bash
# flax.serialization reads big-endian arrays back as other numbers.
#
# Versions: flax 0.12.8 with jax 0.10.2 (installed here), flax 0.12.12 with jax 0.12.0.1; NumPy
#     2.4.6 and 2.5.5.
# Expected: an array comes back with its values, or the unusual byte order is refused.
# Seen on 2026-11-29: bytes are stored as they lie, the name of the dtype without its byte order:
#     labels 0, 1, 2, 3 come back as 0, 16777216, 33554432, 50331648, floats as subnormals. No
#     error.
# Why it matters: IDX files (MNIST and its kin) and many scientific formats are big-endian, and
#     NumPy keeps that byte order through most operations, so a data set cached beside the
#     parameters is silently replaced by noise. Convert with
#     array.astype(array.dtype.newbyteorder('=')).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import flax.serialization as serialization
import numpy as np

labels = np.arange(4, dtype=">i4")  # big-endian, as in IDX files
values = np.array([1.0, 0.5], dtype=">f8")
back = serialization.msgpack_restore(serialization.to_bytes({"labels": labels, "values": values}))
print(back["labels"].tolist(), back["labels"].dtype)
print(back["values"].tolist(), back["values"].dtype)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
[0, 16777216, 33554432, 50331648] int32
[3.03865e-319, 2.8363e-319] float64
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
