#!/usr/bin/env bash
# torch's vector_to_parameters makes the parameters views of the vector: training moves the vector.
#
# Versions: torch 2.13.0 (installed here) and 2.14.1.
# Expected: the vector's numbers are copied into the parameters, as the documentation's first line
#     says ("Copy slices of a vector"), and as parameters_to_vector copies them out.
# Seen on 2026-11-29: each parameter's data becomes a view of the vector. A step of the optimizer
#     afterwards changes the vector, and a second network filled from the same vector changes with
#     the first.
# Why it matters: end points of an interpolation, the centre of a loss surface and the last accepted
#     point of a line search are such vectors; whoever goes on training from one has lost it, and
#     replicas started from one vector are one network. Pass vector.clone().

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

layer = torch.nn.Linear(2, 1)
point = parameters_to_vector(layer.parameters()).detach()
before = point.clone()
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)


def step():
    optimizer.zero_grad()
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()


step()
print("after parameters_to_vector and a step: the vector has moved by", (point - before).abs().max().item())
vector_to_parameters(point, layer.parameters())
step()
print(f"after vector_to_parameters and a step: by {(point - before).abs().max().item():.1f}")
twin = torch.nn.Linear(2, 1)
vector_to_parameters(point, twin.parameters())
held = twin.weight.detach().clone()
step()
print("a second network filled from it moves with the first:", not torch.equal(twin.weight, held))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
after parameters_to_vector and a step: the vector has moved by 0.0
after vector_to_parameters and a step: by 0.1
a second network filled from it moves with the first: True
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
