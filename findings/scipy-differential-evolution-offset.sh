#!/usr/bin/env bash
# SciPy's differential_evolution is successful after one generation if the objective has an offset.
#
# Versions: SciPy 1.17.1 with NumPy 2.4.6 (installed here); SciPy 1.18.1 with NumPy 2.5.5 gave the
#     same.
# Expected: the method only compares values, so adding a constant changes neither the search nor its
#     result.
# Seen on 2026-11-29: it stops when the deviation of the population's values is below tol = 0.01
#     times their mean. An offset of 1,000 makes every population converged whose deviation is below
#     10, and the search for the minimum of Rastrigin's function ends after 5 generations (111
#     without offset), 3.0 above the minimum, with success True.
# Why it matters: losses with a floor (an entropy, a noise level, a penalty) and energies far from
#     zero are the usual case, and a mean near zero errs to the other side. Subtract a bound of the
#     objective, or set tol=0 and atol to what matters.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from scipy.optimize import differential_evolution


def rastrigin(x):  # minimum 0 at 0
    return 10 * len(x) + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))


for offset in (0.0, 1e3, 1e4):
    found = differential_evolution(lambda x: offset + rastrigin(x), [(-5, 5)] * 3, rng=0)
    above = found.fun - offset
    print(f"offset {offset:.0f}: success {found.success}, {found.nit} generations, {above:.1f} above the minimum")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
offset 0: success True, 111 generations, 0.0 above the minimum
offset 1000: success True, 5 generations, 3.0 above the minimum
offset 10000: success True, 1 generations, 9.0 above the minimum
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
