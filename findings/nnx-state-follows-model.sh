#!/usr/bin/env bash
# flax.nnx.state and nnx.split give no snapshot: training the model changes the state they returned.
#
# Versions: flax 0.12.8 with jax 0.10.2, optax 0.2.8 (installed here); flax 0.12.12 with jax
#     0.12.0.1 gave the same.
# Expected: split turns a model into a pytree of immutable arrays, the stateless side of the
#     functional API; a state taken at the start stays at the start, and merging one state twice
#     gives two models.
# Seen on 2026-11-29: the state holds the model's own Variables. After a step of the optimizer the
#     bias in it is that of the trained model, and of two models merged from one state the second
#     follows the first. to_pure_dict, or the state of an nnx.clone, stays.
# Why it matters: distance from the start, interpolation between checkpoints, a restart from the
#     initial weights and an average of iterates compare the model with itself: a distance of
#     exactly 0, a straight flat line. Members of an ensemble made from one state are one.

set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 flax==0.12.8 optax==0.2.8 numpy==2.4.6

seen=$(JAX_PLATFORMS=cpu "$python" -W ignore - <<'PYTHON'
import flax.nnx as nnx
import jax
import jax.numpy as jnp
import optax


def loss(model):
    return model(jnp.ones((1, 2))).sum()


model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
snapshots = {
    "nnx.state": nnx.state(model),
    "nnx.split": nnx.split(model)[1],
    "nnx.to_pure_dict(nnx.state)": nnx.to_pure_dict(nnx.state(model)),
    "nnx.state of a clone": nnx.state(nnx.clone(model)),
}
optimizer = nnx.Optimizer(model, optax.sgd(0.5), wrt=nnx.Param)
optimizer.update(model, nnx.grad(loss)(model))
for name, snapshot in snapshots.items():
    print(f"{name}: bias after a step", jnp.concatenate([jnp.ravel(snapshot["bias"][...])]))

graph, state = nnx.split(model)
first, second = nnx.merge(graph, state), nnx.merge(graph, state)
first.bias[...] = jnp.array([7.0])
print("two merged from one state: bias of the second", second.bias[...], "of the state", state["bias"][...])
PYTHON
)
expected=$(
  cat <<'EXPECTED'
nnx.state: bias after a step [-0.5]
nnx.split: bias after a step [-0.5]
nnx.to_pure_dict(nnx.state): bias after a step [0.]
nnx.state of a clone: bias after a step [0.]
two merged from one state: bias of the second [7.] of the state [7.]
EXPECTED
)
echo "$seen"
if [ "$seen" != "$expected" ]; then
  echo "The behaviour has changed; before it was:" >&2
  echo "$expected" >&2
  exit 1
fi
