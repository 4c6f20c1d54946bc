#!/usr/bin/env bash
# safetensors.numpy.load returns the tensors of the same bytes in a new order at every call.
#
# Versions: safetensors 0.8.0, NumPy 2.4.6 (installed here) and 2.5.5.
# Expected: a dict comes back in the order of the file, or sorted by name; in any case the same for
#     the same bytes.
# Seen on 2026-11-29: loading eight tensors of one dtype 20 times in one process gives many orders,
#     so the concatenation of the values is another vector each time.
# Why it matters: a flat parameter vector made from load(...).values() permutes the coordinates from
#     run to run: distances between checkpoints, interpolation and directions in weight space become
#     noise, while each tensor looks right. Sort the names, or go through a pytree.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet safetensors==0.8.0 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

state = {f"layer{i}": np.full(1, i, np.float32) for i in range(8)}
stored = save(state)
orders = {tuple(load(stored)) for _ in range(20)}
vectors = {tuple(np.concatenate(list(load(stored).values()))) for _ in range(20)}
print("same bytes loaded 20 times: one order", len(orders) == 1, "one flat vector", len(vectors) == 1)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
same bytes loaded 20 times: one order False one flat vector False
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
