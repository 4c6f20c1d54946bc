#!/usr/bin/env bash
# torch.manual_seed does not fix the noise of torchsde: NumPy's global state does.
#
# Versions: torchsde 0.2.6 with torch 2.13.0, NumPy 2.4.6 and SciPy 1.17.1 (installed here).
# Expected: a library on torch draws with torch's generator: after torch.manual_seed(0) an integration
#     repeats, and the numbers after it go on in torch's stream.
# Seen on 2026-11-29: without a Brownian motion of one's own its entropy is drawn by numpy.random. With
#     torch's seed fixed every integration differs; with NumPy's fixed it repeats whatever torch's
#     seed is, so runs with torch's seeds 0 to 4 and one NumPy seed are one run five times.
# Why it matters: stochastic gradient flow, Langevin runs and their escape times are not
#     repeatable by the seed that is recorded; or, where another library has seeded NumPy, the spread
#     over seeds is 0. Pass bm=torchsde.BrownianInterval(..., entropy=seed).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet torchsde==0.2.6 torch==2.13.0 numpy==2.4.6 scipy==1.17.1

seen=$("$python" -W ignore - <<'PYTHON'
import numpy
import torch
import torchsde


class Langevin(torch.nn.Module):
    noise_type, sde_type = "diagonal", "ito"

    def f(self, t, y):
        return -y

    def g(self, t, y):
        return torch.ones_like(y)


def end(entropy=None):
    motion = None
    if entropy is not None:
        options = {"size": (1, 1), "entropy": entropy, "levy_area_approximation": "space-time"}
        motion = torchsde.BrownianInterval(0.0, 1.0, **options)
    times = torch.tensor([0.0, 1.0])
    return torchsde.sdeint(Langevin(), torch.zeros(1, 1), times, bm=motion, dt=0.1)[-1].item()


def different(torch_seed=None, numpy_seed=None, **options):
    ends = set()
    for run in range(5):
        if torch_seed is not None:
            torch.manual_seed(torch_seed(run))
        if numpy_seed is not None:
            numpy.random.seed(numpy_seed(run))
        ends.add(end(**options))
    return len(ends)


print("different results of five runs")
print("  torch's seed 0 each time:", different(torch_seed=lambda run: 0))
print("  NumPy's seed 0 each time:", different(numpy_seed=lambda run: 0))
print("  NumPy's 0, torch's 0 to 4:", different(lambda run: run, lambda run: 0))
print("  entropy=7 each time:", different(entropy=7))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
different results of five runs
  torch's seed 0 each time: 5
  NumPy's seed 0 each time: 1
  NumPy's 0, torch's 0 to 4: 1
  entropy=7 each time: 1
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
