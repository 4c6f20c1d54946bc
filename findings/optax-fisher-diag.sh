#!/usr/bin/env bash
# optax.second_order.fisher_diag of a batch is the square of the batch's gradient: zero at an optimum.
#
# Versions: optax 0.2.8 with jax 0.10.2 (installed here).
# Expected: the diagonal of the (observed) Fisher information, which its documentation names: the mean
#     over examples of squared gradients. For one weight at 0 and both labels once that is 0.25.
# Seen on 2026-11-29: 0.00. The gradient is averaged over the batch first and squared afterwards, so
#     examples cancel; a batch of one gives what is expected, and the mean of those is 0.25.
# Why it matters: as a preconditioner, an importance of weights (elastic weight consolidation) or a
#     measure of curvature it vanishes exactly where it is asked for, at the end of training.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import optax

# Logistic regression on two examples of one input with both labels: the maximum of the likelihood
# is at weight 0, and the Fisher information there is p (1 - p) = 0.25.
inputs, labels = jnp.array([1.0, 1.0]), jnp.array([0.0, 1.0])


def negative_log_likelihood(weight, inputs, labels):
    return optax.sigmoid_binary_cross_entropy(weight * inputs, labels).mean()


weight = jnp.array(0.0)
fisher = optax.second_order.fisher_diag(negative_log_likelihood, weight, inputs, labels)
print(f"fisher_diag of both examples: {float(fisher.item()):.2f}")
alone = jax.vmap(
    lambda x, y: optax.second_order.fisher_diag(negative_log_likelihood, weight, x[None], y[None])
)(inputs, labels)
print(f"mean of fisher_diag of one example each: {float(alone.mean()):.2f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
fisher_diag of both examples: 0.00
mean of fisher_diag of one example each: 0.25
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
