#!/usr/bin/env bash
# torch.randn with one seed: 15 numbers share nothing with 16, and 20 agree with 16 in the first 4.
#
# Versions: torch 2.13.0 (installed here), on the CPU; 2.14.1 gave the same.
# Expected: a seeded generator is a stream, so the longer of two draws begins with the shorter, as
#     torch.rand's do and NumPy's, and as jax documents for its keys.
# Seen on 2026-11-29: fewer than 16 normal numbers come one by one, 16 or more from a vectorised way
#     that pairs uniform numbers otherwise; where the count is no multiple of 16, the last 16 are
#     drawn once more and replace what stood there. Multiples of 16 are prefixes of one another.
# Why it matters: a network widened by one unit, a vector of probes made longer, a batch with another
#     number of runs have other numbers throughout; comparisons "at the same seed" over sizes are not
#     paired, and a re-implementation matches at width 16 and 32 and at no other.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import torch


def draw(shape):
    torch.manual_seed(0)
    return torch.randn(shape).ravel()


short, sixteen, twenty = draw(15), draw(16), draw(20)
shared = sum(float(value) in sixteen.tolist() for value in short)
print("numbers that draws of 15 and 16 share:", shared)
print("of the first 16, draws of 16 and 20 agree in:", int((sixteen == twenty[:16]).sum()))
print("draws of 16 and 32 agree in:", int((sixteen == draw(32)[:16]).sum()))
print("uniform draws of 15 and 16 agree in:", end=" ")
torch.manual_seed(0)
short = torch.rand(15)
torch.manual_seed(0)
print(int((short == torch.rand(16)[:15]).sum()))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
numbers that draws of 15 and 16 share: 0
of the first 16, draws of 16 and 20 agree in: 4
draws of 16 and 32 agree in: 16
uniform draws of 15 and 16 agree in: 15
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
