#!/usr/bin/env bash
# flax.nnx.Einsum initializes the same linear map with smaller weights than flax.nnx.LinearGeneral.
#
# Versions: flax 0.12.8 with jax 0.10.2 (installed here), flax 0.12.12 with jax 0.12.0.1.
# Expected: both default to LeCun's initializer, so a map from 512 inputs to 8 heads of 64 starts
#     with deviation 1 / sqrt(512) in both.
# Seen on 2026-11-29: Einsum hands the three-axis shape to the initializer, which takes the last two
#     axes for input and output and the leading one for a receptive field: the fan-in is 512 * 8,
#     the deviation sqrt(8) too small. LinearGeneral flattens the shape first and is right.
# Why it matters: rewriting an attention projection as an einsum changes the scale of the logits at
#     the start, hence curvature and sharpness there, by the number of heads. Give Einsum an
#     initializer with in_axis and out_axis.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
from flax import nnx

width, heads, size = 512, 8, 64
general = nnx.LinearGeneral(width, (heads, size), rngs=nnx.Rngs(0))
einsum = nnx.Einsum("bi,ihk->bhk", (width, heads, size), rngs=nnx.Rngs(0))
for layer in (general, einsum):
    print(type(layer).__name__, layer.kernel.shape, f"{float(layer.kernel[...].std() * width**0.5):.2f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
LinearGeneral (512, 8, 64) 1.00
Einsum (512, 8, 64) 0.35
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
