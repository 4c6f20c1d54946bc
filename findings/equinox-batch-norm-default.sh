#!/usr/bin/env bash
# equinox's BatchNorm, left at its default mode, does not normalize by the batch while training.
#
# Versions: equinox 0.13.8 with jax 0.10.2 (installed here).
# Expected: in training every batch comes out with mean 0 and deviation 1 in each channel, as the paper
#     has it (Ioffe and Szegedy 2015, algorithm 1), and as flax, haiku and torch do.
# Seen on 2026-11-29: after the first batch, training normalizes by the running averages ("legacy",
#     the default, and "ema"): a batch whose mean has moved from 5 to 20 comes out with mean 5.4 and
#     deviation 2. mode="batch" is the paper's. The warning that comes without a mode speaks of a
#     performance impact, not of another method.
# Why it matters: gradients do not flow through statistics of earlier batches, curvature of the training
#     loss is another, examples of a batch are not coupled, and a comparison of normalizations between
#     libraries compares two methods.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 equinox==0.13.8

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import equinox
import jax

first = 5 + 3 * jax.random.normal(jax.random.key(0), (64, 2))
for options in ({}, {"mode": "ema"}, {"mode": "batch"}):
    layer, state = equinox.nn.make_with_state(equinox.nn.BatchNorm)(2, "batch", **options)
    outputs = []
    for batch in (first, 10 + 2 * first):
        over_batch = jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        out, state = over_batch(batch, state)
        outputs.append(f"mean {abs(out.mean()):.1f}, deviation {out.std():.1f}")
    print(options.get("mode", "default"), "| first batch:", *outputs[:1], "| second:", *outputs[1:])
PYTHON
)
expected=$(
  cat <<'EXPECTED'
default | first batch: mean 0.0, deviation 1.0 | second: mean 5.4, deviation 2.0
ema | first batch: mean 0.0, deviation 1.0 | second: mean 5.4, deviation 2.0
batch | first batch: mean 0.0, deviation 1.0 | second: mean 0.0, deviation 1.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
