#!/usr/bin/env bash
# jax.experimental.jet gives nan for a float power of a negative number, where jax.grad is right.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: x**2.0 has the value 2.25 and the slope -3 at -1.5, in jet as in grad.
# Seen on 2026-11-29: jet's rule for a float exponent goes through the logarithm of x: the value
#     comes out right, all derivatives are nan for x < 0. The double well below is affected on half
#     of its domain.
# Why it matters: Taylor coefficients along a direction are the cheap way to fourth derivatives at a
#     degenerate point; on one side of zero they vanish into nan while gradient and Hessian look
#     healthy. Int exponents are fine.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
from jax.experimental.jet import jet


def double_well(x):
    return (x**2.0 - 1.0) ** 2.0


for x in (1.5, -1.5):
    value, series = jet(double_well, (x,), ((1.0, 0.0),))
    jet_says = [round(float(s), 3) for s in (value, *series)]
    second = jax.grad(jax.grad(double_well))
    exact = [round(float(s), 3) for s in (double_well(x), jax.grad(double_well)(x), second(x))]
    print(x, "jet:", jet_says, "grad:", exact)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
1.5 jet: [1.562, 7.5, 23.0] grad: [1.562, 7.5, 23.0]
-1.5 jet: [1.562, nan, nan] grad: [1.562, -7.5, 23.0]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
