#!/usr/bin/env bash
# scipy.sparse.linalg.eigsh orders eigenvalues differently when the vectors are not wanted.
#
# Versions: SciPy 1.17.1 (installed here) and 1.18.1.
# Expected: which='SA' returns the smallest eigenvalues in ascending order; return_eigenvectors only
#     leaves the vectors out.
# Seen on 2026-11-29: with vectors -5, -1, 0.1; without them 0.1, -1, -5: by absolute value. The
#     text on return_eigenvectors says so, far from where one looks.
# Why it matters: the most negative eigenvalue of a Hessian is values[0] in one call and values[-1]
#     in the other, so a saddle is taken for a minimum (0.1 > 0) once somebody drops the vectors to
#     save time. Sort.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scipy==1.17.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np
from scipy.sparse.linalg import aslinearoperator, eigsh

hessian = aslinearoperator(np.diag([-5.0, -1.0, 2.0, 3.0, 4.0] + [0.1] * 20))
for vectors in (True, False):
    values = eigsh(hessian, 3, which="SA", v0=np.ones(25), return_eigenvectors=vectors)
    values = values[0] if vectors else values
    print(vectors, [round(float(v), 3) for v in values])
PYTHON
)
expected=$(
  cat <<'EXPECTED'
True [-5.0, -1.0, 0.1]
False [0.1, -1.0, -5.0]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
