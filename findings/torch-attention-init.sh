#!/usr/bin/env bash
# torch's MultiheadAttention starts with smaller weights when its projections are packed.
#
# Versions: torch 2.13.0 (installed here) and 2.14.1.
# Expected: Xavier's initializer is applied to the query, key and value projections, so that a query
#     weight from 512 to 512 has deviation 1 / sqrt(512), whether the three are stored as one tensor
#     or not.
# Seen on 2026-11-29: packed (keys and values of the queries' width) it is applied to the stacked
#     tensor of shape (1536, 512): the deviation is 0.71 / sqrt(512). With another width for the
#     keys the same query projection starts at 1.00 / sqrt(512).
# Why it matters: attention logits at the start differ by a factor of two, and so do gradient and
#     curvature there, between a model with and one without an equal key width, or a port that
#     initializes each projection by itself.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import torch

torch.manual_seed(0)
width, heads = 512, 8
packed = torch.nn.MultiheadAttention(width, heads)
separate = torch.nn.MultiheadAttention(width, heads, kdim=width + 1)
for name, weight in (("packed", packed.in_proj_weight[:width]), ("separate", separate.q_proj_weight)):
    print(name, tuple(weight.shape), f"{weight.std().item() * width**0.5:.2f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
packed (512, 512) 0.71
separate (512, 512) 1.00
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
