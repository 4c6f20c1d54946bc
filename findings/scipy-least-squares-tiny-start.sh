#!/usr/bin/env bash
# SciPy's least_squares and curve_fit stop at once, successful, if they start at zero on a bound or
# at 1e-9.
#
# Versions: SciPy 1.17.1 with NumPy 2.4.6 (installed here); SciPy 1.18.1 with NumPy 2.5.5 gave the
#     same.
# Expected: a straight line is fitted from any start: the problem is linear, the Jacobian exact, and
#     0 is an allowed value of a parameter that is bounded below by 0.
# Seen on 2026-11-29: the first trust radius is the norm of the start, and 1 only for a start of
#     exactly 0. From 1e-9 the first step is of that size, changes the cost by less than ftol = 1e-8
#     of it, and that is success with status 2, at the start. With bounds the method moves a start
#     at 0 inwards, to 1e-10, so that p0 = (0, 0) with bounds (0, 10) is fitted as (2e-10, 2e-10).
#     Without bounds 0 is fine, and so is 1; method='lm' stops from 1e-10 on.
# Why it matters: zero for 'no effect' and small random weights are common starts, and tiny
#     perturbations of a saddle at the origin are made on purpose. The result is the start, reported
#     as a minimum. Look at nfev (2), or start at 1; ftol=None leaves the other tests.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from scipy.optimize import curve_fit, least_squares

place = np.linspace(0, 1, 20)
design = np.stack([np.ones(20), place], axis=1)
line = design @ [2.0, 3.0]
for start in (1.0, 0.0, 1e-6, 1e-9):
    fit = least_squares(lambda p: design @ p - line, [start, start], jac=lambda p: design)
    print(f"from {start:g}: {fit.x.round(4) + 0} success {fit.success}, status {fit.status}, cost {fit.cost:.2f}")
fit = least_squares(lambda p: design @ p - line, [0.0, 0.0], jac=lambda p: design, bounds=(0, 10))
print(f"from 0, bounds (0, 10): {fit.x.round(4) + 0} success {fit.success}, status {fit.status}, cost {fit.cost:.2f}")
for start in (1.0, 0.0):
    found, _ = curve_fit(lambda x, a, b: a + b * x, place, line, p0=[start, start], bounds=(0, 10))
    print(f"curve_fit from {start:g}, bounds (0, 10): {found.round(4) + 0}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
from 1: [2. 3.] success True, status 1, cost 0.00
from 0: [2. 3.] success True, status 1, cost 0.00
from 1e-06: [2. 3.] success True, status 1, cost 0.00
from 1e-09: [0. 0.] success True, status 2, cost 130.79
from 0, bounds (0, 10): [0. 0.] success True, status 2, cost 130.79
curve_fit from 1, bounds (0, 10): [2. 3.]
curve_fit from 0, bounds (0, 10): [0. 0.]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
