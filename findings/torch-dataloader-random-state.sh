#!/usr/bin/env bash
# Iterating over a torch DataLoader without shuffling moves the global random state.
#
# Versions: torch 2.13.0 with NumPy 2.4.6 (installed here); torch 2.14.1 gave the same.
# Expected: shuffle=False, no workers: nothing is drawn, so that evaluating on a validation set
#     leaves the dropout masks, the noise and the order of the training batches as they were.
# Seen on 2026-11-29: each iterator draws a seed for workers from the global generator, with or
#     without workers. A run that evaluates after each epoch takes other batches from its second
#     epoch on than one that does not. The documentation says so in its part on worker seeds. With a
#     generator of its own the loader leaves the global one alone.
# Why it matters: whether, and how often, something is measured changes the trajectory at the same
#     seed: runs with and without a probe of sharpness are not paired, and a run cannot be repeated
#     to look at it more closely. Give every loader that measures a generator of its own.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torch==2.13.0 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import torch
from torch.utils.data import DataLoader

examples = torch.arange(6)


def training(measured, own=None):
    torch.manual_seed(0)
    batches = DataLoader(examples, batch_size=2, shuffle=True)
    orders = []
    for epoch in range(3):
        orders.append("".join(str(i) for batch in batches for i in batch.tolist()))
        if epoch in measured:
            list(DataLoader(examples, generator=own))
    return orders


print("never measured:", *training(()))
print("after each epoch:", *training((0, 1, 2)))
print("after the second:", *training((1,)))
print("after each epoch, its own generator:", *training((0, 1, 2), torch.Generator()))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
never measured: 043521 231540 520314
after each epoch: 043521 451230 152430
after the second: 043521 231540 054123
after each epoch, its own generator: 043521 231540 520314
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
