#!/usr/bin/env bash
# jax.random in bfloat16 draws one of 128 numbers: normal noise is biased and never exceeds 2.9, and
# an event of probability 0.001 happens at 0.8 %.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1, on the CPU.
# Expected: a draw in half precision is a float32 draw, rounded: the mean of a million normal numbers
#     is within 0.004 of 0, some exceed 4, and bernoulli(p) happens with probability p.
# Seen on 2026-11-29: the uniform number underneath has as many bits as the significand (7 of bfloat16,
#     10 of float16), so normal() has 128 or 1,024 values in all, a mean of -0.012 or -0.002 and a
#     largest value of 2.89 or 3.49, exponential() ends at 4.8, and bernoulli() with a probability
#     in bfloat16 rounds it up to the next multiple of 1/128.
# Why it matters: initializers with param_dtype=bfloat16, noise "in the dtype of the parameters" and
#     dropout rates held in half precision draw from these. Draw in float32 and convert.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np

COUNT = 1_000_000
for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
    normal = np.asarray(jax.random.normal(jax.random.key(0), (COUNT,), dtype), np.float64)
    rare = jax.random.bernoulli(jax.random.key(1), jnp.asarray(0.001, dtype), (COUNT,))
    print(
        f"{jnp.dtype(dtype).name}: {min(len(np.unique(normal)), 9999)} values, "
        f"mean {normal.mean():.3f}, largest {np.abs(normal).max():.2f}, "
        f"events of probability 0.001: {float(np.mean(rare)):.4f}"
    )
PYTHON
)
expected=$(
  cat <<'EXPECTED'
bfloat16: 128 values, mean -0.012, largest 2.89, events of probability 0.001: 0.0079
float16: 1024 values, mean -0.002, largest 3.49, events of probability 0.001: 0.0020
float32: 9999 values, mean 0.000, largest 4.65, events of probability 0.001: 0.0010
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
