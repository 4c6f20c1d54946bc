#!/usr/bin/env bash
# The forward-mode derivative of torch.cholesky_inverse is wrong, already at first order.
#
# Versions: torch 2.13.0 with NumPy 2.4.6 (installed here); torch 2.14.1 gave the same.
# Expected: jvp of an operation agrees with its vjp and with finite differences, or raises. For
#     A^-1 = cholesky_inverse(cholesky(A)) and A = [[2, t], [t, 1]] both modes give the same numbers.
# Seen on 2026-11-29: at t = 0.6 reverse mode and differences agree, forward mode does not: 0.57
#     instead of 0.45 for the first entry. torch.func.hessian, whose outer derivative is in forward
#     mode, has 1.74 instead of 1.40. At t = 0, where the factor is diagonal, all agree.
# Why it matters: the inverse of a covariance or of a damped curvature matrix is made this way;
#     Hessians and forward-mode sensitivities to hyperparameters are plausible wrong
#     numbers, and a check at a diagonal matrix passes. Use torch.linalg.inv, or cholesky_solve with
#     the identity, which are right.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from torch.func import hessian, jacfwd, jacrev

torch.set_default_dtype(torch.float64)


def covariance(t):
    return torch.stack([torch.stack([2 + 0 * t, t]), torch.stack([t, 1 + 0 * t])])


inverses = {
    "cholesky_inverse": torch.cholesky_inverse,
    "cholesky_solve": lambda factor: torch.cholesky_solve(torch.eye(2), factor),
    "inv": lambda factor: torch.linalg.inv(factor @ factor.T),
}
step = 1e-6
print("first entry by differences, reverse, forward mode; second derivative by torch.func.hessian")
for name, inverse in inverses.items():
    entry = lambda t: inverse(torch.linalg.cholesky(covariance(t)))[0, 0]
    for at in (0.0, 0.6):
        t = torch.tensor(at)
        values = (
            (entry(t + step) - entry(t - step)) / (2 * step),
            jacrev(entry)(t),
            jacfwd(entry)(t),
            hessian(entry)(t),
        )
        print(f"{name} at {at}:", *(f"{value.item() + 0.0:.4f}" for value in values))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
first entry by differences, reverse, forward mode; second derivative by torch.func.hessian
cholesky_inverse at 0.0: 0.0000 0.0000 0.0000 0.5000
cholesky_inverse at 0.6: 0.4462 0.4462 0.5716 1.7432
cholesky_solve at 0.0: 0.0000 0.0000 0.0000 0.5000
cholesky_solve at 0.6: 0.4462 0.4462 0.4462 1.3965
inv at 0.0: 0.0000 0.0000 0.0000 0.5000
inv at 0.6: 0.4462 0.4462 0.4462 1.3965
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
