#!/usr/bin/env bash
# jaxopt.GradientDescent is Nesterov's accelerated method unless told otherwise.
#
# Versions: jaxopt 0.8.5 with jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: GradientDescent with a fixed stepsize is x - stepsize * gradient: on a curvature of 0.01
#     with stepsize 0.5 the error after 200 steps is (1 - 0.005)^200 = 0.367.
# Seen on 2026-11-29: acceleration=True is the default (it is the proximal gradient class
#     underneath), and the error is 0.015. With acceleration=False it is 0.367.
# Why it matters: as 'the gradient descent baseline' it converges at the accelerated rate and leaves
#     saddles faster, so a measured advantage of momentum vanishes.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 jaxopt==0.8.5

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax.numpy as jnp
import jaxopt

objective = lambda x: 0.5 * (x[0] ** 2 + 0.01 * x[1] ** 2)
start = jnp.array([0.0, 1.0])
print(f"gradient descent by hand: {(1 - 0.5 * 0.01) ** 200:.3f}")
for keywords in ({}, {"acceleration": False}):
    solver = jaxopt.GradientDescent(objective, maxiter=200, tol=0.0, stepsize=0.5, **keywords)
    print(keywords, f"{abs(float(solver.run(start).params[1])):.3f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
gradient descent by hand: 0.367
{} 0.015
{'acceleration': False} 0.367
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
