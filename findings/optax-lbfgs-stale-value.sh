#!/usr/bin/env bash
# optax.value_and_grad_from_state answers for the last function and point, not for those it is
# given.
#
# Versions: optax 0.2.8 with jax 0.10.2 (installed here) and 0.12.0.1.
# Expected: value_and_grad_from_state(fun)(x, state=state) is fun's value and gradient at x, taken
#     from the state where that is known to be the same and computed otherwise.
# Seen on 2026-11-29: whatever finite value the line search has left in the state is returned: 1.53
#     for another objective whose value is 202.99, and for the same objective at an iterate moved by
#     10, where it is 168.36. The gradient is as old.
# Why it matters: a perturbation at a saddle, a restart, a projection or a new minibatch between two
#     L-BFGS steps goes unnoticed: the next direction and the sufficient-decrease test use the old
#     point. Call jax.value_and_grad there.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 optax==0.2.8

seen=$(JAX_PLATFORMS=cpu "$python" - <<'PYTHON'
import jax
import jax.numpy as jnp
import optax


def first(x):
    return jnp.sum((x - 3.0) ** 2)


def second(x):
    return 100.0 + jnp.sum((x + 5.0) ** 2)


rule = optax.lbfgs()
x = jnp.array([1.0, 2.0])
state = rule.init(x)
value, gradient = optax.value_and_grad_from_state(first)(x, state=state)
step, state = rule.update(gradient, state, x, value=value, grad=gradient, value_fn=first)
x = optax.apply_updates(x, step)
perturbed = x + 10.0
for name, fun, point in (("another batch", second, x), ("perturbed iterate", first, perturbed)):
    value, _ = optax.value_and_grad_from_state(fun)(point, state=state)
    print(f"{name}: value {float(value):.2f}, true {float(fun(point)):.2f}")
PYTHON
)
expected=$(
  cat <<'EXPECTED'
another batch: value 1.53, true 202.99
perturbed iterate: value 1.53, true 168.36
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
