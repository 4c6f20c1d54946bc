#!/usr/bin/env bash
# The third derivative of torch's layer_norm is wrong: the gradient of a curvature is another vector.
#
# Versions: torch 2.13.0 with NumPy 2.4.6 (installed here). In torch 2.14.1 layer_norm is
#     the same; batch_norm and instance_norm raise there.
# Expected: autograd can be applied again and again (create_graph=True); where the third derivative
#     of a layer is not implemented it raises, as the second one of torch.cdist does.
# Seen on 2026-11-29: value, slope and curvature along a line are right; the third derivative, by
#     autograd as by torch.func, is -141.8 where differences of the curvature, group_norm with one
#     group and the formula written out have 7.0. So it is for layer_norm, batch_norm in training
#     and instance_norm: the formula of the double backward holds the saved mean and deviation for
#     constants. group_norm and rms_norm are right.
# Why it matters: the gradient of sharpness, of v'Hv or of a Hessian's trace is a third derivative:
#     regularizing curvature, predicting the self-stabilization at the edge of stability, and
#     deciding a degenerate stationary point of a transformer all follow a wrong vector, of 20 times
#     the size here. Normalize by group_norm(x, 1), or by hand.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
start = torch.tensor([0.3, -1.0, 2.0, 0.7])
direction = torch.tensor([1.0, 2.0, -1.0, 0.5])
weights = torch.tensor([1.0, -2.0, 0.5, 0.3])
layers = {
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "batch_norm": lambda x: F.batch_norm(x[:, None], None, None, training=True)[:, 0],
    "instance_norm": lambda x: F.instance_norm(x[None, None])[0, 0],
    "group_norm": lambda x: F.group_norm(x[None], 1)[0],
    "by hand": lambda x: (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt(),
}


def derivatives(layer, t, count):
    t = torch.tensor(t, requires_grad=True)
    value, found = (weights * layer(start + t * direction)).square().sum(), []
    for _ in range(count):
        (value,) = torch.autograd.grad(value, t, create_graph=True)
        found.append(value.item())
    return found


print("slope, curvature, third derivative, differences of the curvature")
for name, layer in layers.items():
    curvatures = [derivatives(layer, t, 2)[1] for t in (-1e-4, 1e-4)]
    values = (*derivatives(layer, 0.0, 3), (curvatures[1] - curvatures[0]) / 2e-4)
    print(f"{name}:", *(f"{value:.3f}" for value in values))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
slope, curvature, third derivative, differences of the curvature
layer_norm: 1.243 2.430 -141.825 7.011
batch_norm: 1.243 2.430 -141.825 7.011
instance_norm: 1.243 2.430 -141.825 7.011
group_norm: 1.243 2.430 7.011 7.011
by hand: 1.243 2.430 7.011 7.011
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
