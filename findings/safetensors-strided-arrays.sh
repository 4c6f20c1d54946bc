#!/usr/bin/env bash
# safetensors.numpy.save writes a transposed or strided array with its values in another order.
#
# Versions: safetensors 0.8.0 with NumPy 2.4.6 (installed here).
# Expected: load(save(x)) is x, as with numpy.save; or an array that is not contiguous is refused,
#     as safetensors.torch refuses such a tensor.
# Seen on 2026-11-29: the buffer underneath is written from its first byte under the shape of the
#     view: x.T comes back as x reshaped, x[::2] as the first half of x. Shape and dtype are right,
#     nothing is said.
# Why it matters: weights carried from torch to jax are transposed views, every second iterate of a
#     trajectory is a strided one. What is loaded has the norm of what was saved in the first case,
#     so that checks by norm pass, and is another network. Pass numpy.ascontiguousarray(x).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet safetensors==0.8.0 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save

weights = np.arange(6.0).reshape(2, 3)
for name, array in {"weights": weights, "weights.T": weights.T, "weights[:, ::2]": weights[:, ::2]}.items():
    back = load(save({"x": array}))["x"]
    print(f"{name}: {array.tolist()} comes back as {back.tolist()}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
weights: [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] comes back as [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
weights.T: [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]] comes back as [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
weights[:, ::2]: [[0.0, 2.0], [3.0, 5.0]] comes back as [[0.0, 1.0], [2.0, 3.0]]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
