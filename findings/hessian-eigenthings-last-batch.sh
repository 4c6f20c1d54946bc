#!/usr/bin/env bash
# hessian-eigenthings weighs batches alike: a last batch of one example counts as much as a full one.
#
# Versions: hessian-eigenthings 1.0.0a5 with torch 2.13.0 (installed here).
# Expected: HessianOperator(full_dataset=True) over a DataLoader is the Hessian of the mean loss over
#     the data set, whatever the batch size.
# Seen on 2026-11-29: products are averaged over batches, each being a mean over its own examples. Five
#     examples, four with curvature 1 and one with 9, have a mean curvature of 2.6; in batches of 4 the
#     operator gives (1 + 9) / 2 = 5.0.
# Why it matters: data sets are seldom multiples of the batch size (50,000 in batches of 128 leave 80),
#     and eigenvalues, traces and densities then belong to another loss, which depends on the batch
#     size and, with shuffling, on the order. Use drop_last or a batch size that divides.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$python" -m pip install --quiet hessian-eigenthings==1.0.0a5

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from hessian_eigenthings import HessianOperator
from torch.utils.data import DataLoader, TensorDataset

inputs = torch.tensor([[1.0], [1.0], [1.0], [1.0], [3.0]])
data = TensorDataset(inputs, torch.zeros(5, 1))
model = torch.nn.Linear(1, 1, bias=False)


def half_square(model, batch):
    return 0.5 * torch.nn.functional.mse_loss(model(batch[0]), batch[1])


print(f"mean of the curvatures: {float((inputs**2).mean()):.1f}")
for size in (5, 4, 1):
    operator = HessianOperator(model, DataLoader(data, batch_size=size), half_square)
    print(f"in batches of {size}: {operator.matvec(torch.ones(1)).item():.1f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
mean of the curvatures: 2.6
in batches of 5: 2.6
in batches of 4: 5.0
in batches of 1: 2.6
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
