#!/usr/bin/env bash
# optax.centralize averages a flax kernel over its outputs, not over its inputs.
#
# Versions: optax 0.2.8; jax 0.10.2 (installed here) and 0.12.0.1 gave the same.
# Expected: gradient centralization (Yong et al. 2020) takes from the gradient of each output unit
#     its mean over the unit's inputs. A flax Dense kernel is (inputs, outputs), so an optax
#     transformation should average over axis 0, as optax.adaptive_grad_clip does.
# Seen on 2026-11-29: it averages over every axis but the first, which is right for kernels stored
#     (outputs, inputs). For the last layer under softmax cross-entropy the gradient sums to zero
#     over the classes, so centralize does nothing at all there, and the mean over the inputs stays.
# Why it matters: a comparison 'with and without centralization' on flax models measures another
#     method, or none. Transpose the kernels around it, or subtract the mean over axis 0 by hand.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import jax.numpy as jnp
import optax

inputs = jax.random.normal(jax.random.key(0), (32, 8))
labels = jnp.arange(32) % 4
kernel = jax.random.normal(jax.random.key(1), (8, 4))  # (in, out), as in flax


def loss(kernel):
    logits = inputs @ kernel
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


gradient = jax.grad(loss)(kernel)
rule = optax.centralize()
update, _ = rule.update(gradient, rule.init(kernel))
print("changed by centralize:", float(abs(update - gradient).max()) > 1e-6)
print("mean over inputs removed:", float(abs(update.mean(axis=0)).max()) < 1e-6)
print("mean over outputs is zero:", float(abs(update.mean(axis=1)).max()) < 1e-6)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
changed by centralize: False
mean over inputs removed: False
mean over outputs is zero: True
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
