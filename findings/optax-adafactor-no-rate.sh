#!/usr/bin/env bash
# optax.adafactor() without a learning rate changes every parameter by its own size in one step.
#
# Versions: optax 0.2.8; jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: with no learning rate Adafactor falls back on the paper's relative step, min(0.01,
#     1/sqrt(t)), as the implementations elsewhere do whose default is also None.
# Seen on 2026-11-29: None means a factor of one. The update is a sign-like step times the root mean
#     square of the parameter, so from (2, 2, 2) and gradients of size 1e-6 the first step goes to
#     (0, 0, 4).
# Why it matters: the default call destroys an initialization or a checkpoint in one step, and a run
#     started near a saddle leaves its neighbourhood whatever the gradient. Pass
#     learning_rate=lambda t: min(0.01, 1/sqrt(t + 1)) in jax.numpy for the paper's rule.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import optax

rule = optax.adafactor()
parameters = jnp.array([2.0, 2.0, 2.0])
state = rule.init(parameters)
gradient = jnp.array([1e-6, 2e-6, -1e-6])
for _ in range(2):
    update, state = rule.update(gradient, state, parameters)
    parameters = optax.apply_updates(parameters, update)
    print([round(float(p), 3) for p in parameters])
PYTHON
)
expected=$(
  cat <<'EXPECTED'
[0.0, 0.0, 4.0]
[-2.309, -2.309, 6.309]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
