#!/usr/bin/env bash
# optax.amsgrad never forgets a large first gradient; torch's amsgrad does.
#
# Versions: optax 0.2.8 with jax 0.10.2, torch 2.13.0 (installed here); jax 0.12.0.1 and torch
#     2.14.1 gave the same.
# Expected: both are AMSGrad (Reddi et al. 2018) with the same defaults and take the same steps up
#     to rounding.
# Seen on 2026-11-29: optax takes the maximum over bias-corrected second moments, torch over the raw
#     ones and corrects afterwards. The first corrected moment is the whole first squared gradient,
#     the first raw one a thousandth of it. After one gradient of 10 and 5,000 of 0.1 optax's steps
#     are 0.001, torch's 0.0315.
# Why it matters: a large gradient at initialization is the usual case; the two libraries' learning
#     rates then differ by a factor up to sqrt(1000) for the rest of the run.

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

gradients = [10.0] + [0.1] * 5000  # one large gradient, then small ones
rule = optax.amsgrad(0.1)
parameter = jnp.array(1.0)
state = rule.init(parameter)
import jax

update = jax.jit(rule.update)
for gradient in gradients:
    step, state = update(jnp.array(gradient), state)
print(f"optax: last step {float(step):.4f}")

parameter = torch.nn.Parameter(torch.tensor(1.0))
optimizer = torch.optim.Adam([parameter], lr=0.1, amsgrad=True)
for gradient in gradients:
    before = parameter.item()
    parameter.grad = torch.tensor(gradient)
    optimizer.step()
print(f"torch: last step {parameter.item() - before:.4f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
optax: last step -0.0010
torch: last step -0.0315
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
