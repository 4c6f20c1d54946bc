#!/usr/bin/env bash
# jax.numpy.sum and mean accumulate float8 in float8: the mean of 256 ones is 0.5 or 0.25.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: reductions of low-precision floats are carried out in float32 and rounded once, as jax
#     does for float16 and bfloat16; 256 is a float8 number in both formats.
# Seen on 2026-11-29: for float8 the running sums are rounded to float8 at each step: 128 for
#     e4m3fn, 64 for e5m2, so the means of ones are 0.5 and 0.25. float16 and bfloat16 are exact.
# Why it matters: a loss, a norm or a Hutchinson average over float8 data is low by a factor that
#     grows with the batch, without inf or nan. Cast first, or pass dtype=jax.numpy.float32.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp

for name in ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"):
    ones = jnp.ones(256, getattr(jnp, name))
    print(name, float(jnp.sum(ones)), float(jnp.mean(ones)))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
float16 256.0 1.0
bfloat16 256.0 1.0
float8_e4m3fn 128.0 0.5
float8_e5m2 64.0 0.25
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
