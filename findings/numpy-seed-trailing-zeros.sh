#!/usr/bin/env bash
# NumPy's seeds [7, 0] and 7 are one seed: run 0 of a sweep draws what the sweep itself drew.
#
# Versions: NumPy 2.4.6 (installed here) and 2.5.5.
# Expected: a seed may be a sequence of integers, and every part of it counts: default_rng([seed,
#     run]) gives each run a stream of its own, unlike that of default_rng(seed).
# Seen on 2026-11-29: short sequences are filled up with zeros, so 7, [7], [7, 0] and [7, 0, 0] are
#     one stream; with run in front, [0, 7], they differ. With zeros up to a length of five it is
#     the first child that SeedSequence(7).spawn gives.
# Why it matters: the start or the split of the data is drawn with the seed, the noise of run r with
#     [seed, r]: in run 0 the noise is the start, number for number, which is a correlation of 1 in
#     one arm and none in the others. Grids padded with zeros, [seed, width, 0], collide as well.
#     Put what varies first, or spawn.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet numpy==2.4.6

seen=$("$python" - <<'PYTHON'
import numpy as np


def first(entropy):
    return np.random.default_rng(entropy).random()


print(f"7: {first(7):.6f}")
for run in range(3):
    print(f"run {run}: [7, {run}] {first([7, run]):.6f}, [{run}, 7] {first([run, 7]):.6f}")
print(f"[7, 0, 0]: {first([7, 0, 0]):.6f}")
child = np.random.SeedSequence(7).spawn(1)[0]
print("[7, 0, 0, 0, 0] is the first child of 7:", first([7, 0, 0, 0, 0]) == first(child))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
7: 0.625095
run 0: [7, 0] 0.625095, [0, 7] 0.038861
run 1: [7, 1] 0.770141, [1, 7] 0.359677
run 2: [7, 2] 0.277970, [2, 7] 0.120548
[7, 0, 0]: 0.625095
[7, 0, 0, 0, 0] is the first child of 7: True
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
