#!/usr/bin/env bash
# PyHessian measures the network in evaluation mode, and leaves it so.
#
# Versions: PyHessian 0.1 with torch 2.13.0 (installed here) and 2.14.1.
# Expected: the Hessian is that of the loss as it is trained, in the mode the network is in;
#     measuring does not change the network.
# Seen on 2026-11-29: the constructor calls eval(): the eigenvalue is that of the network with batch
#     normalization by running averages (here still at their initial values), and the network is in
#     evaluation mode afterwards.
# Why it matters: sharpness reported along a training run is that of another function, which differs
#     most early in training; and the run continues with frozen statistics and without dropout
#     unless train() is called after every measurement.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$python" -m pip install --quiet --no-deps PyHessian==0.1

seen=$("$python" - <<'PYTHON'
import torch
from pyhessian import hessian

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
inputs, targets = 5.0 * torch.randn(64, 2), torch.randn(64, 1)


def top_eigenvalue(training):
    """By autograd, all parameters, with the network in the mode given."""
    network.train(training)
    shapes = {name: p.shape for name, p in network.named_parameters()}
    flat = torch.cat([p.detach().flatten() for p in network.parameters()])

    def loss(flat):
        parts = torch.split(flat, [s.numel() for s in shapes.values()])
        state = {n: p.reshape(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
        buffers = {n: b.clone() for n, b in network.named_buffers()}
        return torch.nn.functional.mse_loss(torch.func.functional_call(network, {**state, **buffers}, inputs), targets)

    return torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat)).abs().max().item()


truth = {mode: top_eigenvalue(mode) for mode in (True, False)}
network.train()
seen = hessian(network, torch.nn.MSELoss(), data=(inputs, targets), cuda=False).eigenvalues(maxIter=1000, tol=1e-6)[0][0]
print("evaluation mode's:", abs(seen / truth[False] - 1) < 0.01, "training mode's:", abs(seen / truth[True] - 1) < 0.01)
print("network in training mode afterwards:", network.training)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
evaluation mode's: True training mode's: False
network in training mode afterwards: False
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
