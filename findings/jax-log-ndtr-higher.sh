#!/usr/bin/env bash
# The third and fourth derivatives of jax's norm.logcdf are wrong in the left tail, in float64.
#
# Versions: jax 0.10.2 (installed here) and 0.12.0.1, against mpmath 1.3.0.
# Expected: value and derivatives are good to several digits wherever the value is; the
#     implementation has an asymptotic series for the tail.
# Seen on 2026-11-29: at -25 value, slope and curvature are right; the third derivative is 8 % too
#     large and the fourth has the wrong sign and 17 times the size. Below -20 the value is a short
#     asymptotic series, good to about nine digits, and each derivative multiplies its error by |x|
#     because nearly equal terms cancel.
# Why it matters: probit likelihoods at saturated examples: third-order terms (cubic regularization,
#     rho of a Hessian-Lipschitz bound, the drift of a Laplace approximation) are silently off where
#     the Hessian checks out.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 mpmath==1.3.0

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import mpmath

jax.config.update("jax_enable_x64", True)
mpmath.mp.dps = 50
fun = jax.scipy.stats.norm.logcdf
exact = lambda x: mpmath.log(mpmath.erfc(-x / mpmath.sqrt(2)) / 2)
for order in range(5):
    print(order, f"{float(fun(-25.0)):.3e}", f"{float(mpmath.diff(exact, mpmath.mpf(-25), order)):.3e}")
    fun = jax.grad(fun)
PYTHON
)
expected=$(
  cat <<'EXPECTED'
0 -3.166e+02 -3.166e+02
1 2.504e+01 2.504e+01
2 -9.984e-01 -9.984e-01
3 1.363e-04 1.256e-04
4 -2.548e-04 1.488e-05
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
