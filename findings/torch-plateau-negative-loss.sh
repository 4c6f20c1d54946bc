#!/usr/bin/env bash
# torch's and optax's reduction on a plateau never reduces while a constant loss is negative.
#
# Versions: torch 2.13.0, optax 0.2.8 with jax 0.10.2 (installed here); torch 2.14.1 and jax
#     0.12.0.1 gave the same.
# Expected: a loss that stays where it is, or rises, is a plateau wherever zero happens to be;
#     adding a constant to the loss changes nothing.
# Seen on 2026-11-29: "better" is loss < best * (1 - 1e-4), and for a best of -1 that is -0.9999,
#     above it. A constant -1 counts as an improvement at every evaluation, and so does a loss that
#     rises by 5e-5 each time: its best is replaced by worse ones. The rate stays at 1, where a
#     constant 1 halves it again and again.
# Why it matters: negative log-likelihoods of densities, ELBOs, energies and eigenvalues are
#     negative as a rule; the schedule is then silently off. Use threshold_mode="abs" in torch,
#     rtol=0 with an atol in optax.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8 torch==2.13.0 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax.numpy as jnp
import optax
import torch


def torch_rate(losses):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
    for loss in losses:
        schedule.step(loss)
    return optimizer.param_groups[0]["lr"]


def optax_rate(losses):
    rule = optax.contrib.reduce_on_plateau(factor=0.5, patience=2)
    state = rule.init(jnp.ones(1))
    for loss in losses:
        _, state = rule.update(jnp.ones(1), state, value=loss)
    return float(state.scale)


for name, losses in {
    "constant at 1": [1.0] * 30,
    "constant at -1": [-1.0] * 30,
    "rising from -1 to -0.9985": [-1.0 + 5e-5 * epoch for epoch in range(30)],
}.items():
    print(f"{name}: torch {torch_rate(losses):.4f}, optax {optax_rate(losses):.4f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
constant at 1: torch 0.0020, optax 0.0001
constant at -1: torch 1.0000, optax 1.0000
rising from -1 to -0.9985: torch 1.0000, optax 1.0000
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
