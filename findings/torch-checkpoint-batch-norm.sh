#!/usr/bin/env bash
# Under torch.utils.checkpoint batch normalization updates its running averages twice a step.
#
# Versions: torch 2.13.0 with NumPy 2.4.6 (installed here); torch 2.14.1 gave the same.
# Expected: checkpointing trades time for memory and changes no number: the second forward pass is
#     there for the gradient, as dropout's masks are kept the same for it (preserve_rng_state).
# Seen on 2026-11-29: the recomputation in the backward pass runs the layer in training mode again.
#     After a step with momentum 0.1 from a running mean of 0 and a batch mean of 1 the running mean
#     is 0.19 instead of 0.10, and two batches are counted; in both variants. Outputs and gradients
#     are the same. Evaluation without gradient is not affected.
# Why it matters: the loss in training agrees with the run without checkpointing and the loss in
#     evaluation does not; averages follow the last batches twice as fast, and with momentum=None
#     the count is wrong. Set momentum to 1 - sqrt(1 - momentum) in checkpointed layers.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from torch.utils.checkpoint import checkpoint

inputs = torch.tensor([[0.0], [2.0]])


def step(variant):
    layer = torch.nn.BatchNorm1d(1)
    leaf = inputs.clone().requires_grad_()
    outputs = layer(leaf) if variant is None else checkpoint(layer, leaf, use_reentrant=variant)
    (outputs * torch.tensor([[1.0], [3.0]])).sum().backward()
    return layer


for name, variant in {"plain": None, "reentrant": True, "not reentrant": False}.items():
    layer = step(variant)
    print(
        f"{name}: mean {layer.running_mean.item():.2f}, variance {layer.running_var.item():.2f},",
        f"batches {layer.num_batches_tracked.item()}, gradient {layer.weight.grad.item():.3f}",
    )
PYTHON
)
expected=$(
  cat <<'EXPECTED'
plain: mean 0.10, variance 1.10, batches 1, gradient 2.000
reentrant: mean 0.19, variance 1.19, batches 2, gradient 2.000
not reentrant: mean 0.19, variance 1.19, batches 2, gradient 2.000
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
