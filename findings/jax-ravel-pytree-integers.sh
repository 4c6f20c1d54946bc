#!/usr/bin/env bash
# jax.flatten_util.ravel_pytree gives back another random key, and a step counter that stands still.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: unravel(flat) is the tree, leaf by leaf, as the documentation of the pair implies; leaves
#     that do not fit one dtype are refused.
# Seen on 2026-11-29: all leaves go to the common dtype, and beside float32 weights that is float32:
#     key data 123456789 come back as 123456792, a step of 2^24 + 1 as 2^24, a seed of 2^31 - 1 as
#     a negative number or its neighbour; the dtype is right, there is no warning.
# Why it matters: a whole training state is raveled for a solver, a norm, a checkpoint or a plane. The
#     run that goes on from it draws other noise, and does not repeat; a counter that goes through it
#     each step stops at 2^24. Split the inexact leaves off first (equinox.partition).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

state = {
    "weights": jnp.ones(2),
    "key": jax.random.key_data(jax.random.key(123456789)),
    "step": jnp.int32(2**24 + 1),
    "seen": jnp.int32(1_000_000_007),
}
flat, unravel = ravel_pytree(state)
back = unravel(flat)
print("flat:", flat.dtype)
for name in ("key", "step", "seen"):
    print(f"{name}: {state[name].tolist()} -> {back[name].tolist()}, {back[name].dtype}")
noise = [jax.random.normal(jax.random.wrap_key_data(tree["key"]), 2) for tree in (state, back)]
print("noise:", *(" ".join(f"{number:.3f}" for number in draw) for draw in noise), sep="\n  ")
step = jnp.int32(2**24 - 2)
for _ in range(10):
    flat, unravel = ravel_pytree({"weights": jnp.ones(2), "step": step})
    step = unravel(flat)["step"] + 1
print("2**24 - 2 and ten steps more:", f"2**24 + {int(step) - 2**24}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
flat: float32
key: [0, 123456789] -> [0, 123456792], uint32
step: 16777217 -> 16777216, int32
seen: 1000000007 -> 1000000000, int32
noise:
  -0.561 0.507
  -0.230 -2.715
2**24 - 2 and ten steps more: 2**24 + 1
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
