#!/usr/bin/env bash
# Dropout in flax's attention drops the same weights for every example of a batch.
#
# Versions: flax 0.12.8 with jax 0.10.2 (installed here); flax 0.12.12 with jax 0.12.0.1 gave the
#     same, and so did linen.
# Expected: dropout noise is independent between examples, as nnx.Dropout's is, and as torch's
#     attention has it.
# Seen on 2026-11-29: by default one mask is drawn for queries and keys and used for all examples
#     and heads (broadcast_dropout=True): a hundred copies of an example come out alike; with False
#     there are a hundred different outputs.
# Why it matters: gradients of the examples of a batch are correlated through the mask, so the noise
#     of the batch gradient does not fall with the batch size, gradient covariance and critical
#     batch sizes are off, and repeating an example in a batch does not sample the mask.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import flax.nnx as nnx
import jax
import jax.numpy as jnp

one = jax.random.normal(jax.random.key(1), (1, 5, 8))
batch = jnp.concatenate([one] * 100)  # a hundred times the same example
for broadcast in (None, False):
    options = {} if broadcast is None else {"broadcast_dropout": broadcast}
    layer = nnx.MultiHeadAttention(
        num_heads=2, in_features=8, dropout_rate=0.5, decode=False, rngs=nnx.Rngs(0), **options
    )
    out = layer(batch, deterministic=False)
    different = len({example.tobytes() for example in jax.device_get(out)})
    print(broadcast, "different outputs of 100 copies:", different)
dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
out = dropout(batch, deterministic=False)
print("nnx.Dropout:", len({example.tobytes() for example in jax.device_get(out)}))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
None different outputs of 100 copies: 1
False different outputs of 100 copies: 100
nnx.Dropout: 100
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
