#!/usr/bin/env bash
# flax.nnx.metrics.Welford reports a standard error that is too small: 0 for a single run.
#
# Versions: flax 0.12.8 with jax 0.10.2, SciPy 1.17.1 (installed here); flax 0.12.12 with jax
#     0.12.0.1 gave the same.
# Expected: standard_error_of_mean is the sample's deviation (n - 1) over the root of n, as
#     scipy.stats.sem and pandas' sem have it; of one value it is not defined.
# Seen on 2026-11-29: the population's deviation is used: too small by sqrt((n - 1) / n), 0.71 at
#     two values and 0.89 at five. Of one value the error is 0.
# Why it matters: seeds are few. Intervals from three to five runs are narrower than they say by 11
#     to 18 %, on top of Student's factor, and a single run looks exact. Compute the error from the
#     deviations themselves, with n - 1.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 scipy==1.17.1

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax.numpy as jnp
from flax import nnx
from scipy import stats

for runs in ([0.97], [0.97, 0.95], [0.97, 0.95, 0.96], [0.97, 0.95, 0.96, 0.93, 0.99]):
    metric = nnx.metrics.Welford()
    metric.update(values=jnp.array(runs))
    error = metric.compute().standard_error_of_mean
    print(f"{len(runs)} runs: nnx {error:.5f}, SciPy {stats.sem(runs):.5f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
1 runs: nnx 0.00000, SciPy nan
2 runs: nnx 0.00707, SciPy 0.01000
3 runs: nnx 0.00471, SciPy 0.00577
5 runs: nnx 0.00894, SciPy 0.01000
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
