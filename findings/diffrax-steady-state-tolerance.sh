#!/usr/bin/env bash
# diffrax's steady-state event never fires for gradient flow at a loose tolerance, and does at a tight one.
#
# Versions: diffrax 0.7.2 with optimistix 0.1.0, lineax 0.1.1, equinox 0.13.8, jax 0.10.2 (installed
#     here); jax 0.12.0.1 gave the same.
# Expected: the event compares the vector field with the tolerances of the step-size controller, so
#     looser tolerances stop the flow earlier.
# Seen on 2026-11-29: at rtol 1e-3 and atol 1e-6 it runs to the end, t = 1,000, while at 1e-6 it stops
#     at t = 11 and at 1e-9 at 13. Near the minimum an explicit solver's steps are bounded by stability
#     and no more by accuracy; the controller lets them hover there, and the field, of the order of
#     rtol times the state, never falls below the event's tolerance. The result says successful.
# Why it matters: gradient flow to a stationary point is run this way; a point is then compared with one
#     that never settled, and a large t1 costs thousands of steps for nothing.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet diffrax==0.7.2 optimistix==0.1.0 lineax==0.1.1 equinox==0.13.8 jax==0.10.2 jaxlib==0.10.2

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import diffrax
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)


def loss(y):  # a saddle at (0, 0), minima at (0, +-0.7071)
    return y[0] ** 2 - y[1] ** 2 + y[1] ** 4


flow = diffrax.ODETerm(lambda t, y, args: -jax.grad(loss)(y))
for rtol, atol in ((1e-3, 1e-6), (1e-6, 1e-6), (1e-9, 1e-9)):
    solution = diffrax.diffeqsolve(
        flow,
        diffrax.Tsit5(),
        t0=0,
        t1=1000.0,
        dt0=0.1,
        y0=jnp.array([1.0, 1e-6]),
        stepsize_controller=diffrax.PIDController(rtol, atol),
        event=diffrax.Event(diffrax.steady_state_event()),
    )
    fired = bool(solution.result == diffrax.RESULTS.event_occurred)
    print(f"rtol {rtol:.0e}, atol {atol:.0e}: event {fired}, stopped at t = {float(solution.ts[0]):.0f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
rtol 1e-03, atol 1e-06: event False, stopped at t = 1000
rtol 1e-06, atol 1e-06: event True, stopped at t = 11
rtol 1e-09, atol 1e-09: event True, stopped at t = 13
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
