#!/usr/bin/env bash
# optax.inject_hyperparams rounds Adam's b2 to 1 for bfloat16 parameters: the first step is NaN.
#
# Versions: optax 0.2.8 with jax 0.10.2 (installed here); jax 0.12.0.1 gave the same.
# Expected: inject_hyperparams(optax.adam)(1e-3) is optax.adam(1e-3) with its numbers where one can
#     see and change them: the same steps, as in float32.
# Seen on 2026-11-29: all numbers of the rule, not only the rate that one wants to see, are cast to
#     the dtype of the parameters. In bfloat16 b2 = 0.999 becomes 1, the second moment and its bias
#     correction are both 0, and every step is NaN; b1 = 0.9 becomes 0.898. optax.adam itself takes
#     its step of 0.001.
# Why it matters: the wrapper is how the rate is logged, swept and changed during a run; with it a
#     run in bfloat16 dies at the first step, and is laid to the precision. Pass
#     hyperparam_dtype=jax.numpy.float32.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import optax

inject = optax.inject_hyperparams
rules = {
    "adam": optax.adam(1e-3),
    "injected": inject(optax.adam)(1e-3),
    "injected in float32": inject(optax.adam, hyperparam_dtype=jnp.float32)(1e-3),
}
for dtype in (jnp.float32, jnp.bfloat16):
    parameters = jnp.ones(2, dtype)
    for name, rule in rules.items():
        state = rule.init(parameters)
        update, state = rule.update(0.5 * parameters, state, parameters)
        numbers = {k: round(float(v), 4) for k, v in getattr(state, "hyperparams", {}).items() if k[0] == "b"}
        print(f"{dtype.__name__}, {name}: {float(update[0]):.4f}", *numbers.items())
PYTHON
)
expected=$(
  cat <<'EXPECTED'
float32, adam: -0.0010
float32, injected: -0.0010 ('b1', 0.9) ('b2', 0.999)
float32, injected in float32: -0.0010 ('b1', 0.9) ('b2', 0.999)
bfloat16, adam: -0.0010
bfloat16, injected: nan ('b1', 0.8984) ('b2', 1.0)
bfloat16, injected in float32: -0.0010 ('b1', 0.9) ('b2', 0.999)
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
