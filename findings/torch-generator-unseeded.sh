#!/usr/bin/env bash
# A torch.Generator that nobody has seeded always draws the same numbers, whatever manual_seed says.
#
# Versions: torch 2.13.0 and hessian-eigenthings 1.0.0a5 (installed here).
# Expected: without a seed, a generator draws something else each time, as numpy.random.default_rng()
#     does, or goes on with the global state; so that estimates with seed=None are independent.
# Seen on 2026-11-29: torch.Generator() begins at one built-in seed (67280421310721), also after
#     torch.manual_seed. hessian-eigenthings' trace(seed=None) makes such a generator: ten "random"
#     estimates are one number ten times, and their spread is 0.
# Why it matters: error bars over repetitions vanish, ensembles of probes are one probe, and a bias of
#     these probes never shows. Call seed() on a new generator, or pass a seed that counts up.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$python" -m pip install --quiet hessian-eigenthings==1.0.0a5

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from hessian_eigenthings import LambdaOperator, trace

print("seed of a new generator:", torch.Generator().initial_seed())
draws = []
for seed in (0, 1, 2):
    torch.manual_seed(seed)
    draws.append(torch.rand(1, generator=torch.Generator()).item())
print("different draws of three new generators:", len(set(draws)))

torch.manual_seed(0)
matrix = torch.randn(50, 50)
operator = LambdaOperator(lambda vector: (matrix + matrix.T) @ vector, 50)
found = [trace(operator, num_matvecs=30, method="hutchinson").estimate for _ in range(10)]
print("different estimates of ten without a seed:", len(set(found)))
found = [trace(operator, num_matvecs=30, method="hutchinson", seed=s).estimate for s in range(10)]
print("different estimates of ten with one each:", len(set(found)))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
seed of a new generator: 67280421310721
different draws of three new generators: 1
different estimates of ten without a seed: 1
different estimates of ten with one each: 10
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
