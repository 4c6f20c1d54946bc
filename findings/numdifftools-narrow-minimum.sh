#!/usr/bin/env bash
# numdifftools takes a minimum of width 0.01 for flat, SciPy one of 0.001, with success=True.
#
# Versions: numdifftools 0.11.2 with NumPy 2.4.6 and SciPy 1.17.1 (installed here).
# Expected: the step is found by the function: a sequence of steps that shrink, extrapolated, of
#     which the result with the least error is taken; and scipy.differentiate's success means that
#     the error is below the tolerance.
# Seen on 2026-11-29: numdifftools' steps begin near 1 and depend on the point and the order only. The
#     smallest lie above 0.01, where this dip has ended, so all agree that the function is constant:
#     the curvature is 3e-15 instead of 10,000, and the slope beside a dip of width 0.001 is 0
#     instead of 441. At width 0.1 all is right to ten digits. scipy.differentiate.hessian begins at
#     0.5 and stops as soon as two steps agree: at width 0.01 it says success False, at 0.001 True,
#     with a curvature of 0.
# Why it matters: they are the usual reference for a hand-written gradient or Hessian; at sharp minima,
#     or parameters of small scale, they refute what is right and call the minimum degenerate. Pass a
#     step of the problem's scale, and compare two.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet numdifftools==0.11.2 numpy==2.4.6 scipy==1.17.1

seen=$("$python" -W ignore - <<'PYTHON'
import numdifftools
import numpy
import scipy.differentiate

for width in (1.0, 0.1, 0.01, 0.001):
    true = 1 / width**2, 0.5 / width * numpy.exp(-1 / 8)

    def dip(x):
        return 1 - numpy.exp(-((x[0] / width) ** 2) / 2)

    hessian = numdifftools.Hessian(dip)([0.0]).item()
    gradient = numdifftools.Gradient(dip)([0.5 * width]).item()
    other = scipy.differentiate.hessian(dip, numpy.zeros(1))
    values = [f"{value:.3f}" for value in (true[0], abs(hessian), true[1], gradient)]
    print("width {}: curvature {} is {}, slope {} is {};".format(width, *values), end=" ")
    print(f"SciPy: success {other.success.item()}, below 1: {bool(other.ddf.item() < 0.99)}")
step = numdifftools.Hessian(dip, step=1e-5)([0.0]).item()
print(f"numdifftools with step=1e-5: {step:.2e}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
width 1.0: curvature 1.000 is 1.000, slope 0.441 is 0.441; SciPy: success True, below 1: False
width 0.1: curvature 100.000 is 100.000, slope 4.412 is 4.412; SciPy: success True, below 1: False
width 0.01: curvature 10000.000 is 0.000, slope 44.125 is 44.125; SciPy: success False, below 1: False
width 0.001: curvature 1000000.000 is 0.000, slope 441.248 is 0.000; SciPy: success True, below 1: True
numdifftools with step=1e-5: 1.00e+06
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
