#!/usr/bin/env bash
# On the CPU jax has different numbers whose difference is zero, and a positive one not above zero.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1, on x86-64.
# Expected: float32 is IEEE 754 with gradual underflow, as in NumPy: x != y implies x - y != 0, and
#     nextafter(0, 1) > 0.
# Seen on 2026-11-29: XLA flushes subnormal results and arguments to zero: 1.5e-38 and 1.4e-38
#     differ and their difference is 0; nextafter(0, 1) prints as 1e-45 and compares as not above 0.
# Why it matters: loops 'until the iterate no longer changes' disagree with loops 'until the step is
#     zero', and the smallest perturbation that can grow at a saddle is 1.2e-38, not 1.4e-45: a
#     start made with nextafter never leaves.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import numpy as np

x, y = np.float32(1.5e-38), np.float32(1.4e-38)
print("numpy: differ", bool(x != y), "difference is zero", bool(x - y == 0))
x, y = jnp.asarray(x), jnp.asarray(y)
print("jax: differ", bool(x != y), "difference is zero", bool(x - y == 0))
tiny = jnp.nextafter(jnp.float32(0), jnp.float32(1))
print("jax: nextafter(0, 1) prints", tiny, "and is above 0", bool(tiny > 0))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
numpy: differ True difference is zero False
jax: differ True difference is zero True
jax: nextafter(0, 1) prints 1e-45 and is above 0 False
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
