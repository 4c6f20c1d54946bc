#!/usr/bin/env bash
# scipy.optimize.fixed_point of a gradient step ends at the maximum beside which it started.
#
# Versions: SciPy 1.17.1 with NumPy 2.4.6 (installed here); SciPy 1.18.1 with NumPy 2.5.5 gave the
#     same.
# Expected: a fixed point of x -> x - 0.1 f'(x) is found by applying the map again and again, faster
#     perhaps, so that from beside a maximum one comes to a minimum, as gradient descent does: for f
#     = (x^2 - 1)^2 / 4 from 0.1 to x = 1.
# Seen on 2026-11-29: the default accelerates each pair of steps (Steffensen's method), which is
#     Newton's method on the equation and finds repelling fixed points as readily: from 0.1 it
#     returns the maximum at 0, and for the saddle of x^2 + y^4/4 - y^2/2 the saddle.
#     method='iteration' goes to the minimum at 1. The logistic map at r = 3.9, chaotic, 'converges'
#     as well.
# Why it matters: fixed points of a training step, an optimizer's map or a game's best response are
#     taken for its limits; here they are points that the iteration runs away from. Pass
#     method='iteration', or look at the eigenvalues of the map's Jacobian at the answer.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from scipy.optimize import fixed_point


def step(x):
    return x - 0.1 * (x**3 - x)


def saddle_step(point):
    x, y = point
    return point - 0.1 * np.array([2 * x, y**3 - y])


line, plane = 0.1, np.array([1.0, 0.1])
for _ in range(1000):
    line, plane = step(line), saddle_step(plane)
print(f"a thousand steps: {line:.3f}, in the plane {plane.round(3) + 0}")
line, plane = fixed_point(step, 0.1), fixed_point(saddle_step, [1.0, 0.1])
print(f"fixed_point: {abs(line):.3f}, in the plane {plane.round(3) + 0}")
line = fixed_point(step, 0.1, method="iteration", maxiter=1000)
print(f"fixed_point(method='iteration'): {line:.3f}")
print(f"logistic map: {fixed_point(lambda x: 3.9 * x * (1 - x), 0.3):.4f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
a thousand steps: 1.000, in the plane [0. 1.]
fixed_point: 0.000, in the plane [0. 0.]
fixed_point(method='iteration'): 1.000
logistic map: 0.7436
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
