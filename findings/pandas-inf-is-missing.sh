#!/usr/bin/env bash
# pandas' ewm, rolling and expanding take inf for a missing value: a smoothed loss shows no
# divergence.
#
# Versions: pandas 3.1.1 with NumPy 2.4.6 (installed here); NumPy 2.5.5 gave the same.
# Expected: inf is a number to pandas, not missing (isna says False): the mean is inf and the
#     cumulative maximum stays inf, so a smoothed curve is inf from there on, and the running
#     maximum too.
# Seen on 2026-11-29: windows replace inf by nan first. The exponential mean goes from 1.33 through
#     the overflow to 1.09, and the running maximum of 2, 1, inf, 1, 2, 3 is 3.
# Why it matters: ewm().mean() is how loss curves are smoothed; a run that overflowed looks like one
#     that converged, and "largest loss so far" never sees it. Test isinf before smoothing.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet pandas==3.1.1 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import numpy as np
import pandas as pd

loss = pd.Series([2.0, 1.0, np.inf, 1.0, 2.0, 3.0])  # a loss curve that overflows once
print("mean:", loss.mean())
print("cummax:", loss.cummax().tolist())
print("ewm(alpha=0.5).mean:", loss.ewm(alpha=0.5).mean().round(2).tolist())
print("expanding().max:", loss.expanding().max().tolist())
print("rolling(3, min_periods=1).max:", loss.rolling(3, min_periods=1).max().tolist())
print("rolling(3).mean:", loss.rolling(3).mean().round(2).tolist())
PYTHON
)
expected=$(
  cat <<'EXPECTED'
mean: inf
cummax: [2.0, 2.0, inf, inf, inf, inf]
ewm(alpha=0.5).mean: [2.0, 1.33, 1.33, 1.09, 1.63, 2.37]
expanding().max: [2.0, 2.0, 2.0, 2.0, 2.0, 3.0]
rolling(3, min_periods=1).max: [2.0, 2.0, 2.0, 1.0, 2.0, 3.0]
rolling(3).mean: [nan, nan, nan, nan, nan, 2.0]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
