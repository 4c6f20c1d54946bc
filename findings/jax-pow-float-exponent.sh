#!/usr/bin/env bash
# x**2.0 and x**2 have different third derivatives at zero in jax: nan and 0.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: x**2.0 is differentiated like x**2; the second derivatives at 0 agree, so the higher
#     ones should.
# Seen on 2026-11-29: a float exponent p uses p * x**(p - 1) again and again, which at order p + 1
#     becomes 0 * inf at x = 0. An int exponent is expanded into products and is right at every
#     order. The value, slope and curvature give no warning.
# Why it matters: third and fourth derivatives along the null space are how a degenerate stationary
#     point is decided, and those points sit at zero in most test functions. Write integer exponents
#     as ints, in surfaces taken from formulas too.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import jax.numpy as jnp


def derivatives(fun):
    out = []
    for _ in range(5):
        out.append(float(fun(0.0)))
        fun = jax.grad(fun)
    return out


print("x**2:", derivatives(lambda x: x**2))
print("x**2.0:", derivatives(lambda x: x**2.0))
print("jnp.power(x, 3.0):", derivatives(lambda x: jnp.power(x, 3.0)))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
x**2: [0.0, 0.0, 2.0, 0.0, 0.0]
x**2.0: [0.0, 0.0, 2.0, nan, nan]
jnp.power(x, 3.0): [0.0, 0.0, 0.0, 6.0, nan]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
