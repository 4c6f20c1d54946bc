#!/usr/bin/env bash
# SciPy's direct succeeds far from the minimum from some ten dimensions on: a small volume ends it.
#
# Versions: SciPy 1.17.1 with NumPy 2.4.6 (installed here); SciPy 1.18.1 with NumPy 2.5.5 gave the
#     same.
# Expected: DIRECT divides its boxes until the budget is spent, or until the best one is small; with
#     the default tolerances its answer for a sphere is good to several digits, and success says so.
# Seen on 2026-11-29: the search ends when the best box has 1e-16 of the volume (vol_tol), and in n
#     dimensions that is sides of 10^(-16/n) of the range: 1e-8 in 2, 0.05 in 12, 0.16 in 20. With
#     20,000 evaluations allowed it stops after 769 with success=True at 0.62, where the minimum is 0;
#     with vol_tol=0 it goes on to 6e-12.
# Why it matters: this is the global baseline that needs no gradient; its failures over dimensions
#     are laid to the method, or its answer is believed. Set vol_tol=0 and len_tol.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy
from scipy.optimize import direct


def sphere(x):
    return float(((x - 0.3) ** 2).sum())


for dimension in (2, 6, 12, 20):
    for options in ({}, {"vol_tol": 0}):
        found = direct(sphere, [(-1, 1)] * dimension, maxfun=20000, maxiter=100000, **options)
        print(
            f"{dimension} dimensions {options}: value {found.fun:.2g} after {found.nfev} evaluations,",
            f"success {found.success}, {found.message[:10]}",
        )
PYTHON
)
expected=$(
  cat <<'EXPECTED'
2 dimensions {}: value 6.4e-13 after 323 evaluations, success True, The side l
2 dimensions {'vol_tol': 0}: value 6.4e-13 after 323 evaluations, success True, The side l
6 dimensions {}: value 3.1e-05 after 351 evaluations, success True, The volume
6 dimensions {'vol_tol': 0}: value 1.9e-12 after 1283 evaluations, success True, The side l
12 dimensions {}: value 0.012 after 621 evaluations, success True, The volume
12 dimensions {'vol_tol': 0}: value 3.8e-12 after 4237 evaluations, success True, The side l
20 dimensions {}: value 0.62 after 769 evaluations, success True, The volume
20 dimensions {'vol_tol': 0}: value 6.4e-12 after 11219 evaluations, success True, The side l
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
