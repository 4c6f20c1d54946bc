#!/usr/bin/env bash
# torch's Optimizer.load_state_dict takes the tensors of the snapshot for its own: it can be loaded
# once.
#
# Versions: torch 2.13.0 (installed here) and 2.14.1.
# Expected: load_state_dict copies the state in, as Module.load_state_dict does, so that two
#     branches of a run can be started from one snapshot in memory.
# Seen on 2026-11-29: the optimizer goes on with the snapshot's own tensors and updates them in
#     place. The second branch starts at step 8 with the moments of the first branch's end, from the
#     same weights, and comes to another point. The module's snapshot is untouched.
# Why it matters: branching is how linear mode connectivity, rewinding, sharpness-aware probes and
#     sweeps over the rate from one checkpoint are measured; branches then depend on their order,
#     and with them every difference between two of them. Load copy.deepcopy(snapshot).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import copy

import torch

layer = torch.nn.Linear(1, 1, bias=False)
optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)


def train(steps):
    for _ in range(steps):
        optimizer.zero_grad()
        (layer.weight - 3).square().sum().backward()
        optimizer.step()


with torch.no_grad():
    layer.weight.fill_(1.0)
train(3)
weights, moments = copy.deepcopy(layer.state_dict()), copy.deepcopy(optimizer.state_dict())
for branch in (1, 2):
    print(f"branch {branch}: the snapshot is of step", int(moments["state"][0]["step"]), end=", ")
    print(f"weight {weights['weight'].item():.3f}", end=", ")
    layer.load_state_dict(weights)
    optimizer.load_state_dict(moments)
    train(5)
    print(f"five steps later {layer.weight.item():.3f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
branch 1: the snapshot is of step 3, weight 1.299, five steps later 1.788
branch 2: the snapshot is of step 8, weight 1.299, five steps later 1.782
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
