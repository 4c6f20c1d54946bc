#!/usr/bin/env bash
# flax's LayerNorm puts out numbers of size 900 instead of 1 for float32 inputs of 10,000 +- 1.
#
# Versions: flax 0.12.8 with jax 0.10.2, dm-haiku 0.0.17, equinox 0.13.8 (installed here); flax
#     0.12.12 with jax 0.12.0.1 gave the same.
# Expected: normalized outputs have deviation 1: float32 holds 10,000 +- 1 to three digits. The
#     "fast" variance that flax's documentation owns up to costs a digit or two, and the epsilon
#     bounds it.
# Seen on 2026-11-29: the variance is the mean of squares minus the squared mean, 1e8 - 1e8, of which
#     nothing is left; it is cut at 0, and the outputs are divided by the root of epsilon, 0.001.
#     LayerNorm, GroupNorm and jax.nn.standardize, which has no such argument, are off by hundreds,
#     from 1,000 +- 0.1 on too; at 100 +- 0.1 by a few percent. haiku, equinox and
#     use_fast_variance=False give 1.
# Why it matters: features with an offset (years, pixels without centring, a residual stream with a
#     massive activation) blow up, or lose all gradient, and the curvature of the loss is that of
#     the epsilon. Pass use_fast_variance=False.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet flax==0.12.8 jax==0.10.2 jaxlib==0.10.2 dm-haiku==0.0.17 equinox==0.13.8 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import equinox
import haiku
import jax
import numpy
from flax import nnx

width, keys = 512, nnx.Rngs(0)
slow = nnx.LayerNorm(width, rngs=keys, use_fast_variance=False)
layers = {
    "flax LayerNorm": nnx.LayerNorm(width, rngs=keys),
    "flax GroupNorm": nnx.GroupNorm(width, num_groups=1, rngs=keys),
    "jax.nn.standardize": jax.nn.standardize,
    "flax, use_fast_variance=False": slow,
    "equinox": jax.vmap(equinox.nn.LayerNorm(width)),
    "haiku": lambda x: haiku.testing.transform_and_run(lambda x: haiku.LayerNorm(-1, True, True)(x))(x),
}
noise = numpy.random.default_rng(0).standard_normal((8, width))
for mean, deviation in ((0, 1), (1000, 0.1), (10000, 1)):
    inputs = (mean + deviation * noise).astype("float32")
    print(f"inputs {mean} +- {deviation}, deviation in float32 {inputs.astype('float64').std():.2f}")
    for name, layer in layers.items():
        size = float(numpy.asarray(layer(inputs)).std())
        print(f"  {name}: deviation", "above 10" if size > 10 else f"{size:.1f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
inputs 0 +- 1, deviation in float32 1.00
  flax LayerNorm: deviation 1.0
  flax GroupNorm: deviation 1.0
  jax.nn.standardize: deviation 1.0
  flax, use_fast_variance=False: deviation 1.0
  equinox: deviation 1.0
  haiku: deviation 1.0
inputs 1000 +- 0.1, deviation in float32 0.10
  flax LayerNorm: deviation above 10
  flax GroupNorm: deviation above 10
  jax.nn.standardize: deviation above 10
  flax, use_fast_variance=False: deviation 1.0
  equinox: deviation 1.0
  haiku: deviation 1.0
inputs 10000 +- 1, deviation in float32 1.00
  flax LayerNorm: deviation above 10
  flax GroupNorm: deviation above 10
  jax.nn.standardize: deviation above 10
  flax, use_fast_variance=False: deviation 1.0
  equinox: deviation 1.0
  haiku: deviation 1.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
