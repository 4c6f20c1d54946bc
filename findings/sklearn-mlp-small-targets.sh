#!/usr/bin/env bash
# scikit-learn's MLPRegressor stops, without a warning, before it has learnt anything if targets are
# small.
#
# Versions: scikit-learn 1.9.1 with NumPy 2.4.6 and SciPy 1.17.1 (installed here); NumPy 2.5.5 gave
#     the same.
# Expected: Adam is nearly free of the scale of the loss, so a hundredth of the targets is fitted
#     about as well; if it is not, ConvergenceWarning says so, as it does when the iterations run
#     out.
# Seen on 2026-11-29: training ends when ten epochs in a row fail to lower the loss by tol = 1e-4,
#     an absolute number. For targets of deviation 0.04 that is while the error is still that of the
#     random initial weights: R^2 is above 0.9 for the targets themselves and below -10 for a
#     hundredth of them, where a constant has 0. No warning: it has converged.
# Why it matters: eigenvalues, rates, losses late in training and differences are such targets, and
#     a warning is what one relies on to see an unfinished fit. Scale the targets
#     (TransformedTargetRegressor).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1

seen=$("$python" - <<'PYTHON'
import warnings

import numpy as np
from sklearn.neural_network import MLPRegressor

random = np.random.default_rng(0)
inputs = random.normal(size=(200, 3))
targets = inputs @ [1.0, 2.0, 3.0] + random.normal(size=200)
for scale in (1.0, 0.1, 0.01):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = MLPRegressor(hidden_layer_sizes=(10,), max_iter=5000, random_state=0).fit(inputs, scale * targets)
    score = model.score(inputs, scale * targets)
    quality = "above 0.9" if score > 0.9 else "below -10" if score < -10 else "between 0.5 and 0.9" if score > 0.5 else "other"
    print(f"targets times {scale:g}: R^2 {quality}, {len(caught)} warnings")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
targets times 1: R^2 above 0.9, 0 warnings
targets times 0.1: R^2 between 0.5 and 0.9, 0 warnings
targets times 0.01: R^2 below -10, 0 warnings
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
