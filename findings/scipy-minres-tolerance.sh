#!/usr/bin/env bash
# scipy.sparse.linalg.minres reports success with a residual of half the right-hand side.
#
# Versions: SciPy 1.17.1 (installed here) and 1.18.1, NumPy 2.4.6 and 2.5.5.
# Expected: rtol=1e-6 and info 0 mean that the residual is at most 1e-6 times the norm of the right-
#     hand side, as in scipy.sparse.linalg.cg and gmres and as its documentation's 'relative
#     residual' suggests.
# Seen on 2026-11-29: the residual is compared with the norm of the matrix times the norm of the
#     solution. With condition number 1e8 minres stops with info 0 and a relative residual of 0.50.
# Why it matters: minres is the natural solver for Newton steps with an indefinite Hessian. Near
#     singular Hessians the 'solved' step is off by half, and a Newton iteration converges linearly
#     or not at all while info says nothing. Check the residual yourself.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from scipy.sparse.linalg import minres

matrix = np.diag(np.logspace(0, 8, 50))
right = np.ones(50)
solution, info = minres(matrix, right, rtol=1e-6)
residual = np.linalg.norm(matrix @ solution - right) / np.linalg.norm(right)
print("info", info, "relative residual", round(float(residual), 2))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
info 0 relative residual 0.5
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
