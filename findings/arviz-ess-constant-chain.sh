#!/usr/bin/env bash
# ArviZ gives a chain that never moved the full effective sample size.
#
# Versions: arviz-stats 0.8.0, what arviz 1.3.0 computes with, with NumPy 2.4.6 and SciPy 1.17.1
#     (installed here).
# Expected: a stuck sampler, all of whose proposals were rejected, has an effective sample size of
#     0, 1 or NaN; the size does not depend on the unit of the quantity.
# Seen on 2026-11-29: 4 chains of 1,000 equal numbers have an ess of 4,000, also with relative=True,
#     where it should be at most 1; so the error of the mean (mcse) is 0. The rule is 'range below
#     1e-15', so an autocorrelated chain with an ess of 18 for its mean (20 by the formula) has
#     4,000 once its values are multiplied by 1e-17. blackjax 1.7.1 gives 0 and 21; of the stuck
#     chains ArviZ's own rhat is nan.
# Why it matters: a sweep over step sizes ranked by effective samples a second is won by the step at
#     which nothing is accepted; and losses or squared gradients near a minimum are of this size, so
#     the best converged run looks best mixed. Check the acceptance rate, and scale the values.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet arviz-stats==0.8.0 numpy==2.4.6 scipy==1.17.1

seen=$("$python" -W ignore - <<'PYTHON'
import numpy as np
from arviz_stats.base import array_stats

random = np.random.default_rng(0)
slow = np.zeros((4, 1000))
for t in range(1, 1000):
    slow[:, t] = 0.99 * slow[:, t - 1] + random.normal(size=4)
for name, chains in {"stuck": np.full((4, 1000), 0.5), "slow": slow, "slow, times 1e-17": 1e-17 * slow}.items():
    size, error = array_stats.ess(chains, method="mean"), array_stats.mcse(chains, method="mean")
    print(f"{name}: ess {size:.0f}, mcse {error:.1e}, rhat {array_stats.rhat(chains):.2f}")
print("relative:", array_stats.ess(np.full((4, 1000), 0.5), method="mean", relative=True))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
stuck: ess 4000, mcse 0.0e+00, rhat nan
slow: ess 18, mcse 1.6e+00, rhat 1.15
slow, times 1e-17: ess 4000, mcse 1.1e-18, rhat 1.15
relative: 4000.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
