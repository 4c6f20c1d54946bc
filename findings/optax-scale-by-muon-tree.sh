#!/usr/bin/env bash
# optax.contrib.scale_by_muon(), by its defaults, takes a bare matrix only, no tree of matrices.
#
# Versions: optax 0.2.8; jax 0.10.2.
# Expected: `weight_dimension_numbers=None` is documented as treating every parameter as a matrix, so
#     that a list or a dict of matrices is scaled leaf by leaf, as by every other scale_by_* of optax.
# Seen on 2026-11-29: init accepts the list; update raises ValueError, "pytree structure error:
#     different types at key path", since None is mapped beside the tree without being broadcast over
#     it. A bare matrix works, and so does optax.contrib.muon, which makes the numbers itself.
# Why it matters: in a chain of one's own the rule fails at the first step of any network, with an
#     error that speaks of the structure of the parameters. Pass
#     weight_dimension_numbers=jax.tree.map(lambda _: MuonDimensionNumbers(), params), or use muon.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import jax.numpy as jnp
from optax import contrib

matrix = jnp.eye(3)
for name, params in (("matrix", matrix), ("list", [matrix]), ("dict", {"w": matrix})):
    rule = contrib.scale_by_muon()
    state = rule.init(params)
    try:
        rule.update(params, state, params)
        print(name, "works")
    except ValueError as error:
        print(name, "ValueError:", str(error).split(":")[0])
params = [matrix]
numbers = jax.tree.map(lambda _: contrib.MuonDimensionNumbers(), params)
rule = contrib.scale_by_muon(weight_dimension_numbers=numbers)
rule.update(params, rule.init(params), params)
print("list, with numbers, works")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
matrix works
list ValueError: pytree structure error
dict ValueError: pytree structure error
list, with numbers, works
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
