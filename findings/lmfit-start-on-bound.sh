#!/usr/bin/env bash
# In lmfit a parameter that starts on its bound stays there with BFGS, L-BFGS-B, TNC and Nelder-
# Mead.
#
# Versions: lmfit 1.3.4 with SciPy 1.17.1 and NumPy 2.4.6 (installed here).
# Expected: 3 exp(-t) + c with c bounded below by 0 and started at 0: the true c = 2 is inside, and
#     the slope of the loss there is far from 0, so that every method leaves the bound, as L-BFGS-B
#     does in SciPy.
# Seen on 2026-11-29: bounds are made by a change of variable, sqrt(u^2 + 1) for one bound, whose
#     slope at the bound is 0, and so the gradient of c is: success True with c = 0 and the decay
#     off by a factor of five. Nelder-Mead's first simplex is all but flat there. From 0.01 all find
#     c = 2, and so do leastsq and Powell from 0.
# Why it matters: 'no offset' and 'no noise floor' are natural starts of non-negative parameters in
#     fits of learning curves and decay rates. The exponent of the curve is then that of a fit
#     without offset, and no flag says so. Start inside.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet lmfit==1.3.4 scipy==1.17.1 numpy==2.4.6

seen=$("$python" -W ignore - <<'PYTHON'
import lmfit
import numpy as np

time = np.linspace(0, 5, 50)
curve = 3 * np.exp(-time) + 2


def residuals(p):
    return p["a"] * np.exp(-p["rate"] * time) + p["c"] - curve


for method in ("leastsq", "powell", "bfgs", "lbfgsb", "tnc", "nelder"):
    texts = []
    for start in (0.0, 0.01):
        parameters = lmfit.create_params(a=2.0, rate=0.5, c={"value": start, "min": 0})
        fit = lmfit.minimize(residuals, parameters, method=method)
        found = fit.params.valuesdict()
        texts.append(f"c from {start:g} to {found['c']:.2f}, rate {found['rate']:.2f}, success {fit.success}")
    print(f"{method}: {texts[0]}; {texts[1]}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
leastsq: c from 0 to 2.00, rate 1.00, success True; c from 0.01 to 2.00, rate 1.00, success True
powell: c from 0 to 2.00, rate 1.00, success True; c from 0.01 to 2.00, rate 1.00, success True
bfgs: c from 0 to 0.00, rate 0.20, success True; c from 0.01 to 2.00, rate 1.00, success True
lbfgsb: c from 0 to 0.00, rate 0.20, success True; c from 0.01 to 2.00, rate 1.00, success True
tnc: c from 0 to 0.00, rate 0.20, success True; c from 0.01 to 2.00, rate 1.00, success True
nelder: c from 0 to 0.00, rate 0.20, success True; c from 0.01 to 2.00, rate 1.00, success True
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
