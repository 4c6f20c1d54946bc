#!/usr/bin/env bash
# Differentiating torch's jvp once more gives wrong curvature for solve, logdet, det and layer_norm.
#
# Versions: torch 2.13.0 with NumPy 2.4.6 (installed here); torch 2.14.1 gave the same.
# Expected: the second derivative of a function of one number is the same whichever of forward and
#     reverse mode is applied first, as long as nothing raises; an operation without a
#     differentiable forward mode says so, as torch.cdist does.
# Seen on 2026-11-29: torch.func.hessian (forward over reverse) and reverse over reverse agree with
#     finite differences. Forward over forward and reverse over forward do not, without an error:
#     for A + t B the second derivative of logdet is 0 instead of -2.01, that of b'(A + t B)^-1 b is
#     half of the true one, that of det has the other sign. The forward formulas use a factorization
#     (or the mean and deviation of layer_norm) that was saved from the forward pass and count it as
#     a constant. inv, cholesky and group_norm are right.
# Why it matters: v'Hv by two nested jvp is the cheap way to curvature along a direction, and
#     jacrev(jvp) to a Hessian-vector product; log-determinants and solves are Gaussian likelihoods
#     and preconditioned losses, layer_norm is every transformer. A minimum comes out flat or as a
#     saddle. Put the forward mode outside, jvp of grad.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from torch.func import grad, jacfwd, jacrev

torch.set_default_dtype(torch.float64)
A = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
B = torch.tensor([[0.3, 1.0], [1.0, -0.4]])
b = torch.tensor([1.0, 2.0, -1.0])
functions = {
    "logdet": lambda t: torch.logdet(A + t * B),
    "det": lambda t: torch.linalg.det(A + t * B),
    "solve": lambda t: b[:2] @ torch.linalg.solve(A + t * B, b[:2]),
    "layer_norm": lambda t: torch.nn.functional.layer_norm(b + t * b**2, (3,))[0],
    "inv": lambda t: b[:2] @ torch.linalg.inv(A + t * B) @ b[:2],
    "cholesky": lambda t: 2 * torch.linalg.cholesky(A + t * B).diagonal().log().sum(),
    "group_norm": lambda t: torch.nn.functional.group_norm((b + t * b**2)[None], 1)[0, 0],
}
zero, step = torch.tensor(0.0), torch.tensor(1e-5)
print("differences, forward over reverse, reverse over forward, forward over forward")
for name, function in functions.items():
    slope = grad(function)
    values = (
        (slope(step) - slope(-step)) / (2 * step),
        jacfwd(jacrev(function))(zero),
        jacrev(jacfwd(function))(zero),
        jacfwd(jacfwd(function))(zero),
    )
    print(f"{name}:", *(f"{value.item():.3f}" for value in values))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
differences, forward over reverse, reverse over forward, forward over forward
logdet: -2.015 -2.015 0.000 0.000
det: -2.240 -2.240 1.286 1.286
solve: 7.863 7.863 3.931 3.931
layer_norm: 1.620 1.620 -1.031 -1.031
inv: 7.863 7.863 7.863 7.863
cholesky: -2.015 -2.015 -2.015 -2.015
group_norm: 1.620 1.620 1.620 1.620
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
