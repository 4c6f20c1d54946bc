#!/usr/bin/env bash
# SciPy's Radau and LSODA keep a gradient flow at a strict saddle that it leaves; RK45 lets it go.
#
# Versions: SciPy 1.17.1 with NumPy 2.4.6 (installed here); SciPy 1.18.1 with NumPy 2.5.5 gave the
#     same.
# Expected: 50 x^2 - y^2/2 + y^4/4 from (1, 1e-9): y grows as exp(t), whatever is small about it,
#     and passes 0.5 at t = 20. An adaptive solver that reports success follows that within a few
#     percent, and the implicit ones are the better choice since the flow is stiff.
# Seen on 2026-11-29: at t = 100 Radau and LSODA are still at the saddle, with success True, after
#     26 and 57 steps. While y is below atol, 1e-6 by default, no error control sees it; steps grow
#     as far as x allows, and for a step of many time constants an implicit method damps growing
#     modes as it damps decaying ones. Explicit methods are held to short steps by x and are right.
#     With atol=1e-12 all agree.
# Why it matters: escape times from perturbed saddles are what such runs measure, and 'stayed' is
#     read as stability. Set atol below the smallest perturbation that counts, or bound the step
#     (max_step).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from scipy.integrate import solve_ivp


def flow(t, point):
    x, y = point
    return [-100.0 * x, y - y**3]


for start in (1e-6, 1e-9):
    for method in ("RK45", "DOP853", "Radau", "LSODA"):
        texts = []
        for options in ({}, {"atol": 1e-12}):
            run = solve_ivp(flow, (0, 100), [1.0, start], method=method, **options)
            left = np.abs(run.y[1]) > 0.5
            text = f"left at {run.t[left][0]:.0f}" if left.any() else "stayed"
            texts.append(f"{text}, success {run.success}")
        print(f"y = {start:.0e} {method}: {texts[0]}; atol=1e-12: {texts[1]}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
y = 1e-06 RK45: left at 13, success True; atol=1e-12: left at 13, success True
y = 1e-06 DOP853: left at 13, success True; atol=1e-12: left at 13, success True
y = 1e-06 Radau: left at 14, success True; atol=1e-12: left at 13, success True
y = 1e-06 LSODA: left at 13, success True; atol=1e-12: left at 13, success True
y = 1e-09 RK45: left at 20, success True; atol=1e-12: left at 20, success True
y = 1e-09 DOP853: left at 20, success True; atol=1e-12: left at 20, success True
y = 1e-09 Radau: stayed, success True; atol=1e-12: left at 20, success True
y = 1e-09 LSODA: stayed, success True; atol=1e-12: left at 20, success True
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
