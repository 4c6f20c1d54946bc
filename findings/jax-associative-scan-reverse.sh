#!/usr/bin/env bash
# jax.lax.associative_scan(matmul, reverse=True) multiplies from the last factor to the first.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: reverse=True gives the products of each suffix, A0 A1 A2 A3 first: the scan runs from
#     the other end and an associative operation may be grouped in any way, with the order of the
#     factors kept.
# Seen on 2026-11-29: the sequence is turned around, so the operands are exchanged as well: A3 A2 A1
#     A0. Sums and other commuting operations do not show it. The text on the returned value says so
#     in one line; all its examples of reverse commute.
# Why it matters: products of Jacobians from a step to the end of a trajectory (backpropagation,
#     sensitivity to early steps, Lyapunov exponents) have the right shape and size and are other
#     matrices. Pass lambda a, b: b @ a.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import numpy as np

factors = jax.random.normal(jax.random.key(0), (4, 2, 2))
suffix = jax.lax.associative_scan(jax.numpy.matmul, factors, reverse=True)
first_to_last = factors[0] @ factors[1] @ factors[2] @ factors[3]
last_to_first = factors[3] @ factors[2] @ factors[1] @ factors[0]
print("reverse=True, element 0 is A0 A1 A2 A3:", np.allclose(suffix[0], first_to_last, atol=1e-4))
print("reverse=True, element 0 is A3 A2 A1 A0:", np.allclose(suffix[0], last_to_first, atol=1e-4))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
reverse=True, element 0 is A0 A1 A2 A3: False
reverse=True, element 0 is A3 A2 A1 A0: True
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
