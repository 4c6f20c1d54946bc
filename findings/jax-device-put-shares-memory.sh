#!/usr/bin/env bash
# jax.device_put of a NumPy array may share its memory on the CPU, so that the jax array changes
# later.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1, NumPy 2.4.6 and 2.5.5.
# Expected: jax arrays are immutable, and putting host data on a device copies it; if anything
#     shares memory it is jax.numpy.asarray.
# Seen on 2026-11-29: when the NumPy buffer starts on a multiple of 64 bytes, device_put keeps it
#     without a copy, and an in-place update of the buffer changes the jax array. jax.numpy.array
#     copies. Buffers of torch tensors are always aligned so; NumPy's are by chance.
# Why it matters: a trajectory recorded by device_put from a peer that updates in place (SciPy
#     callbacks, torch parameters) ends as copies of the last iterate, on some runs and not on
#     others.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import numpy as np

memory = np.zeros(64 + 4, np.float32)
start = (-memory.ctypes.data % 64) // 4
iterate = memory[start : start + 4]  # a buffer that begins on a multiple of 64 bytes
trajectory, copies = [], []
for step in range(3):
    iterate += 1
    trajectory.append(jax.device_put(iterate))
    copies.append(jax.numpy.array(iterate))
print("device_put:", [float(x[0]) for x in trajectory])
print("array:", [float(x[0]) for x in copies])
PYTHON
)
expected=$(
  cat <<'EXPECTED'
device_put: [3.0, 3.0, 3.0]
array: [1.0, 2.0, 3.0]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
