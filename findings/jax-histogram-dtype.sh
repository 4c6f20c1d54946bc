#!/usr/bin/env bash
# jax.numpy.histogram counts in the data's own dtype: 1,000 bfloat16 numbers make a bin of 256.
#
# Versions: jax 0.10.2 with NumPy 2.4.6 (installed here); jax 0.12.0.1 gave the same.
# Expected: counts are integers, as in NumPy, whose interface it has; or floats that hold them.
# Seen on 2026-11-29: counts have the dtype of the data and are added up one by one: a bin stops at
#     256 in bfloat16, at 2,048 in float16 and at 2^24 in float32. density=True divides by the
#     truncated total, so a density looks fine with the high bins cut to the height of the others.
#     jax.numpy.bincount, unique and count_nonzero count in int32 and are right.
# Why it matters: histograms of activations, gradients and weights, whose peaks at zero are the point,
#     are clipped at the peak; a mixture of two equal bins and one twice as high comes out flat. Cast
#     to float32 first, below 2^24 numbers a bin, or use digitize and bincount.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import numpy

cases = (("float32", 1000), ("bfloat16", 1000), ("float16", 5000), ("float32", 2**24 + 1000))
for dtype, count in cases:
    data = jnp.full(count, 0.5, dtype)
    counts = jnp.histogram(data, bins=2, range=(0, 1))[0]
    print(f"{dtype}, {count} numbers in one bin: {int(counts[1])}, {counts.dtype}")
levels = numpy.repeat([0.5, 1.5, 2.5], [250, 500, 1000])
for dtype in ("float32", "bfloat16"):
    density = jnp.histogram(jnp.asarray(levels, dtype), bins=3, range=(0, 3), density=True)[0]
    print(f"{dtype}, density of 250, 500 and 1,000 numbers:", *(f"{float(d):.2f}" for d in density))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
float32, 1000 numbers in one bin: 1000, float32
bfloat16, 1000 numbers in one bin: 256, bfloat16
float16, 5000 numbers in one bin: 2048, float16
float32, 16778216 numbers in one bin: 16777216, float32
float32, density of 250, 500 and 1,000 numbers: 0.14 0.29 0.57
bfloat16, density of 250, 500 and 1,000 numbers: 0.33 0.34 0.34
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
