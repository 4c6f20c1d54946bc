#!/usr/bin/env bash
# After a drop of the learning rate optax.rmsprop with momentum goes on at the old speed; sgd and
# torch do not.
#
# Versions: optax 0.2.8 with jax 0.10.2, torch 2.13.0 (installed here); jax 0.12.0.1 and torch
#     2.14.1 gave the same.
# Expected: the learning rate is a factor of the whole step, momentum included, as in optax.sgd and
#     torch's RMSprop, with which it agrees to rounding while the rate is constant; its
#     documentation calls the rate a global scaling factor.
# Seen on 2026-11-29: the momentum accumulates steps that are already multiplied by the rate. One
#     step after a drop to a hundredth the step is 0.90 of the old one, after twenty 0.13. optax.sgd
#     and torch are at 0.01 at once.
# Why it matters: after a decay of the rate the iterate coasts about 1 / (1 - momentum) old steps,
#     with 0.99 a hundred: a drop of the loss, or a jump off a plateau or out of a minimum, is laid
#     to the new rate. With a warm-up the lag is the other way. Chain scale_by_rms, trace and
#     scale_by_learning_rate for torch's rule.

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

drop = optax.piecewise_constant_schedule(1e-2, {200: 0.01})  # the rate falls by a factor of 100
shared = {"decay": 0.99, "eps": 1e-8, "eps_in_sqrt": False}
sizes = {}
for name, rule in {
    "optax.sgd": optax.sgd(drop, momentum=0.9),
    "optax.rmsprop": optax.rmsprop(drop, momentum=0.9, **shared),
}.items():
    state, steps = rule.init(jnp.ones(1)), []
    for _ in range(220):
        step, state = rule.update(jnp.ones(1), state)
        steps.append(-step.item())
    sizes[name] = steps
weight = torch.nn.Parameter(torch.ones(1))
optimizer = torch.optim.RMSprop([weight], lr=1e-2, momentum=0.9)
schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [200], gamma=0.01)
steps = []
for _ in range(220):
    before, weight.grad = weight.item(), torch.ones(1)
    optimizer.step()
    schedule.step()
    steps.append(before - weight.item())
sizes["torch RMSprop"] = steps
for name, steps in sizes.items():
    print(f"{name}: step size before the drop {steps[199]:.3f}, ratio to it", end=" ")
    print(*(f"{steps[index] / steps[199]:.2f} ({index - 199})" for index in (200, 205, 219)))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
optax.sgd: step size before the drop 0.100, ratio to it 0.01 (1) 0.01 (6) 0.01 (20)
optax.rmsprop: step size before the drop 0.108, ratio to it 0.90 (1) 0.54 (6) 0.13 (20)
torch RMSprop: step size before the drop 0.108, ratio to it 0.01 (1) 0.01 (6) 0.01 (20)
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
