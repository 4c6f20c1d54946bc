#!/usr/bin/env bash
# optimistix declares success after two steps when the learning rate is small.
#
# Versions: optimistix 0.1.0 (equinox 0.13.8) with jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: rtol and atol say how good the answer is to be; a small learning rate takes more steps
#     to the same place, or runs out of max_steps and is reported so.
# Seen on 2026-11-29: termination compares successive iterates and values, so steps below the
#     tolerance are convergence: with a rate of 1e-4 the search for the minimum of |x|^2 / 2 from 1
#     is 'successful' after 2 steps, at 1.0. The gradient is not looked at.
# Why it matters: slow progress near a saddle or on a plateau is just this case; a sweep over
#     learning rates reports its slowest arms as solved. Test the gradient norm of the answer.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optimistix==0.1.0 equinox==0.13.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import optimistix as optx

objective = lambda x, args: 0.5 * jnp.sum(x**2)
for rate in (0.1, 1e-4):
    solver = optx.GradientDescent(learning_rate=rate, rtol=1e-3, atol=1e-3)
    found = optx.minimise(objective, solver, jnp.array([1.0, 1.0]), max_steps=100_000)
    success = bool(found.result == optx.RESULTS.successful)
    print(rate, "successful", success, "steps", int(found.stats["num_steps"]), "at", round(float(found.value[0]), 3))
PYTHON
)
expected=$(
  cat <<'EXPECTED'
0.1 successful True steps 46 at 0.009
0.0001 successful True steps 2 at 1.0
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
