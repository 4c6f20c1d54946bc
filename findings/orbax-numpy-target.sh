#!/usr/bin/env bash
# orbax checks the shape of a jax target and not of a NumPy one, and casts numbers to any dtype.
#
# Versions: orbax-checkpoint 0.12.8 with jax 0.10.2, numpy 2.4.6 (installed here); jax 0.12.0.1 gave
#     the same.
# Expected: restore with a target of another shape or of a type that cannot hold the numbers is an error.
# Seen on 2026-11-29: of shape (5,) for a stored (3,), jnp.zeros(5) raises ValueError, and np.zeros(5)
#     gives the three numbers back. Rates 0.7, 1.9, -2.5 come back as 0, 1, -2 for an int32 target and
#     as True for a bool one, without a word.
# Why it matters: a state made with NumPy (a history, a table of seeds) of another length is taken for
#     the run's own; and a target built from a changed model quietly truncates.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet orbax-checkpoint==0.12.8 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

folder = tempfile.mkdtemp()
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(f"{folder}/run", {"rate": jnp.array([0.7, 1.9, -2.5], jnp.float32)})
    checkpointer.wait_until_finished()
    targets = {
        "jax, shape (5,)": jnp.zeros(5),
        "NumPy, shape (5,)": np.zeros(5, np.float32),
        "jax, shape (3,), int32": jax.ShapeDtypeStruct((3,), jnp.int32),
        "jax, shape (3,), bool": jax.ShapeDtypeStruct((3,), jnp.bool_),
    }
    for name, target in targets.items():
        try:
            print(f"{name}:", checkpointer.restore(f"{folder}/run", {"rate": target})["rate"])
        except ValueError as error:
            print(f"{name}:", type(error).__name__)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
jax, shape (5,): ValueError
NumPy, shape (5,): [ 0.7  1.9 -2.5]
jax, shape (3,), int32: [ 0  1 -2]
jax, shape (3,), bool: [ True  True  True]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
