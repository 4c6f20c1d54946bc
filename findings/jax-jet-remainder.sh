#!/usr/bin/env bash
# jax.experimental.jet differentiates the remainder of a negative number as if it were rounded down.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: jet's first coefficient is the derivative that jax.grad gives; for fmod(a, b) = a - b *
#     trunc(a / b) the derivative is a' - b' * trunc(a / b).
# Seen on 2026-11-29: where a / b is negative jet uses floor instead of trunc: at x = -0.4 the slope
#     comes out as 4.4 instead of 3.7, without an error. The value itself is right.
# Why it matters: fmod puts coordinates on a torus (angles, periodic landscapes). A Taylor expansion
#     along a line by jet then has a wrong slope in half of the space. jax.numpy.mod and jax.grad
#     are right.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import jax.numpy as jnp
from jax.experimental.jet import jet


def slope_by_jet(fun, x):
    _, (slope,) = jet(fun, (x,), ((1.0,),))
    return round(float(slope), 3)


def periodic(x):
    return jnp.fmod(3 * x, 0.7 * x + 1)


for x in (0.4, -0.4):
    print(x, "jet:", slope_by_jet(periodic, x), "grad:", round(float(jax.grad(periodic)(x)), 3))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
0.4 jet: 3.0 grad: 3.0
-0.4 jet: 4.4 grad: 3.7
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
