#!/usr/bin/env bash
# jax.random.truncated_normal in a tail puts every draw at the far end of the interval.
#
# Versions: jax 0.10.2 with SciPy 1.17.1 for the true means (installed here); jax 0.12.0.1 gave the
#     same.
# Expected: draws between 6 and 10 lie close above 6 (true mean 6.16); the density at 10 is e^-32 of
#     that at 6. float32 may cost digits, not the place.
# Seen on 2026-11-29: a uniform number between erf of the two ends is mapped back by the inverse of
#     erf. In float32 both are 1 from 5.5 on, the inverse is inf, and clipping makes it the upper
#     end: every draw is 10, with no upper end 3.4e38. Between 5 and 10 there are ten different
#     values, with mean 5.44 for 5.19; between -10 and -6 every draw is -10.
# Why it matters: a Gaussian conditioned on a rare event (noise that crosses a barrier, latent
#     scores of a probit likelihood, a half-space far off) is drawn this way, and gets the rarest of
#     all outcomes, finite and inside the bounds. Draw an exponential and reject, or use float64,
#     which moves the limit from 5 to about 7.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 scipy==1.17.1 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import numpy as np
from scipy import stats

for lower, upper in ((3, 10), (5, 10), (6, 10), (6, 20), (-10, -6)):
    draws = np.asarray(jax.random.truncated_normal(jax.random.key(0), lower, upper, (100_000,)), float)
    true = stats.truncnorm(lower, upper).mean()
    print(f"[{lower}, {upper}]: mean {draws.mean():.2f}, true {true:.2f}, smallest {draws.min():.2f}")
draws = jax.random.truncated_normal(jax.random.key(0), 6, np.inf, (100_000,))
print(f"[6, inf]: smallest {draws.min():.1e}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
[3, 10]: mean 3.28, true 3.28, smallest 3.00
[5, 10]: mean 5.44, true 5.19, smallest 5.01
[6, 10]: mean 10.00, true 6.16, smallest 10.00
[6, 20]: mean 20.00, true 6.16, smallest 20.00
[-10, -6]: mean -10.00, true -6.16, smallest -10.00
[6, inf]: smallest 3.4e+38
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
