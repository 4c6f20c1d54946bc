#!/usr/bin/env bash
# With the same patience optax reduces the learning rate one evaluation earlier than torch.
#
# Versions: optax 0.2.8 with jax 0.10.2, torch 2.13.0 (installed here); jax 0.12.0.1 and torch
#     2.14.1 gave the same.
# Expected: optax.contrib.reduce_on_plateau follows torch's ReduceLROnPlateau: patience=2 ignores
#     two evaluations without improvement and reduces at the third.
# Seen on 2026-11-29: optax reduces at the second. On a constant loss its scale is halved at every
#     second evaluation from the third on, torch's rate at every third from the fourth on.
# Why it matters: on a plateau the decay is geometric in the number of evaluations over the
#     patience: with patience 2 optax is at 1/8 when torch is at 1/4, so ported settings stall on
#     plateaus that the original crosses. Add one to the patience.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8 torch==2.13.0 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import optax
import torch

rule = optax.contrib.reduce_on_plateau(factor=0.5, patience=2)
state = rule.init(jnp.array(1.0))
scales = []
for _ in range(8):
    update, state = rule.update(jnp.array(1.0), state, value=jnp.array(1.0))
    scales.append(float(update))
print("optax:", scales)

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
rates = []
for _ in range(8):
    schedule.step(1.0)
    rates.append(optimizer.param_groups[0]["lr"])
print("torch:", rates)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
optax: [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
torch: [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
