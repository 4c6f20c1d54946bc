#!/usr/bin/env bash
# SciPy's confidence interval of a mean is (nan, nan) where all values are equal.
#
# Versions: SciPy 1.17.1 with NumPy 2.4.6 (installed here).
# Expected: five runs that all reached 0.97 have the interval from 0.97 to 0.97, the limit of ever
#     smaller spread, as Wilson's interval of proportion_ci has an answer for 5 of 5.
# Seen on 2026-11-29: stats.t.interval(0.95, 4, loc=mean, scale=sem) gives nan twice where the
#     standard error is 0, and so do norm.interval and bootstrap's default (BCa), without an error.
#     A spread of 1e-12 gives the interval.
# Why it matters: runs that agree to the last digit are what a deterministic method, a saturated
#     accuracy or a share of 100 % produce. Comparisons with nan are False, so that a check like
#     "the lower end is above the baseline" fails for the clearest of results, and error bars are
#     missing from the figure.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import numpy as np
from scipy import stats

for spread in (1e-12, 0.0):
    runs = 0.97 + spread * np.arange(-2.0, 3.0)
    mean, error = runs.mean(), stats.sem(runs)
    student = stats.t.interval(0.95, len(runs) - 1, loc=mean, scale=error)
    normal = stats.norm.interval(0.95, loc=mean, scale=error)
    print(f"spread {spread}: Student {student[0]:.4f}, normal {normal[0]:.4f}")
found = stats.bootstrap((np.full(5, 0.97),), np.mean, rng=0).confidence_interval
print(f"bootstrap: {found.low:.4f}")
print(f"Wilson, 5 of 5: {stats.binomtest(5, 5).proportion_ci(method='wilson').low:.4f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
spread 1e-12: Student 0.9700, normal 0.9700
spread 0.0: Student nan, normal nan
bootstrap: nan
Wilson, 5 of 5: 0.5655
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
