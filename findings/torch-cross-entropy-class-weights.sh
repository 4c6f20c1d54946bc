#!/usr/bin/env bash
# With class weights torch's cross entropy of one-hot rows is not that of the classes they encode.
#
# Versions: torch 2.13.0 with NumPy 2.4.6 (installed here); torch 2.14.1 gave the same.
# Expected: class indices are short for one-hot rows, so both kinds of target have one loss, and
#     rescaling all weights scales both alike or neither.
# Seen on 2026-11-29: for indices the sum is divided by the weights of the examples, for rows by
#     their number: 0.90 and 2.02 for the same targets; and doubling the weights doubles only the
#     second. Without weights both agree. The formulas in the documentation say so, one under each
#     kind.
# Why it matters: switching on mixup, distillation or soft labels replaces indices by rows, and the
#     loss and its gradient jump by the mean weight of the batch, a factor of 2.2 here: a change of
#     the learning rate that is taken for the effect of the labels. Divide the sum by the weights of
#     the rows.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from torch.nn.functional import cross_entropy, one_hot

logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
classes = torch.tensor([0, 1, 2, 0])
rows = one_hot(classes).float()
for weights in (None, torch.tensor([0.5, 2.0, 6.0]), torch.tensor([1.0, 4.0, 12.0])):
    losses = [cross_entropy(logits, target, weight=weights).item() for target in (classes, rows)]
    name = "none" if weights is None else weights.tolist()
    print(f"weights {name}: classes {losses[0]:.3f}, one-hot rows {losses[1]:.3f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
weights none: classes 0.610, one-hot rows 0.610
weights [0.5, 2.0, 6.0]: classes 0.899, one-hot rows 2.023
weights [1.0, 4.0, 12.0]: classes 0.899, one-hot rows 4.045
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
