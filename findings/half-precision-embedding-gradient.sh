#!/usr/bin/env bash
# In bfloat16 the gradient of an embedding stops at 256 equal tokens, in jax and in torch on the CPU.
#
# Versions: jax 0.10.2, torch 2.13.0 with NumPy 2.4.6 (installed here); jax 0.12.0.1 and torch 2.14.1
#     gave the same.
# Expected: sums over many numbers are accumulated in float32 whatever their type: jax.numpy.sum,
#     torch.sum and matrix products of bfloat16 do so, hence the gradient of a bias is right for
#     1,000 examples. The gradient of a looked-up row is a sum over its occurrences as well.
# Seen on 2026-11-29: it is added up in the table's own type, one occurrence at a time. 256 + 1 is 256
#     in bfloat16, so a token that occurs 1,000 times in a batch has a gradient of 256, with gradient
#     1 each; in float16 5,000 times give 2,048. jax.ops.segment_sum does the same, and
#     so does the gradient of a weight that jax.lax.scan uses in 1,000 steps. One-hot rows times the
#     table have the right one. (On other devices the order of adding may differ, and the numbers.)
# Why it matters: frequent tokens (padding, spaces) and shared weights of a recurrence get a part of
#     their gradient, the less the larger the batch; segment sums of losses by class are capped.
#     Nothing overflows. Keep tables in float32 and cast what was looked up.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 torch==2.13.0 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import torch

for dtype, count in (("float32", 5000), ("float16", 5000), ("bfloat16", 1000)):
    tokens = jnp.zeros(count, int)
    table = jnp.zeros((2, 3), dtype)
    rows = jnp.ones((count, 3), dtype)
    one_hot = jax.nn.one_hot(tokens, 2, dtype=dtype)

    def recurrence(weight):
        return jax.lax.scan(lambda x, _: (x + weight.astype("float32"), None), 0.0, length=count)[0]

    gradients = {
        "sum": rows.sum(axis=0)[0],
        "bias": jax.grad(lambda b: (rows + b).astype("float32").sum())(table[0])[0],
        "embedding": jax.grad(lambda t: t[tokens].astype("float32").sum())(table)[0, 0],
        "one-hot": jax.grad(lambda t: (one_hot @ t).astype("float32").sum())(table)[0, 0],
        "segment_sum": jax.ops.segment_sum(rows, tokens, 2)[0, 0],
        "scan": jax.grad(recurrence)(table[0, 0]),
    }
    print(f"jax {dtype}, {count}:", *(f"{k} {float(value):.0f}" for k, value in gradients.items()))

    kind = getattr(torch, dtype)
    tokens = torch.zeros(count, dtype=torch.long)
    table = torch.zeros(2, 3, dtype=kind, requires_grad=True)
    bias = torch.zeros(3, dtype=kind, requires_grad=True)
    rows = torch.ones(count, 3, dtype=kind)
    torch.nn.functional.embedding(tokens, table).float().sum().backward()
    (rows + bias).float().sum().backward()
    gradients = {
        "sum": rows.sum(dim=0)[0],
        "bias": bias.grad[0],
        "embedding": table.grad[0, 0],
    }
    print(f"torch {dtype}, {count}:", *(f"{k} {value.item():.0f}" for k, value in gradients.items()))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
jax float32, 5000: sum 5000 bias 5000 embedding 5000 one-hot 5000 segment_sum 5000 scan 5000
torch float32, 5000: sum 5000 bias 5000 embedding 5000
jax float16, 5000: sum 5000 bias 5000 embedding 2048 one-hot 5000 segment_sum 2048 scan 2048
torch float16, 5000: sum 5000 bias 5000 embedding 2048
jax bfloat16, 1000: sum 1000 bias 1000 embedding 256 one-hot 1000 segment_sum 256 scan 256
torch bfloat16, 1000: sum 1000 bias 1000 embedding 256
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
