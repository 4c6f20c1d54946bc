#!/usr/bin/env bash
# Compiled for the CPU, a d - b c of a singular matrix is never zero, and a barrier does not help.
#
# Versions: jax and jaxlib 0.10.2 (installed here), on x86-64 with fused multiply-add. 0.12.0.1 gave the
#     same without the barrier, and zeros with it.
# Expected: the two products of [[u, u], [v, v]] are the same float32 number, so the difference is
#     exactly 0, as it is outside jit; and jax.lax.optimization_barrier around the products keeps the
#     compiler from joining them with the subtraction.
# Seen on 2026-11-29: of 1,000 such matrices none has determinant 0 under jit; 481 are negative, 519
#     positive. One product is rounded and the other goes into a fused multiply-add unrounded, so what
#     is left is the rounding error of a product. With the barrier on 0.10.2: the same.
# Why it matters: signs of 2 x 2 determinants and discriminants tell saddles from minima and double
#     eigenvalues from pairs. A test for exactly zero that holds outside jit, or in NumPy, never
#     holds inside, and the sign there is a coin.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp


def determinant(a, b, c, d):
    return a * d - b * c


def with_barrier(a, b, c, d):
    first, second = jax.lax.optimization_barrier((a * d, b * c))
    return first - second


# [[u, u], [v, v]] is singular, and a d and b c are the product of the same two numbers.
u, v = jax.random.normal(jax.random.key(1), (2, 1000))
for name, function in (("plain", determinant), ("with a barrier", with_barrier)):
    eager = function(u, u, v, v)
    compiled = jax.jit(function)(u, u, v, v)
    print(f"{name}: not zero: eager {int((eager != 0).sum())}, compiled {int((compiled != 0).sum())}")
    print(f"    negative: {int((compiled < 0).sum())}, positive: {int((compiled > 0).sum())}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
plain: not zero: eager 0, compiled 1000
    negative: 481, positive: 519
with a barrier: not zero: eager 0, compiled 1000
    negative: 481, positive: 519
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
