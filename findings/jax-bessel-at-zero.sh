#!/usr/bin/env bash
# jax's Bessel function i0 has slope 1 and curvature 1.5 at zero instead of 0 and 0.5.
#
# Versions: jax 0.10.2 against mpmath 1.3.0 (installed here); 0.12.0.1 is right.
# Expected: I0 and I1 are entire functions with known series, 1 + x^2/4 + ... and x/2 + x^3/16 +
#     ...; their derivatives at 0 are good to rounding, as the values are.
# Seen on 2026-11-29: each is the exponentially scaled function times exp(|x|), and the two kinks,
#     which should cancel, have slopes 0 and 1 at exactly 0. The derivatives of i0 come out as 1,
#     1.5, 2.5. At 0.001 all is right, and so are the values.
# Why it matters: 0 is where a concentration (von Mises) starts and where expansions are made: a
#     stationary point there has a gradient, and its curvature is three times too large. Start
#     beside 0, or add up the series.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 mpmath==1.3.0 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import mpmath
from jax.scipy.special import i0, i1

jax.config.update("jax_enable_x64", True)


def derivatives(function, x, order):
    found = [function]
    for _ in range(order):
        found.append(jax.grad(found[-1]))
    return [round(float(f(x)), 4) for f in found]


for name, function, index in (("i0", i0, 0), ("i1", i1, 1)):
    for x in (0.0, 1e-3):
        true = [round(float(mpmath.diff(lambda t: mpmath.besseli(index, t), x, n)), 4) for n in range(4)]
        print(f"{name} and derivatives at {x}: jax {derivatives(function, x, 3)}, true {true}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
i0 and derivatives at 0.0: jax [1.0, 1.0, 1.5, 2.5], true [1.0, 0.0, 0.5, 0.0]
i0 and derivatives at 0.001: jax [1.0, 0.0005, 0.5, 0.0004], true [1.0, 0.0005, 0.5, 0.0004]
i1 and derivatives at 0.0: jax [0.0, 0.5, 1.0, 1.5], true [0.0, 0.5, 0.0, 0.375]
i1 and derivatives at 0.001: jax [0.0005, 0.5, 0.0004, 0.375], true [0.0005, 0.5, 0.0004, 0.375]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
