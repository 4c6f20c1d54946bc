#!/usr/bin/env bash
# flax.nnx.ConvTranspose with transpose_kernel=True is initialized by its outputs, not its inputs.
#
# Versions: flax 0.12.8 with jax 0.10.2 (installed here), flax 0.12.12 with jax 0.12.0.1.
# Expected: transpose_kernel says how the kernel is stored and applied; the default initializer
#     keeps the variance of the activations either way.
# Seen on 2026-11-29: with transpose_kernel=True the kernel is stored (height, width, outputs,
#     inputs), and the initializer still takes the last axis but one for the inputs: from 16 to 256
#     channels the outputs have deviation 0.25 instead of 1, and from 256 to 16 they would have 4.
# Why it matters: the flag is there to match other frameworks, so it is set in ports and
#     comparisons, whose starting points then differ by the ratio of the channels in every such
#     layer.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
from flax import nnx

inputs = jax.random.normal(jax.random.key(0), (1, 64, 64, 16))
for transpose_kernel in (False, True):
    layer = nnx.ConvTranspose(16, 256, (3, 3), transpose_kernel=transpose_kernel, rngs=nnx.Rngs(0))
    print(transpose_kernel, layer.kernel.shape, f"{float(layer(inputs).std()):.2f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
False (3, 3, 16, 256) 1.00
True (3, 3, 256, 16) 0.25
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
