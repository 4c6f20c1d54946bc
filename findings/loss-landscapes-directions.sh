#!/usr/bin/env bash
# The random directions of loss-landscapes are all positive: any two of them are 41 degrees apart.
#
# Versions: loss-landscapes 3.0.6 with torch 2.13.0 and NumPy 2.4.6 (installed here).
# Expected: the directions are Gaussian (Li et al. 2018, section 4), so that in 10,100 dimensions two
#     draws are orthogonal but for 1 %, and their mean component is near zero.
# Seen on 2026-11-29: every component is uniform in [0, 1], then filter-normalized. All 10,100 are
#     positive; four draws have cosines of 0.75 with one another. A line is therefore always nearly
#     the one along which all weights grow together. The second direction of a plane is made
#     orthogonal to the first. And distance divides: twice the distance is half the line.
# Why it matters: curves over several seeds agree because the direction is the same, which passes for
#     a property of the network; the all-ones direction is special to it (it shifts every
#     pre-activation at once). Draw torch.randn directions and normalize them by hand.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet loss-landscapes==3.0.6 torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import loss_landscapes
import numpy
import torch
from loss_landscapes.metrics.metric import Metric


class Weights(Metric):
    """Stands for a loss: the value is the vector of all weights."""

    def __call__(self, model):
        return torch.cat([p.flatten() for p in model.get_module_parameters().parameters]).numpy().copy()


torch.manual_seed(0)
model = torch.nn.Linear(100, 100)
directions, gaussian = [], []
for seed in range(4):
    torch.manual_seed(seed)
    ends = loss_landscapes.random_line(model, Weights(), distance=1, steps=2, deepcopy_model=True)
    direction = ends[1] - ends[0]
    print(f"seed {seed}: {(direction > 0).mean():.0%} of the components are positive")
    directions.append(direction / numpy.linalg.norm(direction))
    other = torch.randn(direction.size).numpy()
    gaussian.append(other / numpy.linalg.norm(other))
for name, rows in {"its directions": directions, "Gaussian ones": gaussian}.items():
    cosines = (numpy.array(rows) @ numpy.array(rows).T)[numpy.triu_indices(4, 1)]
    print(f"largest cosine between two of {name}: {abs(cosines).max():.2f}")
for d in (1, 2):
    torch.manual_seed(0)
    ends = loss_landscapes.random_line(model, Weights(), distance=d, steps=2, deepcopy_model=True)
    print(f"distance={d}: a step of {numpy.linalg.norm(ends[1] - ends[0]):.2f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
seed 0: 100% of the components are positive
seed 1: 100% of the components are positive
seed 2: 100% of the components are positive
seed 3: 100% of the components are positive
largest cosine between two of its directions: 0.76
largest cosine between two of Gaussian ones: 0.02
distance=1: a step of 2.89
distance=2: a step of 1.45
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
