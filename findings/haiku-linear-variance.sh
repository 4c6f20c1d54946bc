#!/usr/bin/env bash
# haiku's Linear keeps 77 % of the variance a layer: its default initializer is truncated,
# uncorrected.
#
# Versions: dm-haiku 0.0.17 with jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: the default is a truncated normal of deviation 1 / sqrt(inputs), that is LeCun's
#     initializer as in flax, which keeps the variance of linear activations.
# Seen on 2026-11-29: 1 / sqrt(inputs) is the deviation before the normal is cut at two deviations;
#     after it 0.88 is left. Twenty linear layers take inputs of deviation 1 to 0.08.
#     hk.initializers.VarianceScaling corrects for the cut and stays at 1.
# Why it matters: gradients and curvature at the start of a deep network differ between haiku and
#     flax by powers of 0.77, which looks like an effect of depth. Say the initializer.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 dm-haiku==0.0.17

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import haiku as hk
import jax

inputs = jax.random.normal(jax.random.key(0), (64, 1000))


def deep(inputs, initializer):
    for _ in range(20):
        inputs = hk.Linear(1000, with_bias=False, w_init=initializer)(inputs)
    return inputs


for initializer in (None, hk.initializers.VarianceScaling(1.0)):
    network = hk.transform(lambda x: deep(x, initializer))
    parameters = network.init(jax.random.key(1), inputs)
    outputs = network.apply(parameters, None, inputs)
    scale = parameters["linear"]["w"].std() * 1000**0.5
    print(type(initializer).__name__, f"{float(scale):.2f}", f"{float(outputs.std()):.1f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
NoneType 0.88 0.1
VarianceScaling 1.00 1.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
