#!/usr/bin/env bash
# flax.serialization.from_bytes ignores the shapes and dtypes of its template, and drops unknown
# keys.
#
# Versions: flax 0.12.8 with jax 0.10.2 (installed here), flax 0.12.12 with jax 0.12.0.1.
# Expected: the template says what is wanted: a stored array of another shape is an error, another
#     dtype an error or a cast, an entry that the template lacks an error as a missing one is.
# Seen on 2026-11-29: a float32 template of shape (2,) comes back as a bfloat16 array of shape (3,
#     5), and the extra entry is gone, all without a word. Only missing keys and lengths of lists
#     are checked.
# Why it matters: a checkpoint of another width or precision loads, broadcasts where it can, and
#     gives a loss and a Hessian of some other network. Compare shapes and dtypes with jax.tree.map
#     after loading.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import flax.serialization as serialization
import jax.numpy as jnp

stored = serialization.to_bytes({"kernel": jnp.ones((3, 5), jnp.bfloat16), "extra": jnp.ones(1)})
template = {"kernel": jnp.zeros((2,), jnp.float32)}
back = serialization.from_bytes(template, stored)
print(sorted(back), back["kernel"].shape, back["kernel"].dtype)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
['kernel'] (3, 5) bfloat16
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
