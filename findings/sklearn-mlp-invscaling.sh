#!/usr/bin/env bash
# scikit-learn's MLPs with learning_rate="invscaling" count time in samples: the rate falls to 3 %
# after one epoch.
#
# Versions: scikit-learn 1.9.1 with NumPy 2.4.6 (installed here); NumPy 2.5.5 gave the same.
# Expected: "at each time step t" the rate is learning_rate_init / t^power_t: t is the number of
#     updates, as in SGDRegressor, so that one update leaves the rate about where it was.
# Seen on 2026-11-29: t is the number of samples seen so far, and the rate is set once an epoch.
#     With 1,000 samples it is 0.1 / sqrt(1001) after the first epoch whether that took 1 update or
#     100, with 100 samples 0.1 / sqrt(101).
# Why it matters: the rate that is tuned is used in the first epoch only, and the schedule depends
#     on the size of the data: a comparison over sizes, or with another library's 1 / sqrt(t),
#     compares rates that differ by the root of the number of samples.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import numpy as np
from sklearn.neural_network import MLPRegressor

rng = np.random.default_rng(0)
for samples, batch in ((100, 100), (1000, 1000), (1000, 10)):
    inputs = rng.normal(size=(samples, 2))
    model = MLPRegressor(
        hidden_layer_sizes=(3,),
        solver="sgd",
        learning_rate="invscaling",
        learning_rate_init=0.1,
        power_t=0.5,
        batch_size=batch,
        random_state=0,
    )
    rates = []
    for _ in range(3):
        model.partial_fit(inputs, inputs[:, 0])
        rates.append(round(float(model._optimizer.learning_rate), 5))
    print(f"{samples} samples, {samples // batch} updates an epoch: rate after epochs 1, 2, 3:", *rates)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
100 samples, 1 updates an epoch: rate after epochs 1, 2, 3: 0.00995 0.00705 0.00576
1000 samples, 1 updates an epoch: rate after epochs 1, 2, 3: 0.00316 0.00224 0.00183
1000 samples, 100 updates an epoch: rate after epochs 1, 2, 3: 0.00316 0.00224 0.00183
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
