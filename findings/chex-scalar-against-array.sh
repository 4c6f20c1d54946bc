#!/usr/bin/env bash
# chex.assert_trees_all_close takes an array for equal to a scalar of shape ().
#
# Versions: chex 0.1.92 with jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: leaves of different shapes fail, as (3,) against (1, 3) does; dtypes are compared or
#     promoted.
# Seen on 2026-11-29: (3,) against () passes, since NumPy's comparison underneath treats a scalar
#     apart. So do bfloat16 against float32, and nan against nan.
# Why it matters: a gradient that was averaged away to one number, a state that lost its batch axis,
#     half-precision parameters and two runs that both diverged pass a test meant to hold a result
#     to its reference. Compare shapes and dtypes too
#     (chex.assert_trees_all_equal_shapes_and_dtypes).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 chex==0.1.92

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import chex
import jax.numpy as jnp


def passes(left, right):
    try:
        chex.assert_trees_all_close({"w": left}, {"w": right})
    except AssertionError:
        return False
    return True


ones = jnp.ones(3)
print("shape (3,) against (1, 3):", passes(ones, jnp.ones((1, 3))))
print("shape (3,) against ():", passes(ones, jnp.ones(())))
print("float32 against bfloat16:", passes(ones, ones.astype(jnp.bfloat16)))
print("nan against nan:", passes(ones * jnp.nan, ones * jnp.nan))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
shape (3,) against (1, 3): False
shape (3,) against (): True
float32 against bfloat16: True
nan against nan: True
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
