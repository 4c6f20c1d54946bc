#!/usr/bin/env bash
# curvlinops' empirical Fisher for mean squared error is the mean of outer products times the
# outputs.
#
# Versions: curvlinops-for-pytorch 3.0.1 with torch 2.13.0 (installed here) and 2.14.1.
# Expected: the empirical Fisher of a mean loss is the mean over the data of the outer products of
#     the gradients of each example's loss, where an example's loss is loss(network(x), y).
# Seen on 2026-11-29: for MSELoss with 3 outputs it is 3 times that: the mean over outputs is taken
#     out of each example's loss before the gradients are squared and divided by once afterwards.
#     For losses without a mean over outputs there is no factor.
# Why it matters: damping, noise covariance and the ratio of Fisher to Hessian are off by the number
#     of outputs (784 for an autoencoder on MNIST) if compared with per-example gradients.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1 opt_einsum==3.4.0 tqdm==4.70.1
"$python" -m pip install --quiet --no-deps curvlinops-for-pytorch==3.0.1 backpack-for-pytorch==1.7.1 einconv==0.1.0 einops==0.8.2 linear_operator==0.6.1 unfoldNd==0.2.3

seen=$("$python" - <<'PYTHON'
import torch
from curvlinops import EFLinearOperator

torch.manual_seed(0)
number, outputs = 5, 3
network = torch.nn.Linear(2, outputs, bias=False).double()
inputs, targets = torch.randn(number, 2).double(), torch.randn(number, outputs).double()
loss = torch.nn.MSELoss()
fisher = EFLinearOperator(network, loss, list(network.parameters()), [(inputs, targets)]) @ torch.eye(6).double()
gradients = []
for x, y in zip(inputs, targets, strict=True):
    network.zero_grad()
    loss(network(x), y).backward()
    gradients.append(network.weight.grad.flatten().clone())
expected = sum(torch.outer(g, g) for g in gradients) / number
print("ratio to the mean of the gradients' outer products:", round((fisher.trace() / expected.trace()).item(), 6))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
ratio to the mean of the gradients' outer products: 3.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
