#!/usr/bin/env bash
# numpy.quantile of runs of which one diverged to inf is nan, even where the quantile is a finite
# run.
#
# Versions: NumPy 2.4.6, xarray 2026.9.0, torch 2.13.0, jax 0.10.2 (installed here); NumPy 2.5.5,
#     torch 2.14.1, jax 0.12.0.1 gave the same.
# Expected: quantiles are order statistics, so one infinite value leaves the others alone: the upper
#     quartile of 1, 2, 3, 4, inf is 4, as the median is 3.
# Seen on 2026-11-29: where the upper neighbour is inf NumPy interpolates with 0 * inf and returns
#     nan, without a nan in the data and with only a RuntimeWarning; numpy.median,
#     jax.numpy.quantile and torch.quantile give the 4. xarray's quantile is NumPy's. Between two
#     infinities NumPy and torch return nan, jax inf.
# Why it matters: bands of quartiles over seeds are chosen because they stand a diverged run; the
#     band has a hole where they are needed. Use method="inverted_cdf", numpy.median, or a large
#     number in place of inf.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 torch==2.13.0 xarray==2026.9.0 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import jax.numpy as jnp
import numpy as np
import torch
import xarray

losses = [1.0, 2.0, 3.0, 4.0, np.inf]  # five runs, of which one has diverged
shares = [0.25, 0.5, 0.75]
print("numpy.quantile:", np.quantile(losses, shares))
print("numpy.median:", np.median(losses))
print("xarray quantile:", xarray.DataArray(losses).quantile(shares).values)
print("torch.quantile:", torch.quantile(torch.tensor(losses), torch.tensor(shares)).numpy())
print("jax.numpy.quantile:", jnp.quantile(jnp.array(losses), jnp.array(shares)))
print("with two diverged, the same at 0.9:", end=" ")
two = [1.0, 2.0, 3.0, np.inf, np.inf]
print(np.quantile(two, 0.9), torch.quantile(torch.tensor(two), 0.9).item(), jnp.quantile(jnp.array(two), 0.9))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
numpy.quantile: [ 2.  3. nan]
numpy.median: 3.0
xarray quantile: [ 2.  3. nan]
torch.quantile: [2. 3. 4.]
jax.numpy.quantile: [2. 3. 4.]
with two diverged, the same at 0.9: nan nan inf
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
