#!/usr/bin/env bash
# In pycma seed 0 means 'take the time': runs with it do not repeat.
#
# Versions: cma 4.5.0, NumPy 2.4.6 (installed here) and 2.5.5.
# Expected: the option seed fixes the random numbers for every integer.
# Seen on 2026-11-29: seed 1 repeats; 0 is replaced by a number drawn from the clock, so two
#     strategies made a second apart sample different points.
# Why it matters: seeds are numbered from 0. The first run of a batch of evolution-strategy
#     baselines cannot be repeated, and paired comparisons lose their pair 0. Number them from 1.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet cma==4.5.0 numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import time

import cma


def first_sample(seed):
    return cma.CMAEvolutionStrategy([1.0, 1.0], 0.5, {"seed": seed, "verbose": -9}).ask()[0].tolist()


for seed in (1, 0):
    one = first_sample(seed)
    time.sleep(1.1)
    print(seed, "repeats:", one == first_sample(seed))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
1 repeats: True
0 repeats: False
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
