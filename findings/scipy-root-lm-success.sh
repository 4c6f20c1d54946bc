#!/usr/bin/env bash
# scipy.optimize.root(method='lm') reports success where the equation has no solution.
#
# Versions: SciPy 1.17.1 (installed here) and 1.18.1.
# Expected: success means that a root was found, as it does for the default method, which says here
#     that it makes no progress.
# Seen on 2026-11-29: method='lm' minimizes the sum of squares and reports success at any minimum of
#     it: the equation below has no root, the residual at the answer is 1.0.
# Why it matters: stationary points are sought as roots of the gradient, and the squared gradient
#     norm has minima that are not stationary. Each of them comes back as a 'successful' stationary
#     point. Test the norm of result.fun.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from scipy.optimize import root

gradient = lambda x: np.array([x[0] ** 2 + 1.0, x[1]])  # of x^3/3 + x + y^2/2, which has no stationary point
for method in ("hybr", "lm"):
    result = root(gradient, [0.5, 0.3], method=method)
    print(method, bool(result.success), round(float(np.linalg.norm(result.fun)), 2))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
hybr False 1.0
lm True 1.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
