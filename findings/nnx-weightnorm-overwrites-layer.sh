#!/usr/bin/env bash
# flax.nnx.WeightNorm starts as another function than the layer it wraps, and overwrites the layer.
#
# Versions: flax 0.12.8 with jax 0.10.2 (installed here), flax 0.12.12 with jax 0.12.0.1.
# Expected: weight normalization is a reparameterization: its scale starts at the norms of the
#     columns, so that wrapping a layer changes no output (torch and equinox do so), and the wrapped
#     layer keeps its own weights.
# Seen on 2026-11-29: the scale starts at one, so every column gets norm 1 and the output here falls
#     from 24 to 2.83. The first call also writes the normalized kernel into the wrapped layer,
#     whose own output is 2.83 from then on; the original weights are gone.
# Why it matters: wrapping a trained network to look at its landscape in other coordinates measures
#     another point, and destroys the point at hand. Set the scale to the norms first, and wrap a
#     copy.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
from flax import nnx

layer = nnx.Linear(8, 4, use_bias=False, rngs=nnx.Rngs(0))
layer.kernel.set_value(jnp.full((8, 4), 3.0))
ones = jnp.ones((1, 8))
print("layer before:", layer(ones)[0, 0])
wrapped = nnx.WeightNorm(layer, rngs=nnx.Rngs(0))
print("wrapped:", round(float(wrapped(ones)[0, 0]), 4))
print("layer after:", round(float(layer(ones)[0, 0]), 4))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
layer before: 24.0
wrapped: 2.8284
layer after: 2.8284
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
