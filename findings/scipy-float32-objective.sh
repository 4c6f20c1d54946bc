#!/usr/bin/env bash
# scipy.optimize.minimize succeeds at the start, after no iteration, when the objective is float32.
#
# Versions: SciPy 1.17.1 with jax 0.10.2 (installed here), SciPy 1.18.1 with jax 0.12.0.1.
# Expected: without jac the gradient comes from finite differences whose step suits the precision of
#     the objective, as the step-size rules of approx_derivative say; a coarse answer at worst.
# Seen on 2026-11-29: the step is that of float64, 1.5e-8, and does not change a float32 value. The
#     gradient is exactly zero, and BFGS, L-BFGS-B and CG report success at the start with 0
#     iterations, for (x - 1)^2 from 0.
# Why it matters: jax objectives are float32 unless told otherwise. A comparison of optimizers, or a
#     search for minima from many starts, returns all its starts as minima. Pass
#     jac=jax.grad(objective).

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 scipy==1.17.1 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

objective = lambda x: jnp.sum((jnp.asarray(x) - 1.0) ** 2)  # float32, as jax's default is
print("dtype of the value:", objective(np.zeros(2)).dtype)
for method in ("BFGS", "L-BFGS-B", "CG"):
    result = minimize(objective, np.zeros(2), method=method)
    print(method, bool(result.success), result.nit, result.x.tolist())
PYTHON
)
expected=$(
  cat <<'EXPECTED'
dtype of the value: float32
BFGS True 0 [0.0, 0.0]
L-BFGS-B True 0 [0.0, 0.0]
CG True 0 [0.0, 0.0]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
