#!/usr/bin/env bash
# In loss-landscapes every other row of a plane is shifted by one cell.
#
# Versions: loss-landscapes 3.0.6 with torch 2.13.0 and NumPy 2.4.6 (installed here).
# Expected: entry (i, j) of random_plane and planar_interpolation is the loss at start + i a + j b,
#     as the comment in their source says; a line from one model to another begins with the first.
# Seen on 2026-11-29: the grid is walked to and fro. On the way forth a step is taken before each
#     evaluation, and on the way back too, so that even rows hold j = 1, 2, 3, 4 and odd rows j = 0,
#     1, 2, 3. linear_interpolation begins one step after its start, which is not in the result.
# Why it matters: a valley along the rows is a zigzag, a bowl has teeth, and the roughness read off
#     such a picture, or the curvature by differences between rows, is of the grid. Contours smooth
#     it into ripples that look like the network's. Shift the odd rows, or evaluate the grid by hand.

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


class Weight(Metric):
    """Stands for a loss: the value is one of the weights."""

    def __init__(self, index):
        super().__init__()
        self.index = index

    def __call__(self, model):
        (weights,) = model.get_module_parameters().parameters
        return weights[0, self.index].item()


def network(*weights):
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.data = torch.tensor([weights])
    return layer


start, right, up = network(0.0, 0.0), network(4.0, 0.0), network(0.0, 4.0)
plane = loss_landscapes.planar_interpolation(start, up, right, Weight(0), steps=4, deepcopy_model=True)
print("plane, of the loss w0:")
print(plane)
plane = loss_landscapes.planar_interpolation(start, up, right, Weight(1), steps=4, deepcopy_model=True)
print("plane, of the loss w1:")
print(plane)
line = loss_landscapes.linear_interpolation(start, right, Weight(0), steps=4, deepcopy_model=True)
print("line from 0 to 4:", line)
torch.manual_seed(0)
model, data = torch.nn.Linear(20, 1, bias=False), torch.randn(100, 20)


class Quadratic(Metric):
    def __call__(self, model):
        (weights,) = model.get_module_parameters().parameters
        return (data @ weights[0]).square().mean().item()


plane = loss_landscapes.random_plane(model, Quadratic(), distance=1, steps=21, deepcopy_model=True)
for name, rows in {"all": plane, "even": plane[::2], "odd": plane[1::2]}.items():
    turns = (numpy.diff(numpy.sign(numpy.diff(rows, axis=0)), axis=0) != 0).sum(axis=0)
    print(f"a quadratic along a column, {name} rows: changes direction {turns.max()} times at most")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
plane, of the loss w0:
[[1. 2. 3. 4.]
 [0. 1. 2. 3.]
 [1. 2. 3. 4.]
 [0. 1. 2. 3.]]
plane, of the loss w1:
[[0. 0. 0. 0.]
 [1. 1. 1. 1.]
 [2. 2. 2. 2.]
 [3. 3. 3. 3.]]
line from 0 to 4: [1. 2. 3. 4.]
a quadratic along a column, all rows: changes direction 14 times at most
a quadratic along a column, even rows: changes direction 1 times at most
a quadratic along a column, odd rows: changes direction 1 times at most
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
