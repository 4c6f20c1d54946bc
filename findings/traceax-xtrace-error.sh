#!/usr/bin/env bash
# traceax's XTrace reports a standard error of exactly 0 from three products.
#
# Versions: traceax 1.0.2 with lineax 0.1.1, equinox 0.13.8, jax 0.10.2 (installed here); jax 0.12.0.1
#     gave the same.
# Expected: with too few probes for an error, none, NaN or an exception.
# Seen on 2026-11-29: half of the products, rounded down, are probes: three products are one probe, and
#     the spread of one number is 0. The estimate, of a diagonal of 1 to 10, is off by 7 of 55.
# Why it matters: a loop that adds products until the error is small stops at once, and a table shows
#     the worst estimate as the certain one.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet traceax==1.0.2 lineax==0.1.1 equinox==0.13.8 jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import lineax
import traceax

jax.config.update("jax_enable_x64", True)
matrix = lineax.MatrixLinearOperator(jnp.diag(jnp.arange(1.0, 11.0)), lineax.symmetric_tag)
estimator = traceax.XTraceEstimator()
for products in (3, 6):
    estimate, about = estimator.estimate(jax.random.key(0), matrix, products)
    miss, claimed = abs(float(estimate) - 55), float(about["std.err"])
    print(f"{products} products: off by more than 1: {miss > 1}, standard error 0: {claimed == 0}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
3 products: off by more than 1: True, standard error 0: True
6 products: off by more than 1: True, standard error 0: False
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
