#!/usr/bin/env bash
# The weight decay of scikit-learn's MLPs depends on the batch size: alpha / batch_size a step.
#
# Versions: scikit-learn 1.9.1, NumPy 2.4.6 (installed here) and 2.5.5.
# Expected: alpha is the strength of the L2 penalty, divided by the sample size, which is a fixed
#     part of the objective: after an epoch over data without signal a weight shrinks about as much
#     for any batch size times the number of steps.
# Seen on 2026-11-29: the sample size is that of the batch. With 100 samples, alpha=1 and a rate of
#     0.1 an epoch multiplies the weight by 0.999, 0.904 or 0.00003 for batches of 100, 10 and 1:
#     both the steps and the penalty grow as the batch shrinks.
# Why it matters: the objective itself changes with the batch size, so 'small batches find flatter
#     minima' measured with this class confounds noise with up to n times the regularization. Scale
#     alpha with the batch size, or set it to 0.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import warnings

import numpy as np
from sklearn.neural_network import MLPRegressor

warnings.simplefilter("ignore")  # one epoch does not converge
inputs, targets = np.zeros((100, 1)), np.zeros(100)


def weight(alpha, batch_size):
    network = MLPRegressor(hidden_layer_sizes=(1,), activation="identity", solver="sgd", alpha=alpha, learning_rate_init=0.1,
                           momentum=0.0, max_iter=1, batch_size=batch_size, random_state=0)
    return network.fit(inputs, targets).coefs_[0][0, 0]


for batch_size in (100, 10, 1):
    print(batch_size, f"{weight(1.0, batch_size) / weight(0.0, batch_size):.6f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
100 0.999000
10 0.904382
1 0.000027
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
